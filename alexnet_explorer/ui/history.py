"""The rows of a run's metrics, as a session keeps them while it watches: only what is new is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alexnet_explorer.runs import Run

PARTS = {"train": "training", "val": "validation"}
MOST_ROWS = 4000  # of each part that a session keeps; of more, every second one goes

Row = Mapping[str, float]
Kept = Mapping[str, Any]  # what `follow` gives: plain values, which a session keeps


def follow(run: Run, kept: Kept | None = None) -> dict[str, Any]:
    """The rows of a run's metrics, brought up to date: only what was written since `kept` is read.

    `train` has a row of each interval, `val` one of each epoch. Raises RunError where a row is damaged.
    """
    kept = kept if kept and kept["run"] == run.id else _nothing(run)
    rows, offset, all_of_them = run.metrics_since(kept["offset"], kept["step"])
    if all_of_them:
        kept = _nothing(run)
    return {
        "run": run.id,
        "offset": offset,
        "step": rows[-1]["step"] if rows else kept["step"],
        **{part: _within_bounds(kept[part] + [row for row in rows if f"{part}/loss" in row]) for part in PARTS},
    }


def _nothing(run: Run) -> dict[str, Any]:
    return {"run": run.id, "offset": 0, "step": 0, **{part: [] for part in PARTS}}


def _within_bounds(rows: list[Row]) -> list[Row]:
    while len(rows) > MOST_ROWS:
        rows = [*rows[:-1:2], rows[-1]]  # the newest one stays
    return rows
