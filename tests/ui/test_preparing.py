"""Data sets that are prepared in the background, for the sessions that wait for them."""

import threading

import pytest

from alexnet_explorer.config import ConfigError
from alexnet_explorer.data.packed import DataError
from alexnet_explorer.ui import preparing
from alexnet_explorer.ui.preparing import Preparation


@pytest.fixture
def preparations(monkeypatch):
    """Those of the server, with nobody's patience."""
    shared = {}
    monkeypatch.setattr(preparing, "_preparations", lambda: shared)
    monkeypatch.setattr(preparing, "PATIENCE", 0)
    return shared


@pytest.fixture
def sessions(monkeypatch):
    """Makes one of several sessions the one that acts: `sessions("ann")`."""
    states = {}

    def act(name):
        monkeypatch.setattr(preparing.st, "session_state", states.setdefault(name, {}))
        return states[name]

    return act


@pytest.fixture
def replaced(monkeypatch):
    """Replaces how a data set is prepared."""
    return lambda prepare: monkeypatch.setattr(preparing, "prepare_by_name", prepare)


@pytest.fixture
def finished(replaced):
    """An order, to its end, of a preparation by this function."""

    def run(prepare, folder=None, then=lambda packed: packed):
        replaced(prepare)
        preparation = Preparation("digits", folder=folder)
        order = preparation.order(then)
        preparation.start()
        preparation.join(10)
        assert not preparation.is_alive() and order.is_over
        return order

    return run


def test_the_set_is_there_at_the_end(data_root):
    preparation = Preparation("digits")
    order = preparation.order(lambda packed: packed.count("train"))
    preparation.start()
    order.wait(60)
    assert order.found == 1433


def test_progress_is_heard(finished):
    def prepare(source, progress):
        progress(0.25, "a quarter")

    assert finished(prepare).progress == (0.25, "a quarter")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (DataError("The network is down: try again."), "The network is down: try again."),
        (OSError(28, "No space left on device"), "No space left on device): make room"),
    ],
)
def test_what_goes_wrong_is_said_in_words(finished, fault, words):
    def prepare(source, progress):
        raise fault

    order = finished(prepare)
    assert order.found is None and words in order.message


def test_what_stands_against_going_on_is_said_in_words(finished):
    def refuse(packed):
        raise ConfigError("data.name=digits: no")

    order = finished(lambda source, progress: "data", then=refuse)
    assert (order.found, order.message) == (None, "data.name=digits: no")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_ever_for_what_broke_down_and_one_who_fails_stops_no_other(replaced):
    def fail(packed):
        raise ZeroDivisionError

    replaced(lambda source, progress: "data")
    preparation = Preparation("digits")
    orders = [preparation.order(then) for then in (fail, str.upper, fail)]
    preparation.start()
    preparation.join(10)
    assert [(order.is_over, order.found) for order in orders] == [(True, None), (True, "DATA"), (True, None)]
    assert orders[0].message == preparing.FAILED


def test_the_folder_of_an_upload_is_removed(finished, tmp_path):
    folder = tmp_path / "upload"
    folder.mkdir()

    def prepare(source, progress):
        raise DataError("It is empty.")

    finished(prepare, folder)
    assert not folder.exists()


def test_two_sessions_that_want_the_same_data_wait_for_the_same_preparation(preparations, sessions, replaced):
    calls, go_on = [], threading.Event()

    def prepare(source, progress):
        calls.append(source)
        assert go_on.wait(10)
        return "data"

    replaced(prepare)
    done = []
    for name in ("ann", "bob"):
        sessions(name)
        preparing.begin("start", "cifar10", lambda packed, name=name: done.append(f"{packed} of {name}") or name)
    go_on.set()
    preparations["cifar10"].join(10)
    assert calls == ["cifar10"] and sorted(done) == ["data of ann", "data of bob"]
    taken = []
    assert preparing.receive("start", taken.append) and taken == ["bob"]
    assert not preparing.receive("start", taken.append) and not preparing.waits("start")


def test_one_session_stops_only_its_own_waiting_and_the_last_one_ends_it(preparations, sessions, replaced):
    at_work, go_on, ended = threading.Event(), threading.Event(), []

    def prepare(source, progress):
        at_work.set()
        assert go_on.wait(10)
        progress(0.5, "half")
        ended.append("whole")
        return "data"

    replaced(prepare)
    begun = []
    for name in ("ann", "bob"):
        session = sessions(name)
        preparing.begin("start", "cifar10", begun.append)
    assert at_work.wait(10)
    session["preparing_start"].stop()  # bob
    with pytest.raises(DataError, match="Stopped"):
        preparing.receive("start", begun.append)
    assert not preparing.waits("start")
    go_on.set()
    preparations["cifar10"].join(10)
    assert ended == ["whole"] and begun == ["data"]  # ann's

    go_on.clear()
    at_work.clear()
    preparing.begin("start", "cifar10", begun.append)
    first = preparations["cifar10"]
    assert at_work.wait(10)
    session["preparing_start"].stop()
    preparing.begin("start", "cifar10", begun.append)  # at once again: it waits for the files of the one that ends
    assert preparations["cifar10"] is not first
    at_work.clear()
    go_on.set()
    first.join(10)
    preparations["cifar10"].join(10)
    assert ended == ["whole", "whole"] and begun == ["data", "data"]
