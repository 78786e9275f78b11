"""Measurements before a training: how a process is asked, what is kept of its answer, how it is stopped."""

import json
import threading
import time

import pytest

from alexnet_explorer.config import preset_config
from alexnet_explorer.launch import local
from alexnet_explorer.runs import Status, config_on, create_run, this_process
from alexnet_explorer.ui.probing import Probe, Shared, key_of, size_text, why


class Answer:
    """A process whose lines are known; it waits before each one until it may go on, and can be killed."""

    def __init__(self, lines, returncode=0):
        self.lines, self.returncode, self.killed = lines, returncode, threading.Event()
        self.may_go_on = threading.Semaphore(len(lines) + 1)

    def __enter__(self):
        return self

    def __exit__(self, *given):
        return None

    @property
    def stdout(self):
        for line in [*self.lines, None]:
            while not self.may_go_on.acquire(timeout=0.01):
                if self.killed.is_set():
                    self.returncode = -9
                    yield '{"result": {"half a li'
                    return
            if line is not None:
                yield json.dumps(line) + "\n"

    def kill(self):
        self.killed.set()


@pytest.fixture
def answers(monkeypatch):
    """Lets the next processes be these; the list of what they were asked."""
    asked, waiting = [], []

    def ask(command, question, errors, environment):
        asked.append((command, question, environment))
        answer, said = waiting.pop(0)
        errors.write(said)
        return answer

    monkeypatch.setattr(local, "ask", ask)
    return lambda answer, said=b"": waiting.append((answer, said)) or asked


def ended(probe, seconds=60):
    if probe.ident is None:
        probe.start()
    probe.join(seconds)
    assert not probe.is_alive()
    return probe


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


POINTS = [{"progress": n / 4, "rate": 10.0 ** (n - 4), "loss": 3.0 - n} for n in (1, 2)]


def test_points_come_one_by_one_and_the_result_at_the_end(answers, packed, small, tmp_path):
    answer = Answer([*POINTS, {"result": {"points": [], "suggestion": 0.01}}])
    answer.may_go_on = threading.Semaphore(0)
    asked = answers(answer)
    probe = Probe("rate", small(), tmp_path, Shared())
    probe.start()
    for count in (1, 2):
        answer.may_go_on.release()
        until(lambda count=count: len(probe.points) == count)
        assert probe.result is None and probe.share == count / 4
    answer.may_go_on.release(2)
    assert ended(probe).result["suggestion"] == 0.01 and probe.message == ""
    assert probe.points == [(0.001, 2.0), (0.01, 1.0)]
    ((command, question, environment),) = asked
    assert command == ["alexnet_explorer", "probe", "rate"] and question == small().to_json()
    assert int(environment["OMP_NUM_THREADS"]) >= 1  # a run's share of the machine


def test_what_is_stopped_ends_at_once_and_is_no_fault(answers, packed, small, tmp_path):
    answer = Answer(POINTS)
    answer.may_go_on = threading.Semaphore(1)
    answers(answer)
    shared = Shared()
    probe, behind = (Probe("rate", small(), tmp_path, shared) for _ in range(2))
    probe.start()
    until(lambda: probe.points)
    behind.start()
    behind.stop()
    assert ended(behind).message == "" and probe.is_alive()  # it had waited for its turn
    probe.stop()
    assert ended(probe).result is None and probe.message == "" and answer.killed.is_set()


def test_two_do_not_measure_each_other(answers, packed, small, tmp_path):
    first, second = (Answer([{"result": number}]) for number in (1, 2))
    first.may_go_on = threading.Semaphore(0)
    answers(first)
    asked = answers(second)
    shared = Shared()
    probes = [Probe("estimate", small(train__epochs=n), tmp_path, shared) for n in (1, 2)]
    for probe in probes:
        probe.start()
        until(lambda: asked)
    assert probes[1].text == "Waiting for another measurement" and len(asked) == 1
    first.may_go_on.release(2)
    assert [ended(probe).result for probe in probes] == [1, 2]


@pytest.mark.parametrize(
    ("status", "errors", "words"),
    [
        (2, "a warning\nnot enough memory: take a smaller train.batch_size\n", "not enough memory: take a smaller"),
        (-9, "", "killed (signal 9), most likely as memory ran out: take a smaller batch size"),
        (1, "Traceback\nKeyError: 'x'\n", "ended with an error: KeyError: 'x'"),
        (1, "", "ended with an error: it said nothing"),
    ],
)
def test_why_there_is_no_result_is_said_in_words(answers, packed, small, tmp_path, status, errors, words):
    answers(Answer([], status), errors.encode())
    assert words in ended(Probe("estimate", small(), tmp_path, Shared())).message
    assert words in why(status, errors)


def test_data_that_are_not_there_are_told(data_root, small, tmp_path):
    assert "'colours' is not on this machine" in ended(Probe("estimate", small(), tmp_path, Shared())).message


def test_weights_that_are_not_there_are_told(packed, small, tmp_path):
    config = small(train__init="gone@0123456789abcdef")
    assert "there is no model 'gone'" in ended(Probe("estimate", config, tmp_path, Shared())).message


def test_it_is_known_whether_a_run_was_at_work_beside_it(answers, packed, small, tmp_path):
    assert not Probe("estimate", small(), tmp_path, Shared()).busy
    create_run(preset_config("alexnet-32"), tmp_path).write_status(Status(state="running", **this_process()))
    assert Probe("estimate", small(), tmp_path, Shared()).busy


def test_a_result_is_found_by_configs_that_it_holds_for(answers, packed, small, tmp_path):
    answers(Answer([{"result": {}}]))
    shared = Shared()
    probe = ended(Probe("estimate", small(), tmp_path, shared))
    whole = config_on(small(), packed)  # as the page has it once the data are packed
    assert shared.find("estimate", whole) is probe
    assert shared.find("estimate", whole.with_settings({"train.learning_rate": 0.5, "train.seed": 7})) is probe
    assert shared.find("rate", whole) is None
    for other in ({"train.batch_size": 7}, {"train.epochs": 9}, {"model.dropout": 0.1}, {"train.precision": "bf16"}):
        assert shared.find("estimate", whole.with_settings(other)) is None
    assert key_of("rate", whole) == key_of("rate", whole.with_settings({"train.learning_rate": 9, "train.epochs": 8}))
    assert key_of("rate", whole) != key_of("rate", whole.with_settings({"train.momentum": 0.5}))


def test_a_process_of_its_own_measures(packed, small, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "QUICK_SECONDS", 600.0)  # however busy the machine is
    probe = ended(Probe("rate", small(train__threads=1), tmp_path, Shared()), 150)
    assert probe.message == "" and [list(point) for point in probe.points] == probe.result["points"]
    assert len(probe.points) > 20


def test_sizes_are_read_at_a_glance():
    assert [size_text(n) for n in (604_000_000, 1_250_000_000)] == ["604 MB", "1.2 GB"]


def test_its_process_is_told_to_give_way_to_the_page_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "QUICK_SECONDS", 7.5)
    said = f"import os; print(os.environ[{local.GIVE_WAY!r}])"
    with (
        (tmp_path / "errors").open("wb") as errors,
        local.ask(["timeit", "-n1", "-r1", said], "", errors) as process,
    ):
        assert process.stdout.readline() == "7.5\n"
