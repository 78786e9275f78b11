"""When the doctor is asked, and how its advice reads on the page."""

import pytest

from alexnet_explorer.config import preset_config
from alexnet_explorer.runs import create_run
from alexnet_explorer.training.doctor import Try
from alexnet_explorer.ui import diagnosis


@pytest.fixture
def asked(monkeypatch):
    """How many rows the doctor was shown, each time; and a session."""
    counts = []
    monkeypatch.setattr(diagnosis, "diagnose", lambda config, rows, message: counts.append(len(rows)) or [])
    monkeypatch.setattr(diagnosis.st, "session_state", {})
    return counts


def kept(train, val=0):
    return {"train": [{"step": n} for n in range(train)], "val": [{"step": n} for n in range(val)]}


def test_the_doctor_is_asked_once_for_the_same_rows(tmp_path, asked):
    run, other = (create_run(preset_config("alexnet-32"), tmp_path) for _ in range(2))
    for _ in range(3):
        assert diagnosis.findings(run, kept(5), "") == []
    assert asked == [5]
    diagnosis.findings(run, kept(6), "")
    diagnosis.findings(run, kept(6, 1), "")
    diagnosis.findings(run, kept(6, 1), "at step 7 the loss is not a number")
    diagnosis.findings(other, kept(6, 1), "")
    assert asked == [5, 6, 7, 7, 7]


def test_of_a_long_run_it_is_asked_only_when_there_is_much_that_is_new(tmp_path, asked):
    run = create_run(preset_config("alexnet-32"), tmp_path)
    for count in range(3000, 3100):
        diagnosis.findings(run, kept(count), "")
    assert 2 <= len(asked) <= 5
    diagnosis.findings(run, kept(3099, 1), "")
    assert asked[-1] == 3100


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Try("train.learning_rate", 0.003), "learning rate 0.003"),
        (Try("train.epochs", 60), "epochs 60"),
        (Try("data.augmentation", "flip,crop"), "augmentation flip, crop"),
        (Try("model.bias_one", "2,4"), "bias one 2, 4"),
    ],
)
def test_a_change_in_words(change, text):
    assert diagnosis.try_text(change) == text
