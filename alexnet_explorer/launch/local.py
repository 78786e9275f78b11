"""Runs on this machine: a process of its own each, which goes on when the page, or the app, is closed."""

from __future__ import annotations

import errno
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
GIVE_WAY = "ALEXNET_EXPLORER_GIVE_WAY"  # in the environment of a process: the seconds until it does so by itself
READY_SECONDS = 900.0  # for which a process that has loaded PyTorch is kept for a visitor


def start(
    run: Run, environment: Mapping[str, str] | None = None, quick: bool = False, standby: Standby | None = None
) -> None:
    """Train `run` in a process of its own, from its checkpoint where it has one.

    `environment` is added to this process's own. A `quick` start takes the process that is on `standby`, if there is
    one, and gives way to the page after a few seconds only.
    Raises RunError where the run is at work, done, or cannot be written; `passing` tells whether it may be soon.
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
            ready = standby.take(environment) if quick and standby else None
            if ready:
                number = ready.pid
            else:
                number = detach(["alexnet_explorer", *arguments], log, _later(environment) if quick else environment)
            child = psutil.Process(number)
            # Until the process speaks for itself.
            starting = replace(status, state="queued", message="", host=gethostname(), pid=child.pid,
                               pid_started=child.create_time(), heartbeat=time.time(), job="")  # fmt: skip
            run.write_status(starting)
        except OSError as error:
            raise RunError(f"run {run.id} cannot be started: {error.strerror}") from error
    # Only now, as it asks for the lease at once, and gives up where somebody has it.
    if ready and not _order(ready, arguments, log):
        start(run, environment, quick)  # without it, as it has died
    if not quick:
        _give_way(child)


def passing(error: RunError) -> bool:
    """Whether the system had no process, memory or file to spare for what was refused: it may in a moment."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def _order(process: subprocess.Popen[bytes], arguments: list[str], log: Path) -> bool:
    """Let a process that was on standby do what `python -m alexnet_explorer …` would; False where it has died."""
    assert process.stdin is not None
    order = json.dumps({"arguments": arguments, "log": str(log.resolve())}).encode() + b"\n"
    try:
        with process.stdin as pipe:
            pipe.write(order)
    except OSError:
        process.kill()  # the pipe closes a little before the process is gone
        process.wait()
        return False
    return True


def ask(
    command: list[str], question: str, errors: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Run `python -m …` with `question` on its stdin; its answer is to be read from its stdout.

    Someone waits for it: it gives way to the page after a few seconds only. What goes wrong is in the file `errors`.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=PROJECT, env=_later(environment or os.environ), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8", start_new_session=True,
    )  # fmt: skip
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
                env=_later(environment), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            self._waiting = _Waiting(process, environment, time.monotonic())

    def take(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        """The process, which is the caller's from now on and waits for an order; None where none has this environment.

        Without one it ends, as soon as the caller lets go of it.
        """
        with self._lock:
            if self._waiting is None or not self._waiting.usable(environment):
                return None
            process, self._waiting = self._waiting.process, None
        return process

    def end(self) -> None:
        """Let it go."""
        with self._lock:
            self._dismiss()

    def _dismiss(self) -> None:
        if self._waiting and self._waiting.process.stdin:
            self._waiting.process.stdin.close()  # without an order it ends
        self._waiting = None


def _later(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that gives way to the page once its first curves are there."""
    return {**environment, GIVE_WAY: str(QUICK_SECONDS)}


def give_way_when_told() -> None:
    """In a process that was started so: give way to the page after a while, whether the app still lives or not."""
    if seconds := os.environ.pop(GIVE_WAY, ""):
        timer = threading.Timer(float(seconds), _give_way, [psutil.Process()])
        timer.daemon = True
        timer.start()


def _give_way(process: psutil.Process) -> None:
    """Let a training give way to the page."""
    with suppress(psutil.Error, OSError):
        if sys.platform == "win32":
            process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
            return
        niceness = max(NICENESS, process.nice())  # only root may lower it
        if sys.platform == "linux":  # there each thread has its own, and leaves it to those that it starts
            for thread in process.threads():
                with suppress(OSError):  # it has ended
                    os.setpriority(os.PRIO_PROCESS, thread.id, niceness)
        else:
            process.nice(niceness)
        # Linux may share the processor between sessions first, and a new session counts as much as the app's.
        Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS), encoding="ascii")
