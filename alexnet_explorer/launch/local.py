"""Runs on this machine: a process of its own each, which goes on when the page, or the app, is closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import IO, NamedTuple

import psutil

from ..runs import Run, RunError

PROJECT = Path(__file__).resolve().parents[2]  # where `python -m alexnet_explorer` finds the package
NICENESS = 10  # training gives way to the page
QUICK_SECONDS = 10.0  # but not at first, where a visitor waits for the first curves
READY_SECONDS = 900.0  # for which a process that has loaded PyTorch is kept for a visitor


def start(
    run: Run, environment: Mapping[str, str] | None = None, quick: bool = False, standby: Standby | None = None
) -> None:
    """Train `run` in a process of its own, from its checkpoint where it has one.

    `environment` is added to this process's own. A `quick` start takes the process that is on `standby`, if there is
    one, and gives way to the page after a few seconds only.
    Raises RunError where the run is at work, done, or cannot be written.
    """
    arguments = ["train", "--resume", run.id]
    arguments += ["--runs", str(run.path.parent.resolve())]  # the process works in another folder
    log, environment = run.path / "log.txt", {**os.environ, **(environment or {})}
    # The lease keeps others from starting it too; the new process takes it once it has loaded PyTorch.
    with run.held(seconds=0):
        status = run.status()
        if status.state == "done":
            raise RunError(f"run {run.id} is done already")
        try:
            run.stop_file.unlink(missing_ok=True)
            number = standby.take(arguments, log, environment) if quick and standby else None
            child = psutil.Process(number or detach(["alexnet_explorer", *arguments], log, environment))
            # Until the process speaks for itself.
            starting = replace(status, state="queued", message="", host=gethostname(), pid=child.pid,
                               pid_started=child.create_time(), heartbeat=time.time(), job="")  # fmt: skip
            run.write_status(starting)
        except OSError as error:
            raise RunError(f"run {run.id} cannot be started: {error.strerror}") from error
    if quick:
        _give_way_soon(child)
    else:
        _give_way(child)


def ask(
    command: list[str], question: str, errors: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Run `python -m …` with `question` on its stdin; its answer is to be read from its stdout.

    Someone waits for it: it gives way to the page after a few seconds only. What goes wrong is in the file `errors`.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=errors, text=True, encoding="utf-8", start_new_session=True,
    )  # fmt: skip
    with suppress(psutil.NoSuchProcess):
        _give_way_soon(psutil.Process(process.pid))
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # it has ended already, and says why in its errors
        pipe.write(question)
    return process


def detach(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Run `python -m …` in a session of its own, which outlives this process. Returns its process id."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=file,
            stderr=file, start_new_session=True,
        )  # fmt: skip
    return process.pid


class _Waiting(NamedTuple):
    """A process that has loaded PyTorch, or is about to, and waits to be told what to do."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    since: float

    def usable(self, environment: Mapping[str, str]) -> bool:
        young = time.monotonic() - self.since < READY_SECONDS
        return young and self.environment == environment and self.process.poll() is None


class Standby:
    """Keeps a process that has loaded PyTorch for the next quick start, which gains two seconds by it.

    There is one at most. It ends with this process, or where nobody needs it for a quarter of an hour.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: _Waiting | None = None

    def prepare(self, environment: Mapping[str, str] | None = None) -> None:
        """See that there is one with this environment, added to this process's own."""
        environment = {**os.environ, **(environment or {})}
        with self._lock:
            if self._waiting and self._waiting.usable(environment):
                return
            self._dismiss()
            process = subprocess.Popen(
                [sys.executable, "-m", "alexnet_explorer.ready", str(READY_SECONDS + 60)], cwd=PROJECT,
                env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            self._waiting = _Waiting(process, environment, time.monotonic())

    def take(self, arguments: list[str], log: Path, environment: Mapping[str, str]) -> int | None:
        """Let it do what `python -m alexnet_explorer …` would; None where there is none with this environment.

        Returns its process id.
        """
        with self._lock:
            if self._waiting is None or not self._waiting.usable(environment):
                return None
            process, self._waiting = self._waiting.process, None
        assert process.stdin is not None
        order = json.dumps({"arguments": arguments, "log": str(log.resolve())}).encode() + b"\n"
        try:
            with process.stdin as pipe:
                pipe.write(order)
        except OSError:  # it died this moment
            return None
        return process.pid

    def end(self) -> None:
        """Let it go."""
        with self._lock:
            self._dismiss()

    def _dismiss(self) -> None:
        if self._waiting and self._waiting.process.stdin:
            self._waiting.process.stdin.close()  # without an order it ends
        self._waiting = None


def _give_way_soon(process: psutil.Process) -> None:
    """Let a training give way to the page once its first curves are there."""
    timer = threading.Timer(QUICK_SECONDS, _give_way, [process])
    timer.daemon = True
    timer.start()


def _give_way(process: psutil.Process) -> None:
    """Let a training give way to the page."""
    with suppress(psutil.Error, OSError):
        if sys.platform == "win32":
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
            return
        process.nice(max(NICENESS, process.nice()))  # only root may lower it
        # Linux may share the processor between sessions first, and a new session counts as much as the app's.
        Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS), encoding="ascii")
