"""Runs on this machine: a process of its own each, which goes on when the page, or the app, is closed."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from ..runs import LIVE, Run, RunError

PROJECT = Path(__file__).resolve().parents[2]  # where `python -m alexnet_explorer` finds the package
NICENESS = 10  # training gives way to the page
QUICK_SECONDS = 10.0  # but not at first


def start(run: Run) -> None:
    """Train `run` in a new process, from its checkpoint where it has one. Raises RunError where it is at work."""
    if run.in_gallery:
        raise RunError(f"run {run.id} ships with the project and is not trained again")
    status = run.status()
    if status.state in LIVE and status.pid:
        raise RunError(f"run {run.id} is at work already")
    run.stop_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "alexnet_explorer", "train", "--resume", run.id]
    command += ["--runs", str(run.path.parent.resolve())]  # the process works in another folder
    with (run.path / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    child = psutil.Process(process.pid)
    # At first as quick as the page itself, so that its first curves are soon there.
    give_way = threading.Timer(QUICK_SECONDS, _give_way, [child])
    give_way.daemon = True
    give_way.start()
    # Until the process has loaded PyTorch and speaks for itself.
    starting = replace(
        status, state="queued", message="", host=socket.gethostname(), pid=process.pid, pid_started=child.create_time(),
        heartbeat=time.time(),
    )  # fmt: skip
    run.write_status(starting)


def _give_way(process: psutil.Process) -> None:
    """Let a training give way to the page."""
    with suppress(psutil.Error, OSError):
        if sys.platform == "win32":
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
            return
        process.nice(max(NICENESS, process.nice()))  # only root may lower it
        # Linux may share the processor between sessions first, and a new session counts as much as the app's.
        Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS), encoding="ascii")
