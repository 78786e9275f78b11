"""Where this app keeps its runs."""

from __future__ import annotations

import os
from pathlib import Path


def runs_folder() -> Path:
    """`runs` beside app.py, or the folder that ALEXNET_EXPLORER_RUNS names."""
    own = os.environ.get("ALEXNET_EXPLORER_RUNS")
    return Path(own) if own else Path(__file__).parents[2] / "runs"
