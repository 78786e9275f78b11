"""Data sets that are prepared in the background."""

import threading

import pytest

from alexnet_explorer.data.packed import DataError
from alexnet_explorer.ui import preparing
from alexnet_explorer.ui.preparing import Preparation


@pytest.fixture
def finished(monkeypatch):
    """A preparation, run to its end, with `prepare` replaced."""

    def run(prepare, *given):
        monkeypatch.setattr(preparing, "prepare_by_name", lambda source, hear: prepare(source, None, hear))
        preparation = Preparation("digits", *given)
        preparation.start()
        preparation.join(10)
        assert not preparation.is_alive()
        return preparation

    return run


def test_the_set_is_there_at_the_end(data_root):
    preparation = Preparation("digits")
    preparation.start()
    preparation.join(60)
    assert preparation.packed.count("train") == 1433


def test_progress_is_heard(finished):
    def prepare(source, name, progress):
        progress(0.25, "a quarter")

    preparation = finished(prepare)
    assert (preparation.share, preparation.text) == (0.25, "a quarter")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (DataError("The network is down: try again."), "The network is down: try again."),
        (OSError(28, "No space left on device"), "No space left on device): make room"),
    ],
)
def test_what_goes_wrong_is_said_in_words(finished, fault, words):
    def prepare(source, name, progress):
        raise fault

    preparation = finished(prepare)
    assert preparation.packed is None and words in preparation.message


def test_the_folder_of_an_upload_is_removed(finished, tmp_path):
    folder = tmp_path / "upload"
    folder.mkdir()

    def prepare(source, name, progress):
        raise DataError("It is empty.")

    finished(prepare, None, folder)
    assert not folder.exists()


def test_two_sessions_that_want_the_same_data_wait_for_the_same_preparation(monkeypatch):
    calls, go_on = [], threading.Event()

    def prepare(source, name, progress):
        calls.append(source)
        go_on.wait(10)

    monkeypatch.setattr(preparing, "prepare_by_name", lambda source, hear: prepare(source, None, hear))
    monkeypatch.setattr(preparing, "PATIENCE", 0)
    shared = {}
    monkeypatch.setattr(preparing, "_preparations", lambda: shared)
    for _ in range(2):
        monkeypatch.setattr(preparing.st, "session_state", {})
        preparing.begin("start", "cifar10")
    go_on.set()
    shared["cifar10"].join(10)
    assert calls == ["cifar10"]
