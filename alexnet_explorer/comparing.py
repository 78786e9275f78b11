"""Runs against one another: curves on one axis, means of groups, times to an error, what two of them disagree on.

NumPy and SciPy alone, so that the page and the command line say the same.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import RunConfig
from .runs import Mistakes, differences

Axis = Literal["epoch", "step", "seconds", "images"]
AXES: tuple[Axis, ...] = ("epoch", "step", "seconds", "images")
Spread = Literal["std", "sem", "ci95"]
Floats = NDArray[np.float64]

SEED = "train.seed"
CONFIDENCE = 0.95
ROUNDING = 1e-9  # 100 times an error of 0.28 is a little more than 28

# What is told of where a run ended, in words.
METRICS = {
    "val/top1_error": "validation error",
    "best/val_top1_error": "best validation error",
    "test/top1_error": "test error",
    "test/top5_error": "test error, top 5",
    "epoch/train_top1_error": "training error",
    "val/loss": "validation loss",
    "test/loss": "test loss",
    "epoch/train_loss": "training loss",
}


SHARES = ("dead/", "saturated/")  # of a layer's units


def factor_of(metric: str) -> float:
    """By what a metric is multiplied to be told: errors and shares of units are told in percent."""
    return 100.0 if metric.endswith("_error") or metric.startswith(SHARES) else 1.0


class Curve(NamedTuple):
    """x, which never falls, and y, of the same length."""

    x: Floats
    y: Floats


class Track:
    """The metrics of a run as columns; rows that were written since can be added while others read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # an array cannot grow while NumPy reads it
        self._axes = {axis: array("d") for axis in AXES}
        self._columns: dict[str, tuple[array[int], array[float]]] = {}  # the rows that have it, and its values

    def add(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Further rows of metrics.jsonl."""
        with self._lock:
            for names, same in groupby(rows, tuple):  # rows of the same metrics follow one another: column by column
                part = list(same)
                numbers = range(len(self._axes["step"]), len(self._axes["step"]) + len(part))
                for axis, column in self._axes.items():
                    column.extend([row.get(axis, np.nan) for row in part])
                for name in names:
                    if name not in self._axes:
                        places, values = self._columns.setdefault(name, (array("q"), array("d")))
                        places.extend(numbers)
                        values.extend([row[name] for row in part])

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics, in the order in which they first came."""
        with self._lock:
            return list(self._columns)

    def curve(self, metric: str, axis: Axis) -> Curve:
        """One metric along an axis; rows without either are left out, a value that is no number stays."""
        with self._lock:
            if metric not in self._columns:
                return Curve(np.empty(0), np.empty(0))
            numbers, values = map(np.array, self._columns[metric])
            x = np.array(self._axes[axis])[numbers]
        known = np.isfinite(x)
        return Curve(x[known], values[known])


# Groups


class Band(NamedTuple):
    """The mean of several curves and what lies around it; of one curve alone there is no spread: NaN."""

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def groups(configs: Mapping[str, RunConfig], fields: Iterable[str]) -> dict[str, list[str]]:
    """The runs that agree in all of these fields, under a name that says their values: {"activation relu": [id, …]}.

    Fields in which all agree are not named; where all agree in all of them, the one group is called 'all'.
    """
    changed = differences(dict(configs))
    telling = [field for field in fields if field in changed]
    found: dict[str, list[str]] = {}
    for run in configs:
        name = ", ".join(f"{field.rpartition('.')[2]} {value_text(changed[field][run])}" for field in telling)
        found.setdefault(name or "all", []).append(run)
    return found


def all_but_the_seed(configs: Mapping[str, RunConfig]) -> list[str]:
    """The fields in which the runs differ beside their seed: what is left is chance."""
    return [field for field in differences(dict(configs)) if field != SEED]


def value_text(value: Any) -> str:
    """A value of a config in a few characters: 'relu', '0.5', '3,3,5', 'off'."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return str(value) or "none"


def band(curves: Sequence[Curve], spread: Spread) -> Band:
    """The mean of the curves, and around it the standard deviation, the standard error, or Student's 95 % interval.

    Each curve is interpolated at the places of all of them, only where every curve has values on both sides: a peak
    of any of them is a place of the mean.
    """
    from scipy import stats

    known = [Curve(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in curves]
    known = [curve for curve in known if len(curve.x)]
    if not known:
        return Band(*[np.empty(0)] * 4)
    start, end = max(curve.x[0] for curve in known), min(curve.x[-1] for curve in known)
    grid = np.unique(np.concatenate([curve.x for curve in known]))
    grid = grid[(grid >= start) & (grid <= end)]
    values = np.stack([np.interp(grid, curve.x, curve.y) for curve in known])
    count, mean = len(values), values.mean(axis=0)
    if count < 2:
        nothing = np.full(len(grid), np.nan)
        return Band(grid, mean, nothing, nothing)
    half = values.std(axis=0, ddof=1)
    if spread != "std":
        half = half / np.sqrt(count)
    if spread == "ci95":
        half = half * stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)
    return Band(grid, mean, mean - half, mean + half)


# Times to an error


class Reached(NamedTuple):
    """Where a curve first was at a level or below; `at` is None where it has not been there up to `last`."""

    at: float | None
    last: float


class Ratio(NamedTuple):
    """How many times as long as the baseline: exactly (=), or a bound, where one of both never came there."""

    sign: Literal["=", ">", "<"]
    value: float


def reached(curve: Curve, level: float) -> Reached | None:
    """Where a falling curve first meets a level, but for rounding; interpolated between the two points around it.

    A curve that begins there was there at its first point. None where the curve has no points.
    """
    known = np.isfinite(curve.y)
    x, y = curve.x[known], curve.y[known]
    if not len(x):
        return None
    there = np.flatnonzero(y <= level + ROUNDING * max(1.0, abs(level)))
    if not len(there):
        return Reached(None, float(x[-1]))
    first = int(there[0])
    if first == 0:
        return Reached(float(x[0]), float(x[-1]))
    share = (y[first - 1] - level) / (y[first - 1] - y[first])
    return Reached(float(x[first - 1] + share * (x[first] - x[first - 1])), float(x[-1]))


def ratio(run: Reached | None, baseline: Reached | None) -> Ratio | None:
    """A run's way to a level as a multiple of the baseline's; None where neither came there, or nothing is known."""
    if run is None or baseline is None:
        return None
    if run.at is not None and baseline.at:
        return Ratio("=", run.at / baseline.at)
    if run.at is None and baseline.at:
        return Ratio(">", run.last / baseline.at)
    if run.at is not None and baseline.at is None and baseline.last:
        return Ratio("<", run.at / baseline.last)
    return None


# Classes and single images


def same_validation(one: RunConfig, other: RunConfig) -> bool:
    """Whether two runs are validated on the same images."""

    def images(config: RunConfig) -> tuple[Any, ...]:
        return config.data.digest, config.data.name, config.data.val_fraction, config.data.split_seed

    return images(one) == images(other)


def confusion_matrix(found: Mistakes, classes: int) -> NDArray[np.int64]:
    """How many images of each true class (row) were taken for each class (column)."""
    counts = np.zeros((classes, classes), np.int64)
    for true, predicted, count in found.confusion:
        counts[true, predicted] = count
    return counts


def class_errors(counts: NDArray[np.int64]) -> Floats:
    """The share of each true class's images that was taken for another: NaN where it has none."""
    images = counts.sum(axis=1)
    errors: Floats = np.full(len(counts), np.nan)
    np.divide(images - np.diag(counts), images, out=errors, where=images > 0)
    return errors


@dataclass(frozen=True)
class Disagreement:
    """Two runs on the same images: how many which of them gets right, and the places where only one does."""

    both: int
    neither: int
    only_first: NDArray[np.intp]  # places in the list of the images
    only_second: NDArray[np.intp]

    @property
    def p(self) -> float:
        """McNemar's exact test: how probable so uneven a split is, if both are right equally often."""
        from scipy import stats

        first, second = len(self.only_first), len(self.only_second)
        return float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0


def disagreement(true: Sequence[int], first: Sequence[int], second: Sequence[int]) -> Disagreement:
    """Where two predictions of the same images part, as to what is right."""
    truth = np.asarray(true)
    one, other = np.asarray(first) == truth, np.asarray(second) == truth
    return Disagreement(
        int((one & other).sum()), int((~one & ~other).sum()), np.flatnonzero(one & ~other), np.flatnonzero(~one & other)
    )


# Fields


@dataclass(frozen=True)
class Dimension:
    """A field of several runs as numbers that can be drawn; `words` are those of its values, where it has no numbers.

    Then a value is the place of its word.
    """

    name: str
    values: Floats
    words: tuple[str, ...] = ()


def dimension(name: str, values: Sequence[Any]) -> Dimension:
    """Numbers stay numbers, with NaN for None; of anything else each distinct value gets a place, in its order."""
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return Dimension(name, np.array([np.nan if value is None else float(value) for value in values]))
    texts = [value_text(value) for value in values]
    by_text = {text: json.dumps(value) for text, value in zip(texts, values, strict=True)}
    words = tuple(sorted(by_text, key=lambda text: by_text[text]))
    return Dimension(name, np.array([float(words.index(text)) for text in texts]), words)
