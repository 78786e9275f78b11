"""What came out of a run, as one number: each metric's last and lowest value, times to an error, speed, size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_explorer.comparing import METRICS, Axis, Track, factor_of, reached
from alexnet_explorer.ui.comparison import Compared
from alexnet_explorer.ui.overlays import known_metrics, title_of

GOAL = "val/top1_error"
TO_GOAL: dict[str, Axis] = {"reach/epochs": "epoch", "reach/seconds": "seconds"}  # what takes an error to be chosen

Number = Callable[[Compared], float | None]  # None: it has none so far


@dataclass(frozen=True)
class Result:
    """A title with its unit, and how the number of a run is found."""

    title: str
    of: Number


def results(runs: Sequence[Compared], tracks: Mapping[str, Track]) -> dict[str, Result]:
    """All that any of the runs has, by the names that links say. Those of `TO_GOAL` are found by `to_goal` instead."""
    summaries = {one.run.id: one.run.status().summary for one in runs}
    curves = known_metrics(list(tracks.values()))
    found = {
        name: Result(title_of(name) if name in curves else _with_unit(name, title), _summarised(name, summaries))
        for name, title in METRICS.items()
        if any(name in summary for summary in summaries.values())
    }
    if GOAL in curves:
        found |= {name: Result(f"{name.rpartition('/')[2]} to a validation error", lambda one: None)
                  for name in TO_GOAL}  # fmt: skip
    found |= {
        "minutes": Result("time of training (min)", lambda one: one.run.status().seconds / 60 or None),
        "speed": Result("images per second", lambda one: one.run.status().img_per_s),
        "parameters": Result("parameters", lambda one: float(one.config.model.parameters())),
    }
    for metric in curves:
        if metric not in found:
            found[f"last/{metric}"] = Result(f"{title_of(metric)}, last", _last(metric, tracks))
        if metric.endswith(("error", "loss")) and metric != GOAL:  # whose lowest the summary has
            found[f"lowest/{metric}"] = Result(f"{title_of(metric)}, lowest", _lowest(metric, tracks))
    return found


def to_goal(name: str, level: float, tracks: Mapping[str, Track]) -> Result:
    """One of `TO_GOAL`: how long a run took to a validation error of `level` percent; none where it was never there."""

    def of(one: Compared) -> float | None:
        curve = tracks[one.run.id].curve(GOAL, TO_GOAL[name]) if one.run.id in tracks else None
        way = reached(curve._replace(y=factor_of(GOAL) * curve.y), level) if curve else None
        return way.at if way else None

    return Result(f"{name.rpartition('/')[2]} to {level:g} % validation error", of)


def _with_unit(name: str, title: str) -> str:
    return f"{title} (%)" if name.endswith("error") else f"{title} (nats)"


def _summarised(name: str, summaries: Mapping[str, Mapping[str, float]]) -> Number:
    def of(one: Compared) -> float | None:
        value = summaries[one.run.id].get(name)
        return None if value is None else factor_of(name) * value

    return of


def _last(metric: str, tracks: Mapping[str, Track]) -> Number:
    return lambda one: next(iter(_finite(one, metric, tracks)[::-1].tolist()), None)


def _lowest(metric: str, tracks: Mapping[str, Track]) -> Number:
    return lambda one: min(_finite(one, metric, tracks).tolist(), default=None)


def _finite(one: Compared, metric: str, tracks: Mapping[str, Track]) -> np.ndarray:
    """The values of a run's metric that are numbers, in percent where it is a share."""
    if one.run.id not in tracks:
        return np.empty(0)
    y = factor_of(metric) * tracks[one.run.id].curve(metric, "step").y
    return y[np.isfinite(y)]
