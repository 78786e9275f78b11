"""A study is trained to its end, whatever interrupts it."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image

from alexnet_explorer.data.packed import list_sets
from alexnet_explorer.launch import slurm
from alexnet_explorer.launch.queue import Entry
from alexnet_explorer.runs import Run, RunError, list_runs, new_run, this_process
from alexnet_explorer.studies import forecast
from alexnet_explorer.studies.execute import Execution
from alexnet_explorer.studies.ledger import own_folder
from alexnet_explorer.studies.process import sole
from alexnet_explorer.studies.results import results
from alexnet_explorer.studies.study import parse
from alexnet_explorer.training import code, probe
from alexnet_explorer.training.loop import train

PROJECT = Path(__file__).resolve().parents[2]

STUDY = """
id: tiny
base:
  preset: alexnet-32
  data: colours
  set: {model.input_size: 16, model.widths: [4, 4, 4, 4, 4], model.fc_widths: [8], train.precision: fp32,
        train.threads: 1, train.clean_passes: 2}
factors: {activation: {relu: {}, tanh: {model.activation: tanh}}}
contrast: activation
seeds: [1, 2]
stop: {epochs: 2}
measure: {metric: clean/top1_error}
"""
SWEEP = "sweep: {values: [0.01, 0.03], epochs: 1}\n"


class Immediate:
    """A queue in which a run is done as soon as it is added; `spoil` may do something to it first."""

    def __init__(self, spoil=lambda run: None):
        self.added, self.stopped, self.spoil = [], [], spoil
        self.held: list[Run] = []

    poll_seconds = 0

    def wake(self):
        pass

    def at_once(self):
        return 1

    def room(self, ours):
        return 2 - ours

    def entries(self):
        return [Entry(run, run.status(), 0) for run in self.held]

    def add(self, run):
        self.added.append(run)
        self.spoil(run)
        if run not in self.held:
            train(run)

    def stop(self, run):
        self.stopped.append(run)


@pytest.fixture
def execution(packed, tmp_path, monkeypatch):
    """Builds an execution on a queue of the test's own."""

    def build(text=STUDY, queue=None, code="", **given):
        made = Execution(parse(text), packed, tmp_path / "runs", code, **given)
        made.place = queue or Immediate()
        return made

    return build


def test_a_study_is_trained_whole_sweep_first_and_a_second_call_trains_nothing(execution, tmp_path):
    lines = []
    first = execution(STUDY + SWEEP, report=lambda found: lines.append(found.count("done")))
    found = first.run()
    assert found.finished and found.count("done") == 8 == len(first.place.added)
    assert lines[0] == 0 and lines[-1] == 8 and lines == sorted(lines)
    order = [run.config.train.epochs for run in first.place.added]
    assert order == [1, 1, 1, 1, 2, 2, 2, 2]
    assert all(arm in found.chosen for arm in found.study.arms())
    again = execution(STUDY + SWEEP)
    assert again.run().finished and again.place.added == []
    assert len(list_runs(tmp_path / "runs", gallery=False)) == 8


def test_other_seeds_cost_their_own_runs_only(execution):
    execution().run()
    more = execution(STUDY.replace("[1, 2]", "[1, 2, 3]"))
    assert more.run().finished
    assert [run.config.train.seed for run in more.place.added] == [3, 3]


def test_a_run_that_fails_is_tried_once_more_and_then_told(execution):
    def spoil(run):
        if run.config.model.activation == "tanh":
            run.settle("failed", "the disk is full")

    class Failing(Immediate):
        def add(self, run):
            self.added.append(run)
            spoil(run)
            if run.status().state != "failed":
                train(run)

    made = execution(queue=Failing())
    found = made.run()
    assert found.finished and found.count("failed") == 2 and found.count("done") == 2
    assert len(made.place.added) == 2 + 2 * 2
    assert execution(queue=Failing()).run().count("failed") == 2  # and not again


