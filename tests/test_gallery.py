"""What ships: whole, labelled, small, and what it is said to be."""

import json

import pytest

from alexnet_explorer.catalogue import DEFAULT_MODEL, TWINS, find_model, list_models
from alexnet_explorer.config import preset_config
from alexnet_explorer.data.samples import load_sample
from alexnet_explorer.inspection.predict import predict
from alexnet_explorer.runs import GALLERY, Run, differences
from alexnet_explorer.weights import load_weights

RUNS = [Run(path.parent) for path in sorted(GALLERY.glob("*/config.json"))]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_a_run_of_the_gallery_is_whole(run: Run) -> None:
    status = run.status()
    rows, _ = run.metrics()
    assert status.state == "done" and status.epoch == run.config.train.epochs
    assert status.summary["test/top1_error"] == rows[-1]["test/top1_error"]
    small = run.config.model.preset == "alexnet-32"
    assert run.weights_file().stat().st_size <= (1.5 if small else 12) * 2**20
    assert run.config.data.name == ("CIFAR-10 (JPEG copy)" if small else "Tiny ImageNet")
    assert not list(run.path.glob("checkpoints/state*"))
    kept = json.loads((run.path / "env.json").read_text())
    assert kept["precision"] == run.config.train.precision  # which says how it can be repeated


def test_the_twins_differ_in_their_activation_alone() -> None:
    twins = {run.id: run.config for run in RUNS if run.id.startswith("alexnet-32-")}
    assert list(differences(twins)) == ["model.activation"]


def test_the_card_states_the_errors_that_were_measured() -> None:
    run = Run(GALLERY / "alexnet-64")
    measured = run.status().summary
    card = run.card()
    assert f"{100 * measured['test/top1_error']:.1f} % | {100 * measured['test/top5_error']:.1f} %" in card
    assert card.count("\n| ") >= 200 + 10  # every class has its row
    loaded = load_weights(run.weights_file())
    assert len(loaded.classes) == 200 and list(loaded.folders) == sorted(loaded.folders)


def test_the_twins_reach_the_error_that_they_were_trained_for() -> None:
    assert all(Run(GALLERY / name).status().summary["test/top1_error"] <= 0.20 for name in TWINS)


def test_the_twins_answers_are_those_of_the_error_they_were_validated_with() -> None:
    first, second = (Run(GALLERY / name) for name in TWINS)
    assert first.mistakes().true == second.mistakes().true
    for run in (first, second):
        found = run.mistakes()
        wrong = sum(true != taken for true, taken in zip(found.true, found.predicted, strict=True))
        assert found.epoch == run.config.train.epochs
        assert wrong / len(found.true) == pytest.approx(run.status().summary["val/top1_error"])


def test_the_first_twin_is_the_preset_as_it_is_now() -> None:
    changed = differences(
        {"shipped": Run(GALLERY / TWINS[0]).config, "preset": preset_config("alexnet-32", "CIFAR-10 (JPEG copy)")}
    )
    assert set(changed) == {"data.digest", "data.val_fraction", "train.precision", "train.threads"}


@pytest.mark.parametrize(("name", "sample", "said"), [(DEFAULT_MODEL, "coffee", "espresso"), (TWINS[0], "cat", "cat")])
def test_it_names_the_sample_offline(tmp_path, name, sample, said) -> None:
    assert list_models(tmp_path)[0].name == DEFAULT_MODEL
    loaded = load_weights(find_model(name, tmp_path).path)
    best = predict(loaded, load_sample(sample), len(loaded.classes))
    assert said in [one.label for one in best[:5]], best[:5]
    assert abs(sum(one.probability for one in best) - 1) < 1e-5
