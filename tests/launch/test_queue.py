"""The queue: who may do what, in which order runs start, and that none is lost or started twice, whoever is killed."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from alexnet_explorer.config import MOST_THREADS
from alexnet_explorer.launch import local, slurm
from alexnet_explorer.launch import queue as module
from alexnet_explorer.launch.queue import Book, Queue, allowed, free_slot, gpus_of, moved, share, tidy, waiting
from alexnet_explorer.runs import Run, RunError, Status, create_run, find_run, list_runs, new_run, this_process

PROJECT = Path(module.__file__).resolve().parents[2]

AT_WORK = this_process()
STATUSES = {
    "new": Status(),
    "starting": Status(**AT_WORK),
    "running": Status(state="running", step=3, **AT_WORK),
    "begun": Status(step=3),
    **{state: Status(state=state, step=3) for state in ("paused", "stopped", "failed", "interrupted", "done")},
    "paused before it began": Status(state="paused"),
}


# What is possible


@pytest.mark.parametrize(
    ("name", "queued", "actions"),
    [
        ("new", False, {"start", "cancel", "delete"}),
        ("new", True, {"pause", "cancel", "move", "delete"}),
        ("begun", True, {"pause", "stop", "move", "delete"}),
        ("starting", True, {"pause", "stop"}),
        ("running", True, {"pause", "stop"}),
        ("running", False, {"pause", "stop"}),
        ("paused", True, {"resume", "stop", "move", "delete"}),
        ("paused", False, {"resume", "stop", "delete"}),
        ("paused before it began", True, {"resume", "cancel", "move", "delete"}),
        ("interrupted", True, {"resume", "stop", "move", "delete"}),
        ("interrupted", False, {"resume", "delete"}),
        ("stopped", False, {"resume", "delete"}),
        ("failed", False, {"resume", "delete"}),
        ("done", False, {"delete"}),
    ],
)
def test_what_can_be_done_with_a_run(name, queued, actions):
    assert allowed(STATUSES[name], queued) == actions


def test_a_run_that_diverged_is_not_resumed_to_the_same_end(tmp_path, small, packed):
    run = new_run(small(), packed, tmp_path / "runs")
    run.settle("failed", "at step 3 the loss is not a number, at a rate of 4: lower train.learning_rate")
    assert allowed(run.status(), False) == {"delete"}
    with pytest.raises(RunError, match="would diverge again: clone it with a lower learning rate"):
        Queue(run.path.parent).add(run)
    run.settle("failed", "the disk is full: free some space (state.safetensors); then resume the run")
    assert allowed(run.status(), False) == {"resume", "delete"}


def test_runs_that_ended_leave_and_those_at_work_come_first():
    book = Book(("done", "paused", "gone", "new", "running", "stopped", "interrupted", "failed", "starting"),
                slots={"done": 0, "running": 1, "gone": 2})  # fmt: skip
    kept = tidy(book, STATUSES)
    assert kept.order == ("running", "starting", "paused", "new", "interrupted")
    assert kept.slots == {"running": 1}
    assert waiting(kept, STATUSES) == ["new"]  # the paused one lets it pass


@pytest.mark.parametrize(
    ("place", "order"),
    [(1, "running new begun paused"), (2, "running begun new paused"), (3, "running begun paused new"),
     (99, "running begun paused new"), (-1, "running new begun paused")],
)  # fmt: skip
def test_a_place_counts_from_the_first_run_that_is_not_at_work(place, order):
    book = Book(("running", "begun", "paused", "new"))
    assert moved(book, STATUSES, "new", place).order == tuple(order.split())


def test_every_run_gets_its_share_of_the_machine():
    assert share(0, 1, [], 8) == share(0, 1, ["0"], 8) == {"OMP_NUM_THREADS": "7", MOST_THREADS: "7"}
    assert share(5, 4, ["2", "3"], 9) == {
        "CUDA_VISIBLE_DEVICES": "3",
        "OMP_NUM_THREADS": "2",
        MOST_THREADS: "2",
    }
    assert share(1, 3, [], 2) == {"OMP_NUM_THREADS": "1", MOST_THREADS: "1"}
    assert [free_slot(slots) for slots in ({}, {"a": 0}, {"a": 1}, {"a": 0, "b": 2})] == [0, 1, 0, 1]


def test_gpus_are_counted_as_the_environment_names_them(tmp_path):
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert gpus_of({}, tmp_path) == ["0", "1"] and gpus_of({}, tmp_path / "none") == []
    assert gpus_of({"CUDA_VISIBLE_DEVICES": "2, 5"}, tmp_path) == ["2", "5"]
    assert gpus_of({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == gpus_of({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []


# A queue on the disk, without processes


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "gpus_of", lambda environment: [])
    return tmp_path / "runs"


@pytest.fixture
def queue(root):
    return Queue(root)


@pytest.fixture
def started(monkeypatch):
    """The environment that each run was started with; its process is this one."""
    environments = {}

    def start(run, environment, quick, standby):
        environments[run.id] = environment
        run.write_status(replace(run.status(), state="running", **AT_WORK))

    monkeypatch.setattr(local, "start", start)
    return environments


@pytest.fixture
def schedulers(monkeypatch):
    commands = []
    monkeypatch.setattr(local, "detach", lambda command, log: commands.append(command) or os.getpid())
    return commands


@pytest.fixture
def runs(root, small):
    return [create_run(small(), root) for _ in range(4)]


def end(run, state="done"):
    run.write_status(replace(run.status(), state=state))


def places(queue):
    return {entry.run: entry.place for entry in queue.entries()}


def test_the_first_run_starts_and_the_others_wait_in_order(queue, runs, started, schedulers):
    assert queue.entries() == [] and queue.next_place() == 0
    assert not queue.folder.exists()  # looking writes nothing
    queue.add(runs[0])
    assert list(started) == [runs[0].id] and schedulers == []  # nothing waits: no process for it
    queue.add(runs[1])
    queue.add(runs[2])
    assert list(started) == [runs[0].id] and len(schedulers) == 1
    assert places(queue) == {runs[0]: 0, runs[1]: 1, runs[2]: 2} and queue.next_place() == 3
    end(runs[0])
    queue.wake()
    assert places(queue) == {runs[1]: 0, runs[2]: 1}
    assert [entry.status.state for entry in queue.entries()] == ["running", "queued"]


def test_a_paused_run_keeps_its_place_and_blocks_no_other(queue, runs, started, schedulers):
    for run in runs[:3]:
        queue.add(run)
    queue.pause(runs[1])
    assert runs[1].status().state == "paused"
    queue.pause(runs[0])
    assert runs[0].stop_requested() == "paused" and len(started) == 1
    end(runs[0], "paused")
    queue.wake()
    assert places(queue) == {runs[2]: 0, runs[0]: 1, runs[1]: 2}
    queue.add(runs[1])  # resumed
    assert runs[1].status().state == "queued"
    assert places(queue) == {runs[2]: 0, runs[0]: 1, runs[1]: 2}


def test_stop_and_cancel_leave_the_queue(queue, runs, started, schedulers):
    for run in runs[:3]:
        queue.add(run)
    queue.cancel(runs[1])
    queue.stop(runs[0])
    assert runs[0].stop_requested() == "stopped" and runs[1].status().state == "stopped"
    end(runs[0], "stopped")
    queue.wake()
    assert places(queue) == {runs[2]: 0}
    with pytest.raises(RunError, match="is at work: it cannot be cancelled"):
        queue.cancel(runs[2])


def test_more_at_once_share_the_machine(queue, runs, started, schedulers):
    for run in runs:
        queue.add(run)
    queue.set_at_once(3)
    assert [*started] == [run.id for run in runs[:3]]
    slots = json.loads((queue.folder / "queue.json").read_text())["slots"]
    assert slots == {runs[0].id: 0, runs[1].id: 1, runs[2].id: 2}
    given = started[runs[1].id]
    assert int(given["OMP_NUM_THREADS"]) >= 1 and given[MOST_THREADS] == given["OMP_NUM_THREADS"]
    queue.set_at_once(None)
    assert queue.at_once() == 1 and len(places(queue)) == 4  # nobody is stopped for it
    for wrong in (0, -1, 65):
        with pytest.raises(RunError, match="1 to 64"):
            queue.set_at_once(wrong)


def test_a_run_that_trains_without_the_queue_takes_room(queue, runs, started, schedulers):
    runs[3].write_status(STATUSES["running"])
    queue.add(runs[0])
    assert not started and queue.next_place() == 2
    runs[3].write_status(replace(STATUSES["running"], host="elsewhere", heartbeat=time.time()))
    queue.wake()  # not on this machine
    assert list(started) == [runs[0].id]


def test_a_run_that_slurm_trains_on_this_machine_takes_no_room(queue, runs, started, schedulers):
    runs[3].write_status(replace(STATUSES["running"], job="7"))
    queue.add(runs[0])
    assert list(started) == [runs[0].id]


def test_an_interrupted_run_waits_for_a_click(queue, runs, started, schedulers):
    queue.add(runs[0])
    queue.add(runs[1])
    runs[0].write_status(replace(runs[0].status(), pid=2**22 + 1))
    assert [entry.status.state for entry in queue.entries()] == ["interrupted", "queued"]
    queue.wake()
    assert list(started) == [run.id for run in runs[:2]] and places(queue) == {runs[1]: 0, runs[0]: 1}
    queue.add(runs[0])
    assert places(queue) == {runs[1]: 0, runs[0]: 1} and runs[0].status().state == "queued"


@pytest.mark.parametrize("gone", [2**22 + 1, os.getpid()], ids=["dead", "a stranger has its number"])
def test_a_scheduler_that_is_gone_is_started_again(queue, runs, started, schedulers, gone):
    queue.add(runs[0])
    queue.add(runs[1])
    queue.wake()
    assert len(schedulers) == 1
    file = queue.folder / "queue.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "scheduler": [gone, 5.0]}))
    queue.wake()
    assert schedulers == [["alexnet_explorer.launch.scheduler", str(queue.root.resolve())]] * 2


def test_what_cannot_start_has_failed_and_the_next_one_starts(queue, runs, started, schedulers, monkeypatch):
    start = local.start

    def refuse(run, environment, quick, standby):
        if run == runs[0]:
            raise RunError("run x cannot be started: no space")
        start(run, environment, quick, standby)

    monkeypatch.setattr(local, "start", refuse)
    queue.add(runs[0])
    queue.add(runs[1])
    assert (runs[0].status().state, runs[0].status().message) == ("failed", "run x cannot be started: no space")
    assert places(queue) == {runs[1]: 0}


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE])
def test_where_the_system_has_no_process_to_spare_runs_wait_and_say_why(queue, runs, started, schedulers, monkeypatch,
                                                                        number):  # fmt: skip
    start, tried = local.start, []

    def refuse(run, environment, quick, standby):
        tried.append(run)
        raise RunError("run x cannot be started: not now") from OSError(number, "not now")

    monkeypatch.setattr(local, "start", refuse)
    queue.set_at_once(2)
    queue.add(runs[0])
    queue.add(runs[1])
    assert tried == [runs[0]] * 2 and places(queue) == {runs[0]: 1, runs[1]: 2} and len(schedulers) == 1
    assert (runs[0].status().state, runs[0].status().message) == ("queued", "run x cannot be started: not now")
    monkeypatch.setattr(local, "start", start)
    queue.wake()
    assert list(started) == [runs[0].id, runs[1].id]


def test_a_run_that_waited_in_the_slurm_of_another_machine_can_be_cancelled_and_deleted(queue, runs, monkeypatch):
    monkeypatch.setattr(slurm, "unavailable", lambda: "this machine has no Slurm")
    monkeypatch.setattr(slurm, "cancel", lambda job: pytest.fail("there is no scancel"))
    runs[0].write_status(replace(runs[0].status(), job="7"))
    queue.cancel(runs[0])
    assert (runs[0].status().state, runs[0].status().job) == ("stopped", "")
    queue.delete(runs[0])


def test_the_queue_does_not_wait_for_the_answer_of_slurm(queue, runs, started, monkeypatch):
    monkeypatch.setattr(slurm, "unavailable", lambda: "")
    monkeypatch.setattr(slurm, "cancel", lambda job: queue.add(runs[1]))
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.2)
    runs[0].write_status(replace(runs[0].status(), job="7"))
    queue.cancel(runs[0])
    assert runs[0].status().state == "stopped" and list(started) == [runs[1].id]


@pytest.fixture
def scheduler(queue, runs, started, schedulers, monkeypatch):
    """Works at a queue where one run is at work and one waits, until both are done."""
    queue.add(runs[0])
    queue.add(runs[1])
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.0)
    thread = threading.Thread(target=queue.work, daemon=True)
    thread.start()
    yield thread
    end(runs[0])
    thread.join(20)
    assert not thread.is_alive() and list(started) == [runs[0].id, runs[1].id]
    assert queue._read().scheduler == (0, 0.0)


def test_a_scheduler_outlives_a_lock_that_another_process_holds_for_long(queue, scheduler, monkeypatch, capsys):
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    with FileLock(queue.folder / "lock"):
        scheduler.join(1)
        assert scheduler.is_alive()
    assert capsys.readouterr().err == "another process is changing the queue: try again in a moment\n"  # once


def test_a_scheduler_outlives_a_full_disk(scheduler, runs, monkeypatch, capsys):
    refused = []

    def full(path, value):
        refused.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_json", full)
        end(runs[0])
        scheduler.join(1)
        assert scheduler.is_alive() and len(refused) > 1
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_delete_takes_only_what_is_at_rest(queue, runs, started, schedulers, monkeypatch):
    queue.add(runs[0])
    queue.add(runs[1])
    queue.delete(runs[1])
    with pytest.raises(RunError, match="is at work: it cannot be deleted"):
        queue.delete(runs[0])
    end(runs[0])
    with runs[0].lease().acquire(), pytest.raises(RunError, match="at work already"):
        queue.delete(runs[0])
    queue.delete(runs[0])
    assert {path.name for path in queue.root.iterdir()} == {".queue", ".trash", runs[2].id, runs[3].id}
    monkeypatch.setattr("alexnet_explorer.runs.GALLERY", queue.root)
    with pytest.raises(RunError, match="ships with the project"):
        queue.delete(runs[2])


def test_a_second_click_is_refused_in_words(queue, runs, started, schedulers):
    queue.add(runs[0])
    queue.add(runs[1])
    for run, words in ((runs[0], "is at work: it cannot be added"), (runs[1], "waits in the queue already")):
        with pytest.raises(RunError, match=words):
            queue.add(run)
    end(runs[0])
    with pytest.raises(RunError, match="is done: it cannot be added"):
        queue.add(runs[0])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at_once": 0}', '{"order": "abc"}'])
def test_a_damaged_queue_says_what_to_do(queue, runs, text):
    queue.folder.mkdir()
    (queue.folder / "queue.json").write_text(text)
    with pytest.raises(RunError, match=r"damaged: delete .*queue\.json") as refusal:
        queue.add(runs[0])
    assert len(str(refusal.value).splitlines()) == 1


# Processes


def command(*words, **options):
    return subprocess.Popen([sys.executable, "-m", "alexnet_explorer", *map(str, words)], cwd=PROJECT,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # fmt: skip


@pytest.fixture
def ended(root):
    """Ends, after the test, whatever it left running."""
    yield
    scheduler = Queue(root)._read().scheduler[0]
    for number in [run.status().pid for run in list_runs(root, gallery=False) if run.status().at_work] + [scheduler]:
        if number and psutil.pid_exists(number):
            os.kill(number, signal.SIGKILL)


@pytest.fixture
def wait(root):
    """Waits until something is so. Where it may, it lets the runs keep up with a busy machine."""

    def until(condition, seconds=280.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, Queue(root)._read()
            for run in list_runs(root, gallery=False):
                with suppress(OSError, psutil.Error):
                    process = psutil.Process(run.status().pid or os.getpid())
                    if process.nice() > psutil.Process().nice():
                        process.nice(psutil.Process().nice())
                        Path(f"/proc/{process.pid}/autogroup").write_text("0", encoding="ascii")
            time.sleep(0.1)

    return until


@pytest.mark.timeout(600)
def test_each_run_is_trained_once_whoever_starts_it(root, small, packed, ended, wait):
    """Two apps, two schedulers more and a `train --resume` by hand, at once."""
    ids = [new_run(small(train__epochs=1), packed, root).id for _ in range(2)]
    processes = [command("queue", "add", *ids, "--runs", root) for _ in range(2)]
    processes += [command("queue", "work", "--runs", root) for _ in range(2)]
    processes.append(command("train", "--resume", ids[1], "--runs", root))
    trained = {name: set() for name in ids}

    def all_done():
        statuses = {name: find_run(name, root).status() for name in ids}
        for name, status in statuses.items():
            if status.state in ("running", "done"):
                trained[name].add(status.pid)
        return all(status.state == "done" for status in statuses.values())

    wait(all_done)
    for process in processes:
        process.wait(120)
    for name in ids:
        steps = [row["step"] for row in find_run(name, root).metrics()[0] if "train/loss" in row]
        assert steps == sorted(set(steps)) and len(trained[name]) == 1
    wait(lambda: Queue(root)._read().scheduler[0] == 0)
    assert Queue(root).entries() == []


@pytest.mark.timeout(600)
def test_the_queue_outlives_the_killing_of_app_and_scheduler(root, small, packed, ended, wait):
    endless = new_run(small(train__epochs=5000, train__batch_size=5), packed, root)
    short = [new_run(small(train__epochs=1), packed, root) for _ in range(2)]
    app = (
        "import sys, time; from pathlib import Path; from alexnet_explorer.launch.queue import Queue\n"
        "from alexnet_explorer.runs import Run\n"
        "for name in sys.argv[2:]: Queue(Path(sys.argv[1])).add(Run(Path(sys.argv[1]) / name), quick=True)\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", app, str(root), *(run.id for run in (endless, *short))],
                               cwd=PROJECT)  # fmt: skip
    queue = Queue(root)
    wait(lambda: len(queue.entries()) == 3)
    scheduler = psutil.Process(queue._read().scheduler[0])
    wait(lambda: endless.status().state == "running" and endless.status().step > 3)
    assert scheduler.memory_info().rss < 80e6
    scheduler.kill()
    process.kill()
    process.wait()
    assert endless.status().state == "running"

    endless.request_stop("paused")
    wait(lambda: endless.status().state == "paused")
    assert endless.state_file.exists() and [run.status().state for run in short] == ["queued", "queued"]
    queue.wake()  # as the first page of the next app does
    wait(lambda: [run.status().state for run in short] == ["done", "done"])
    assert places(queue) == {endless: 1} and endless.status().state == "paused"
    wait(lambda: queue._read().scheduler[0] == 0)


def test_a_run_that_is_gone_is_forgotten(queue, runs, started, schedulers):
    queue.add(runs[0])
    queue.add(runs[1])
    runs[1].delete()
    assert places(queue) == {runs[0]: 0} and not Run(queue.root / runs[1].id).exists()
