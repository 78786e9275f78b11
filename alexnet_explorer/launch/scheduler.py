"""The process that looks after a queue: `python -m alexnet_explorer.launch.scheduler RUNS`.

A way in of its own, as it needs neither the command line nor PyTorch: it stays small for as long as runs wait.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .queue import Queue

if __name__ == "__main__":
    Queue(Path(sys.argv[1])).work()