def test_a_run_that_failed_once_and_then_trains_counts(execution):
    failed = []

    class Once(Immediate):
        def add(self, run):
            self.added.append(run)
            key = run.config.model.activation, run.config.train.seed
            if key in failed:
                train(run)
            else:
                failed.append(key)
                run.settle("failed", "the power went")

    found = execution(queue=Once()).run()
    assert found.count("done") == 4 and found.count("failed") == 0


def test_what_was_broken_off_goes_on_where_it_was(execution):
    """Stopped after the first step: the same runs are taken up, with their checkpoints."""
    queue = Immediate(spoil=lambda run: run.request_stop())
    stopped = execution(queue=queue)
    stopped.stopping = lambda: len(queue.added) == 2  # one at work, one that waits
    assert stopped.run().count("done") == 0
    assert [(run.status().state, run.status().step) for run in queue.added] == [("stopped", 1)] * 2
    again = execution()
    assert again.run().finished and again.place.added[:2] == queue.added and len(again.place.added) == 4


def test_stopping_puts_down_what_was_started_and_nothing_else(execution, small, packed, tmp_path):
    from alexnet_explorer.runs import new_run

    other = new_run(small(), packed, tmp_path / "runs")
    queue = Immediate()
    queue.spoil = queue.held.append  # a run stays in the queue
    made = execution(queue=queue, stopping=lambda: len(queue.added) == 2)
    queue.held.append(other)
    made.run()
    assert queue.stopped == queue.added and len(queue.added) == 2  # at once, and the next in the queue


def test_a_run_that_somebody_stops_meanwhile_is_left_alone(execution):
    queue = Immediate(spoil=lambda run: run.request_stop() if run.config.model.activation == "tanh" else None)
    found = execution(queue=queue).run()
    assert found.count("under way") == 2 and found.count("done") == 2 and len(queue.added) == 4


@pytest.mark.parametrize("job", ["", "123"])
def test_a_run_that_is_trained_elsewhere_is_waited_for(execution, packed, tmp_path, job, monkeypatch):
    monkeypatch.setattr(slurm, "unavailable", lambda: "")
    made = execution()
    other = new_run(made.study.config(made.study.arms()[0], 1), packed, tmp_path / "runs")
    mine = {"host": socket.gethostname(), **this_process(), "heartbeat": time.time()}
    at_work = replace(other.status(), **({"job": job} if job else {"state": "running", **mine}))
    other.write_status(at_work)
    looks = []

    def report(found):
        looks.append(found.count("done"))
        if looks.count(3) == 2:  # all but that one
            other.write_status(replace(other.status(), state="queued", pid=0, job=""))
            train(other)

    made.report = report
    assert made.run().finished and other not in made.place.added and looks[-1] == 4


def test_a_study_that_waits_for_another_one_to_start_its_runs_can_be_stopped(execution, tmp_path):
    made = execution()
    looks = iter([False, False, True])
    made.stopping = lambda: next(looks, True)
    own_folder(tmp_path / "runs").mkdir(parents=True)
    with FileLock(own_folder(tmp_path / "runs") / ".start.lock", thread_local=False):
        ended = threading.Thread(target=made.run)
        ended.start()
        ended.join(30)
        assert not ended.is_alive() and made.place.added == []


def test_a_folder_that_cannot_be_written_is_told(execution, tmp_path):
    (tmp_path / "runs").mkdir()
    own_folder(tmp_path / "runs").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        execution().run()


def test_a_study_may_be_called_start(execution, tmp_path):
    with sole("start", tmp_path / "runs"):
        assert execution(STUDY.replace("id: tiny", "id: start")).run().finished


def test_two_studies_that_share_a_run_train_it_once(execution, tmp_path):
    """The second looks while the first is between its look and its start."""
    one, other = execution(), execution(STUDY.replace("id: tiny", "id: other"))
    threads = []

    def look():
        found = Execution.look(one)
        if not threads:
            threads.append(threading.Thread(target=other.run))
            threads[0].start()
            time.sleep(0.5)
        return found

    one.look = look
    found = one.run()
    threads[0].join(60)
    assert found.finished and other.look().finished and len(list_runs(tmp_path / "runs", gallery=False)) == 4


