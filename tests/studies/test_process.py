"""The process of a study: one at most, found again by its id and start time."""

import os
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from alexnet_explorer.launch import local
from alexnet_explorer.runs import RunError
from alexnet_explorer.studies import process


@pytest.fixture
def sleeper(monkeypatch):
    """Starts a process that sleeps where a study would be trained; it ends with the test."""
    children = []

    def detach(command, log):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        children.append((child, command))
        return child.pid

    monkeypatch.setattr(local, "detach", detach)
    yield children
    for child, _ in children:
        child.kill()
        child.wait()


def test_a_study_is_begun_once_seen_and_ended(sleeper, tmp_path):
    assert process.process_of("lrn", tmp_path) == 0
    process.begin("lrn", tmp_path)
    process.begin("lrn", tmp_path)
    ((child, command),) = sleeper
    assert command == ["alexnet_explorer", "study", "run", "lrn", "--on", "here", "--runs", str(tmp_path)]
    assert process.process_of("lrn", tmp_path) == child.pid and process.process_of("depth", tmp_path) == 0
    process.end("lrn", tmp_path)
    deadline = time.monotonic() + 20
    while process.process_of("lrn", tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.process_of("lrn", tmp_path) == 0
    process.end("lrn", tmp_path)  # which is nothing by now
    process.begin("lrn", tmp_path, any_code=True)
    assert sleeper[1][1] == [*command, "--any-code"]


def test_another_process_of_the_same_number_is_not_it(sleeper, tmp_path):
    process.begin("lrn", tmp_path)
    file = tmp_path / ".studies" / "lrn.process.json"
    file.write_text(file.read_text().replace('"started": 1', '"started": 2'))
    assert process.process_of("lrn", tmp_path) == 0
    for damage in ("", "[]", '{"pid": "x"}'):
        file.write_text(damage)
        assert process.process_of("lrn", tmp_path) == 0


def test_setting_the_clock_hides_no_study(sleeper, tmp_path, monkeypatch):
    """It moves the start of every process, as the system reports it."""
    process.begin("lrn", tmp_path)
    started = process.process_started
    monkeypatch.setattr(process, "process_started", lambda number: started(number) and started(number) + 5)
    with FileLock(tmp_path / ".studies" / "lrn.lock"):  # which that process holds
        assert process.process_of("lrn", tmp_path) == sleeper[0][0].pid
        process.begin("lrn", tmp_path)
        assert len(sleeper) == 1
        process.end("lrn", tmp_path)
        sleeper[0][0].wait(20)
        assert process.process_of("lrn", tmp_path) == 0


def test_two_processes_never_train_one_study(tmp_path):
    with process.sole("lrn", tmp_path):
        assert process.process_of("lrn", tmp_path) == os.getpid()
        with pytest.raises(RunError, match="is being trained already"), process.sole("lrn", tmp_path):
            raise AssertionError
        with process.sole("depth", tmp_path):
            pass
    with process.sole("lrn", tmp_path):
        pass


def test_what_it_said_is_kept_and_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    assert process.last_words("lrn", tmp_path) == ""
    (tmp_path / ".studies").mkdir()
    (tmp_path / ".studies" / "lrn.log").write_text("x" * 9000 + "\nthere is no data set\n")
    assert process.last_words("lrn", tmp_path).endswith("x\nthere is no data set")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be started"):
        process.begin("lrn", tmp_path / "file")
    with pytest.raises(RunError, match="cannot be written"), process.sole("lrn", tmp_path / "file"):
        raise AssertionError
