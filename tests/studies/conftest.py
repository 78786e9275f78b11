"""Runs that look trained: what a study reads of a run is its config, its state, its code and its curve."""

import json
from dataclasses import replace

import pytest

from alexnet_explorer.files import write_json
from alexnet_explorer.runs import create_run, summarise


@pytest.fixture
def finished(tmp_path):
    """Writes a run of a config that has ended, with the given rows of metrics."""

    def write(config, rows, state="done", code="c0de", seconds=10.0, message=""):
        run = create_run(config, tmp_path / "runs")
        write_json(run.path / "env.json", {"device": "cpu", "precision": "fp32", "threads": 1, "code": code})
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        status = replace(run.status(), state=state, message=message, seconds=seconds, epoch=float(config.train.epochs))
        run.write_status(replace(status, summary=summarise(rows)))
        return run

    return write


@pytest.fixture
def falling():
    return _falling


def _falling(reached_at, to=0.25, epochs=10):
    """Rows of clean passes whose error falls evenly from 0.9, and meets `to` at `reached_at` epochs."""
    slope = (0.9 - to) / reached_at
    return [
        {
            "step": n,
            "epoch": n / 2,
            "seconds": float(n),
            "images": 64 * n,
            "clean/top1_error": max(0.9 - slope * n / 2, 0),
        }
        for n in range(2 * epochs + 1)
    ]


@pytest.fixture
def ended():
    return _ended


def _ended(error):
    """The last row of a run, and one of its validation."""
    return [
        {"step": 9, "epoch": 5.0, "seconds": 1.0, "images": 600, "val/top1_error": error, "val/loss": 3 * error},
        {"step": 9, "epoch": 5.0, "seconds": 1.0, "images": 600, "test/top1_error": error, "test/loss": 3 * error},
    ]