def test_after_a_power_cut_runs_that_the_queue_keeps_as_interrupted_go_on(execution):
    """Both runs died after their first step and still stand in the queue."""
    cut = Immediate(spoil=lambda run: run.request_stop())
    broken = execution(queue=cut)
    broken.stopping = lambda: len(cut.added) == 2
    broken.run()
    for run in cut.added:
        run.settle("interrupted")
    queue = Immediate()
    queue.entries = lambda: [Entry(run, run.status(), 1) for run in cut.added if run.status().state == "interrupted"]
    found = execution(queue=queue).run()
    assert found.finished and queue.added[:2] == cut.added and len(queue.added) == 4


def test_the_place_is_woken_at_each_look_as_its_scheduler_may_have_died(execution):
    """Nobody starts the second run of the queue but who wakes it."""

    class Asleep(Immediate):
        def add(self, run):
            self.added.append(run)
            self.held.append(run)

        def wake(self):
            if self.held:
                train(self.held.pop(0))
            raise RunError("another process is changing the queue")

    looks = []
    made = execution(queue=Asleep(), report=looks.append, stopping=lambda: len(looks) > 20)
    assert made.run().finished


@pytest.mark.parametrize("name", ["entries", "room", "add"])
def test_a_place_that_refuses_for_a_moment_is_asked_again(execution, monkeypatch, name):
    """Five times in a row at most."""
    queue, refused = Immediate(), []
    made, answer = execution(queue=queue), getattr(queue, name)

    def refuse(*arguments):
        if len(refused) < most:
            refused.append(name)
            raise RunError("Slurm does not answer")
        return answer(*arguments)

    monkeypatch.setattr(queue, name, refuse)
    most = 6
    with pytest.raises(RunError, match="does not answer"):
        made.run()
    assert len(refused) == 6 and made.started.total() == 0 and queue.added == []
    refused.clear()
    most = 5
    assert made.run().finished and len(queue.added) == len(list_runs(made.root, gallery=False)) == 4


def test_a_place_may_refuse_time_and_again(execution, monkeypatch):
    queue, answers = Immediate(), itertools.cycle([None] * 5 + [[]])

    def entries():
        if (answer := next(answers)) is None:
            raise RunError("Slurm does not answer")
        return answer

    monkeypatch.setattr(queue, "entries", entries)
    assert execution(queue=queue).run().finished


def test_a_study_can_be_stopped_while_its_place_refuses(execution, monkeypatch):
    queue = Immediate(spoil=lambda run: queue.held.append(run))
    looks = []
    made = execution(queue=queue, stopping=lambda: len(looks) > 1, report=looks.append)
    monkeypatch.setattr(queue, "room", lambda ours: 1)

    def silent():
        if queue.added:
            raise RunError("Slurm does not answer")
        return []

    monkeypatch.setattr(queue, "entries", silent)
    made.run()
    assert queue.stopped == queue.added and len(queue.added) == 1


def test_a_run_that_dies_is_taken_up_once_and_then_left(execution):
    class Deadly(Immediate):
        def add(self, run):
            self.added.append(run)
            run.settle("interrupted")

        def entries(self):
            return [Entry(run, run.status(), 1) for run in self.added]

    queue = Deadly()
    found = execution(queue=queue).run()
    assert found.count("under way") == 4 and len(queue.added) == 2 * 4 and len(set(queue.added)) == 4


def test_no_run_is_started_once_the_budget_is_spent(execution):
    made = execution(STUDY + "budget_hours: 1e-9\n")
    found = made.run()
    assert made.spent(found) and len(made.place.added) == 2 and not found.finished
    assert execution(STUDY + "budget_hours: 9\n").run().finished


