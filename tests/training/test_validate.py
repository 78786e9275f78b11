"""A validation from the weights says what the training said."""

import json
import shutil

import pytest

from alexnet_explorer.data.packed import DataError
from alexnet_explorer.runs import Run, RunError, create_run
from alexnet_explorer.training.validate import validate


@pytest.fixture
def data(trained, monkeypatch):
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(trained.data))


def test_it_gives_the_answers_that_the_training_wrote(trained, data):
    for run in (trained.relu, trained.tanh):
        shares = []
        found = validate(run, shares.append)
        written = json.loads((run.path / "mistakes.json").read_text())
        assert found["epoch"] == written["epoch"] == 3 and shares[-1] == 1
        assert found["true"] == written["true"] and len(found["true"]) == 12
        assert found["predicted"] == written["predicted"]
        assert found["confusion"] == written["confusion"]
        wrong = sum(true != taken for true, taken in zip(found["true"], found["predicted"], strict=True))
        assert wrong / 12 == pytest.approx(run.status().summary["val/top1_error"])


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_it_needs_no_precision_of_the_training(trained, data, tmp_path, precision):
    run = Run(shutil.copytree(trained.relu.path, tmp_path / "run"))
    (run.path / "config.json").write_text(run.config.with_settings({"train.precision": precision}).to_json())
    assert validate(Run(run.path))["predicted"] == run.mistakes().predicted


def test_it_can_be_stopped(trained, data):
    assert validate(trained.relu, stopping=lambda: True) is None


def test_without_weights_or_data_it_says_so(trained, data, small, monkeypatch, tmp_path):
    with pytest.raises(RunError, match="no weights so far"):
        validate(create_run(small(), tmp_path))
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match="not on this machine"):
        validate(trained.relu)
