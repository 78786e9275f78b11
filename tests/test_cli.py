"""The command line as a user and a script meet it: what is printed where, the shapes of the JSON, and every refusal."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer import cli
from alexnet_explorer.inspection.attribution import METHODS
from alexnet_explorer.runs import create_run

PROJECT = Path(cli.__file__).resolve().parents[1]

TRAIN = [
    "train", "--data", "colours", "--epochs", "1", "--set", "model.input_size=16", "--set", "model.widths=4,4,4,4,4",
    "--set", "model.fc_widths=8", "--set", "model.bias_one=", "--set", "train.precision=fp32",
    "--set", "train.device=cpu", "--set", "train.threads=1",
]  # fmt: skip


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs `python -m alexnet_explorer` with these arguments in this process: exit status, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["alexnet_explorer", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def document(call):
    """The one JSON document that a command prints, and nothing else."""

    def read(*arguments):
        status, out, err = call(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    return read


# train


def test_train_ends_with_the_runs_id(call, packed, tmp_path):
    root = tmp_path / "new" / "runs"
    status, out, err = call(*TRAIN, "--seed", 3, "--set", "data.augmentation=flip,crop", "--runs", root)
    assert status == 0
    (path,) = root.iterdir()
    assert out.splitlines()[-1] == path.name
    config = json.loads((path / "config.json").read_text())
    assert (config["train"]["seed"], config["data"]["augmentation"]) == (3, ["flip", "crop"])
    assert (config["data"]["name"], config["model"]["num_classes"]) == ("colours", 3)
    assert "epoch 1/1" in err and err.splitlines()[-1].startswith("done: ")

    status, out, _ = call("train", "--resume", path.name, "--runs", root)
    assert (status, out.splitlines()) == (0, [path.name])


def test_a_training_that_fails_says_why_and_which_run_it_was(call, packed, tmp_path):
    arguments = ["--set", "train.learning_rate=100", "--set", "model.lrn=off", "--set", "train.schedule=constant"]
    status, out, err = call(*TRAIN, *arguments, "--epochs", 50, "--runs", tmp_path / "runs")
    assert status == 1
    assert (tmp_path / "runs" / out.splitlines()[-1] / "status.json").exists()
    assert "lower train.learning_rate" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "vgg"], "preset='vgg': allowed are alexnet, "),
        (["--epochs", "0"], "train.epochs=0: .*greater than or equal to 1"),
        (["--epochs", "many"], "'--epochs': .*integer"),
        (["--seed", "-1"], "train.seed=-1: .*greater than or equal to 0"),
        (["--set", "model.activation=gelu"], "model.activation='gelu': .*'relu', 'tanh' or 'sigmoid'"),
        (["--set", "model.towers=3"], "towers=3 does not divide the channels of conv1"),
        (["--set", "model.input_size=8", "--set", "model.kernels=5,5,9,3,3"], "conv3: nothing is left"),
        (["--set", "train.speed=1"], "train.speed: there is no such field"),
        (["--set", "train.epochs"], "--set train.epochs: write FIELD=VALUE"),
        (["--set", "data.augmentation=spin"], "data.augmentation.*'flip', 'crop'"),
        (["--data", "nowhere"], "no data set, folder or zip file 'nowhere': use digits"),
        (["--data", "x" * 300], "no data set, folder or zip file"),
        (["--fast"], "No such option: --fast"),
        (["--resume", "nothing"], "there is no run 'nothing'"),
        (["--resume", "../runs"], "there is no run"),
        (["--resume", "x", "--epochs", "9"], "--resume: .*its own settings"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_and_nothing_is_written(call, packed, tmp_path, arguments, said):
    status, out, err = call(*TRAIN[:3], *arguments, "--runs", tmp_path / "runs")
    assert status == 2 and out == ""
    assert len(err.splitlines()) == 1
    assert re.search(said, err), err
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_is_named(call, packed, tmp_path):
    (tmp_path / "file").touch()
    status, out, err = call(*TRAIN, "--runs", tmp_path / "file" / "runs")
    assert (status, out, len(err.splitlines())) == (2, "", 1) and "--runs=" in err


# runs and compare


def test_runs_lists_each_with_status_config_and_summary(document, trained):
    listed = {run["id"]: run for run in document("runs", "--runs", trained.root)}
    assert {trained.relu.id, trained.tanh.id} <= listed.keys()
    run = listed[trained.tanh.id]
    assert run.keys() == {"id", "status", "config", "summary"}
    assert run["status"] == "done"
    assert run["config"]["model"]["activation"] == "tanh"
    assert run["summary"]["test/top1_error"] == trained.tanh.status().summary["test/top1_error"]


def test_damaged_runs_do_not_hide_the_others(call, trained, tmp_path):
    root = tmp_path / "runs"
    texts = {
        "garbage-config": ("{", "{}"),
        "garbage-status": (trained.relu.config.to_json(), "[1]"),
        "both": ("\0", ""),
    }
    for name, (config, status) in texts.items():
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text(config)
        (root / name / "status.json").write_text(status)
    status, out, err = call("runs", "--json", "--runs", root)
    states = {run["id"]: run["status"] for run in json.loads(out)}
    assert status == 0 and states["garbage-status"] == "failed"
    assert "garbage-config" not in states and "both" not in states
    assert len(err.splitlines()) == 2 and "garbage-config" in err and "both" in err
    status, out, _ = call("runs", "--runs", root)
    assert status == 0 and "status.json is damaged" in out


def test_runs_as_text_is_a_line_for_each(call, trained):
    _, out, err = call("runs", "--runs", trained.root)
    lines = [line for line in out.splitlines() if line.startswith((trained.relu.id, trained.tanh.id))]
    assert len(lines) == 2 and err == ""
    assert "done" in lines[0] and "test error" in lines[0]


def test_compare_gives_differences_and_metrics(document, call, trained):
    ids = [trained.relu.id, trained.tanh.id]
    found = document("compare", *ids, "--runs", trained.root)
    assert found.keys() == {"runs", "differences", "metrics"}
    assert found["runs"] == ids
    assert found["differences"] == {"model.activation": {ids[0]: "relu", ids[1]: "tanh"}}
    summaries = {run.id: run.status().summary for run in (trained.relu, trained.tanh)}
    assert found["metrics"]["val/loss"] == {run_id: summaries[run_id]["val/loss"] for run_id in ids}
    status, out, _ = call("compare", *ids, "--runs", trained.root)
    assert status == 0 and "model.activation" in out and '"tanh"' in out


def test_compare_with_a_run_that_has_not_begun(document, trained, small):
    waiting = create_run(small(train__seed=1), trained.root)
    found = document("compare", trained.relu.id, waiting.id, "--runs", trained.root)
    assert set(found["differences"]) == {"data.digest", "train.seed"}
    assert found["metrics"]["val/loss"][waiting.id] is None
    shutil.rmtree(waiting.path)


# predict and explain


def test_predict_names_the_best_classes_of_each_picture(document, call, trained, picture):
    found = document("predict", picture, picture, "--model", trained.relu.id, "--runs", trained.root)
    assert found.keys() == {"model", "images"} and found["model"] == trained.relu.id
    assert [image["path"] for image in found["images"]] == [str(picture)] * 2
    predictions = found["images"][0]["predictions"]
    assert [one.keys() for one in predictions] == [{"label", "index", "probability"}] * 3
    assert {one["label"] for one in predictions} == {"red", "green", "blue"}
    probabilities = [one["probability"] for one in predictions]
    assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) == pytest.approx(1)
    _, out, _ = call("predict", picture, "--model", trained.relu.id, "--top", 1, "--runs", trained.root)
    assert predictions[0]["label"] in out and len(out.splitlines()) == 2


def test_predict_takes_a_weights_file(document, trained, picture):
    by_id = document("predict", picture, "--model", trained.relu.id, "--runs", trained.root)
    by_file = document("predict", picture, "--model", trained.relu.weights_file())
    assert by_file["images"] == by_id["images"]


def test_explain_writes_a_picture_of_the_map(document, trained, picture, tmp_path):
    out = tmp_path / "map.png"
    found = document("explain", picture, "--model", trained.relu.id, "--out", out, "--runs", trained.root)
    assert {"target", "methods"} <= found.keys()
    (method,) = found["methods"]
    assert method["method"] == "saliency" and method["layer"] is None and method["seconds"] >= 0
    best = document("predict", picture, "--model", trained.relu.id, "--runs", trained.root)["images"][0]["predictions"][
        0
    ]
    assert found["target"] == best["index"]
    with Image.open(out) as image:
        assert image.format == "PNG" and image.size == (512, 256)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_explain_with_every_method_says_which_does_not_apply(document, trained, picture, tmp_path, name):
    run = getattr(trained, name)
    found = document(
        "explain", picture, "--model", run.id, "--method", "all", "--target", "blue", "--out", tmp_path / "maps.png",
        "--runs", trained.root,
    )  # fmt: skip
    assert found["target"] == 2
    assert [one["method"] for one in found["methods"]] == list(METHODS)
    applied = {one["method"]: "seconds" in one for one in found["methods"]}
    assert all(("not_applicable" in one) != ("seconds" in one) for one in found["methods"])
    assert applied == {method: name == "relu" or method != "guided-backprop" for method in METHODS}
    assert next(one["layer"] for one in found["methods"] if one["method"] == "grad-cam") is not None
    with Image.open(tmp_path / "maps.png") as image:
        assert image.size == (256 * (1 + sum(applied.values())), 256)


def test_one_method_that_does_not_apply_is_the_same_document(document, trained, picture, tmp_path):
    out = tmp_path / "map.png"
    found = document(
        "explain", picture, "--model", trained.tanh.id, "--method", "guided-backprop", "--target", "1", "--out", out,
        "--runs", trained.root,
    )  # fmt: skip
    assert found["target"] == 1 and "not_applicable" in found["methods"][0]
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "missing.png"], "missing.png: No such file"),
        (["predict", "."], "Is a directory"),
        (["predict", "{text}"], "notes.jpg"),
        (["predict", "{picture}", "--model", "nothing"], "there is no model 'nothing'; there are: "),
        (["predict", "{picture}", "--model", "{text}"], "notes.jpg"),
        (["predict", "{picture}", "--top", "0"], "--top"),
        (["predict"], "images|IMAGES"),
        (["explain", "{picture}", "--out", "{out}", "--method", "lrp"], "--method=lrp: allowed are all, saliency"),
        (
            ["explain", "{picture}", "--out", "{out}", "--target", "3"],
            "--target=3: allowed are 0 to 2, or a label: red",
        ),
        (["explain", "{picture}", "--out", "{out}", "--target", "cat"], "--target=cat"),
        (["explain", "{picture}", "--out", "{out}", "--method", "grad-cam", "--layer", "conv9"], "--layer=conv9"),
        (["explain", "{picture}", "--out", "{folder}/none/x.png"], "--out=.*there is no folder"),
        (["explain", "{picture}", "--out", "{folder}"], "--out="),
        (["explain", "{picture}"], "--out"),
        (["compare", "{run}"], "two different runs"),
        (["compare", "{run}", "{run}"], "two different runs"),
        (["compare", "{run}", "other"], "there is no run 'other'"),
        (["fly"], "fly"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(call, trained, picture, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.jpg").write_text("not a picture")
    places = {"picture": picture, "text": tmp_path / "notes.jpg", "out": tmp_path / "x.png", "folder": tmp_path,
              "run": trained.relu.id}  # fmt: skip
    before = set(tmp_path.iterdir())
    more = ["--model", trained.relu.id] if arguments[0] == "explain" else []
    more += ["--runs", trained.root] if arguments[0] != "fly" else []
    status, out, err = call(*(argument.format(**places) for argument in arguments), *more)
    assert status == 2 and out == ""
    assert len(err.splitlines()) == 1 and re.search(said, err), err
    assert set(tmp_path.iterdir()) == before


# data


def test_data_list_says_what_is_there_and_where(document, call, data_root, packed):
    (found,) = document("data", "list")
    assert (found["name"], found["digest"], found["train"], found["test"]) == ("colours", packed.digest, 120, 45)
    assert Path(found["folder"]) == packed.folder
    assert "colours" in call("data", "list")[1]


def test_a_fault_of_the_program_keeps_its_traceback(call, monkeypatch):
    def broken(root):
        raise ValueError("a fault of ours")

    monkeypatch.setattr(cli, "list_runs", broken)
    monkeypatch.setattr(sys, "argv", ["alexnet_explorer", "runs"])
    with pytest.raises(ValueError, match="a fault of ours"):
        cli.main()


def test_it_runs_as_a_module(trained):
    command = [sys.executable, "-m", "alexnet_explorer", "runs", "--json", "--runs", trained.root]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert trained.relu.id in [run["id"] for run in json.loads(done.stdout)] and done.stderr == ""