def test_a_reading_is_taken_once_of_each_run_and_other_studies_add_theirs(execution):
    reading = re.sub(r"(?m)^(factors|contrast|measure):.*$", "", STUDY).replace("{model", "{model.towers: 2, model")
    found = execution(reading + "measure: {reading: tower-colour}").run()
    assert found.finished and found.count("done") == 2 and found.unread == []
    (row,) = results(found).rows
    assert row.id == "tiny" and row.estimate.n == 2 and row.seeds == (1, 2)
    kept = json.loads((found.counted[0].done.path / "readings.json").read_bytes())
    other = execution(reading + "measure: {reading: neighbours}")
    assert other.run().unread == [] and other.place.added == []
    both = json.loads((found.counted[0].done.path / "readings.json").read_bytes())
    assert both["tower-colour"] == kept["tower-colour"] and set(both) == {"tower-colour", "neighbours"}
    (found.counted[0].done.path / "readings.json").write_text("{")
    assert other.run().unread == []


def test_runs_of_other_code_do_not_count_unless_they_may(execution, monkeypatch):
    execution().run()
    fresh = execution(code="another")
    assert fresh.look().count("done") == 0
    assert execution(code="").look().count("done") == 4


def test_a_dry_run_measures_each_arm_and_trains_nothing(call, execution, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "start_seconds", lambda environment: 1000.0)
    monkeypatch.setattr(probe, "SECONDS", 0.0)
    (tmp_path / "tiny.yaml").write_text(STUDY)
    dry = ("study", "run", tmp_path / "tiny.yaml", "--dry-run", "--runs", tmp_path / "runs")
    status, out, said = call(*dry)
    assert status == 0 and not list_runs(tmp_path / "runs", gallery=False)
    assert out.startswith("4 runs; they take about 1 h 0") and out.endswith("on this machine, one after another\n")
    assert "measuring arm 2 of 2: activation tanh" in said
    execution().run()
    assert call(*dry)[1] == "4 runs, 4 of them done; nothing is left to be trained\n"
    monkeypatch.setattr(code, "code_digest", lambda: "another")
    assert call(*dry)[1].startswith("4 runs; they take about") and "4 of them done" in call(*dry, "--any-code")[1]


def test_a_study_file_never_names_a_path_and_one_on_other_data_is_told_by_its_name(call, execution, tmp_path, document):
    execution().run()  # on a set that is called colours
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        (tmp_path / "private" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "private" / name)
    file, runs = tmp_path / "other.yaml", ("--runs", tmp_path / "runs")
    file.write_text(STUDY.replace("data: colours", f"data: {tmp_path / 'private'}"))
    status, _, said = call("study", "run", file, "--dry-run", *runs)
    assert status == 2 and "private" in said and [found.name for found in list_sets()] == ["colours"]
    file.write_text(STUDY.replace("data: colours", "data: others"))
    _, _, said = call("study", "run", file, "--data", "colours", "--dry-run", *runs)
    assert '--data "colours"' in said
    counts = [document("study", "report", file, *more, *runs)["claims"][0]["n"] for more in ((), ("--data", "colours"))]
    assert counts == [0, 2]


@pytest.fixture
def command(packed, tmp_path):
    """Starts `python -m alexnet_explorer study …` on a study file, as a process of its own."""
    (tmp_path / "tiny.yaml").write_text(STUDY.replace("epochs: 2", "epochs: 20").replace("[1, 2]", "[1]"))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "alexnet_explorer", "study", *arguments, "--runs", str(tmp_path / "runs")],
            cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    return start


def test_the_command_trains_through_the_queue_is_stopped_by_ctrl_c_and_goes_on(command, tmp_path):
    study = str(tmp_path / "tiny.yaml")
    process = command("run", study)
    runs = tmp_path / "runs"
    deadline = time.monotonic() + 90
    while not any(run.status().step for run in list_runs(runs, gallery=False)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "0 of 2 runs done" in errors and "not run yet" in out
    before = {run.id for run in list_runs(runs, gallery=False)}
    out, errors = command("run", study, "--json").communicate(timeout=150)
    (claim,) = json.loads(out)["claims"]
    assert claim["id"] == "tiny" and claim["n"] == 1 and len(claim["runs"]) == 2, errors
    found = list_runs(runs, gallery=False)
    assert len(found) == 2 and before <= {run.id for run in found}
    assert {run.status().state for run in found} == {"done"}
    out, _ = command("report", study).communicate(timeout=60)
    assert "activation tanh against relu" in out
