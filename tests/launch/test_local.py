"""Runs as processes of their own on this machine."""

import errno
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from alexnet_explorer.launch import local
from alexnet_explorer.launch.local import NICENESS, Standby, start
from alexnet_explorer.runs import RunError, Status, new_run, this_process


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Starts a run as the page does, from a working folder of its own and a runs folder that is named from there."""
    monkeypatch.chdir(tmp_path)
    begun = []

    def begin(run, *arguments, **settings):
        start(run, *arguments, quick=True, **settings)
        begun.append(run)

    yield begin
    for run in begun:
        run.request_stop()
        wait(run, lambda status: status.state not in ("queued", "running"))


def wait(run, there, seconds=150.0):
    end = time.monotonic() + seconds
    while not there(status := run.status()):
        assert time.monotonic() < end, (status, (run.path / "log.txt").read_text())
        time.sleep(0.02)
    return status


def test_a_run_trains_in_a_process_of_its_own_until_it_is_stopped(started, small, packed, monkeypatch):
    monkeypatch.setattr("alexnet_explorer.launch.local.QUICK_SECONDS", 0.5)
    run = new_run(small(train__epochs=2000, train__batch_size=5), packed, Path("runs"))
    run.request_stop()  # meant for nobody, and forgotten
    started(run)
    status = run.status()
    assert status.state == "queued" and status.pid != os.getpid()  # it has yet to load PyTorch
    child = psutil.Process(status.pid)
    assert os.getsid(child.pid) == child.pid  # no signal of the app's terminal reaches it

    with pytest.raises(RunError, match="at work already"):
        start(run)

    status = wait(run, lambda status: status.state == "running" and status.step > 3)
    assert status.pid == child.pid and run.metrics()[0]
    end = time.monotonic() + 60
    while child.nice() != max(NICENESS, psutil.Process().nice()):  # it gives way to the page, if not at first
        assert time.monotonic() < end
        time.sleep(0.05)
    run.request_stop()
    stopped = wait(run, lambda status: status.state != "running")
    assert (stopped.state, stopped.message) == ("stopped", "")
    child.wait(150)
    assert not run.stop_file.exists()
    assert "stopped: epoch" in (run.path / "log.txt").read_text()


def test_a_training_gives_way_with_all_its_threads_though_the_app_has_ended(packed, small, tmp_path):
    run = new_run(small(train__epochs=2000, train__threads=2), packed, tmp_path / "runs")
    code = (
        "import sys; from pathlib import Path; from alexnet_explorer.launch import local; "
        "from alexnet_explorer.runs import Run; local.QUICK_SECONDS = 3.0; "
        "local.start(Run(Path(sys.argv[1])), quick=True)"
    )
    subprocess.run([sys.executable, "-c", code, str(run.path)], cwd=local.PROJECT, check=True, timeout=60)
    child = psutil.Process(run.status().pid)
    lowest = max(NICENESS, psutil.Process().nice())
    wait(run, lambda status: status.state == "running" and status.step > 3)
    end = time.monotonic() + 60
    while {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in child.threads()} != {lowest}:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(child.threads()) >= 2  # the second one computes, too
    run.request_stop()
    wait(run, lambda status: not status.at_work)
    child.wait(150)


def test_a_process_that_cannot_begin_ends_as_failed_and_leaves_its_reason_in_the_log(started, packed, small):
    run = new_run(small(), packed, Path("runs"))
    (run.path / "config.json").write_text("{")
    started(run)
    status = wait(run, lambda status: status.state != "queued")
    assert status.state == "failed" and "log.txt" in status.message
    assert "config.json cannot be read" in (run.path / "log.txt").read_text()


def test_a_run_whose_process_lives_is_not_started_again(packed, small, tmp_path):
    run = new_run(small(), packed, tmp_path)
    run.write_status(Status(**{"state": "running", "heartbeat": time.time(), **this_process()}))
    with pytest.raises(RunError, match="at work already"):
        start(run)
    assert not (run.path / "log.txt").exists()


def test_the_gallery_is_not_trained_again(packed, small, tmp_path, monkeypatch):
    run = new_run(small(), packed, tmp_path)
    monkeypatch.setattr("alexnet_explorer.runs.GALLERY", tmp_path)
    with pytest.raises(RunError, match="ships with the project"):
        start(run)
    assert json.loads((run.path / "status.json").read_text())["state"] == "queued"


@pytest.fixture
def standby():
    """Nothing of it is left over."""
    standby = Standby()
    yield standby
    standby.end()


def test_a_process_on_standby_gets_the_next_run_that_someone_waits_for(started, standby, small, packed):
    standby.prepare()
    process = standby._waiting.process
    standby.prepare()
    assert standby._waiting.process is process  # one is enough
    run = new_run(small(), packed, Path("runs"))
    started(run, standby=standby)
    assert run.status().pid == process.pid and standby._waiting is None
    assert wait(run, lambda status: not status.at_work).state == "done"
    assert process.wait(150) == 0 and "val error" in (run.path / "log.txt").read_text()


class Ordered:
    """A process on standby, which is this one; what it is asked goes to `hear`."""

    pid = os.getpid()

    def __init__(self, hear):
        self.stdin, self.killed, self.hear = self, False, hear

    def __enter__(self):
        return self

    def __exit__(self, *fault):
        pass

    def write(self, order):
        self.hear(json.loads(order)["arguments"])

    def kill(self):
        self.killed = True

    def wait(self):
        pass


def test_the_process_on_standby_is_told_once_the_run_is_its_own(small, packed, tmp_path):
    run, heard = new_run(small(), packed, tmp_path), []

    def hear(arguments):
        with run.lease().acquire():  # as the training does, without waiting for whoever holds it
            heard.append((arguments[:3], run.status().pid))

    start(run, quick=True, standby=SimpleNamespace(take=lambda environment: Ordered(hear)))
    assert heard == [(["train", "--resume", run.id], os.getpid())]


def test_where_the_process_on_standby_dies_this_moment_another_one_is_started(small, packed, tmp_path, monkeypatch):
    run = new_run(small(), packed, tmp_path)

    def die(arguments):
        run.write_status(Status())  # as a run looks whose process is dead
        raise BrokenPipeError

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(local, "detach", lambda command, log, environment: child.pid)
    ready = Ordered(die)
    start(run, quick=True, standby=SimpleNamespace(take=lambda environment: ready))
    assert run.status().pid == child.pid and ready.killed
    child.kill()
    child.wait()


@pytest.mark.parametrize(
    ("number", "passes"), [(errno.EAGAIN, True), (errno.ENOMEM, True), (errno.EMFILE, True), (errno.EACCES, False)]
)
def test_a_system_that_has_no_process_to_spare_may_have_one_soon(small, packed, tmp_path, monkeypatch, number, passes):
    def refuse(command, log, environment):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(local, "detach", refuse)
    with pytest.raises(RunError, match=os.strerror(number)) as refusal:
        start(new_run(small(), packed, tmp_path))
    assert local.passing(refusal.value) == passes and not local.passing(RunError("it is done already"))


def test_a_process_on_standby_is_left_alone_where_it_does_not_fit(started, standby, small, packed, monkeypatch):
    standby.prepare({"OMP_NUM_THREADS": "2"})
    process = standby._waiting.process
    run = new_run(small(), packed, Path("runs"))
    started(run, {"OMP_NUM_THREADS": "1"}, standby=standby)
    assert run.status().pid != process.pid and standby._waiting.process is process
    wait(run, lambda status: not status.at_work)
    monkeypatch.setattr(local, "READY_SECONDS", 0.0)  # it may end at any moment by now
    standby.prepare({"OMP_NUM_THREADS": "2"})
    assert standby._waiting.process is not process and process.wait(150) == 0


def test_a_process_on_standby_ends_with_the_app():
    code = (
        "from alexnet_explorer.launch.local import Standby; s = Standby(); s.prepare(); print(s._waiting.process.pid)"
    )
    app = subprocess.run([sys.executable, "-c", code], cwd=local.PROJECT, capture_output=True, text=True, check=True)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(app.stdout)).wait(150)
