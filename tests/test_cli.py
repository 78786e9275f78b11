"""The command line as a user and a script meet it: what is printed where, the shapes of the JSON, and every refusal."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer import cli
from alexnet_explorer.inspection.methods import METHODS
from alexnet_explorer.inspection.mosaic import TITLE_PIXELS
from alexnet_explorer.inspection.verdicts import Trust
from alexnet_explorer.launch import local
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.runs import create_run, this_process
from alexnet_explorer.training import group

PROJECT = Path(cli.__file__).resolve().parents[1]

TRAIN = [
    "train", "--data", "colours", "--epochs", "1", "--set", "model.input_size=16", "--set", "model.widths=4,4,4,4,4",
    "--set", "model.fc_widths=8", "--set", "model.bias_one=", "--set", "train.precision=fp32",
    "--set", "train.device=cpu", "--set", "train.threads=1",
]  # fmt: skip


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


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


def test_a_process_of_a_group_that_is_lost_before_the_run_begins_is_told_in_a_line(call, packed, tmp_path, monkeypatch):
    class Lost(group.Group):
        def first(self, make):
            raise group.PeerLost("another process of this training ended")

    monkeypatch.setattr(group, "join", lambda: nullcontext(Lost(1, 2)))
    status, out, err = call(*TRAIN, "--runs", tmp_path / "runs")
    assert (status, out) == (1, "")
    assert err == "another process of this training ended before it began: start it again\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "vgg"], "preset='vgg': allowed are alexnet, "),
        (["--epochs", "0"], "train.epochs=0: .*1 or more"),
        (["--epochs", "many"], "'--epochs': .*integer"),
        (["--seed", "-1"], "train.seed=-1: .*0 or more"),
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
        (["--resume", "x", "--init", "alexnet-32-relu"], "--resume: .*its own settings"),
        (["--init", "nothing"], "there is no model 'nothing'"),
        (["--init", "alexnet-32-relu@0123456789abcdef"], "no longer those of 0123456789abcdef"),
        (["--init", "alexnet-32-relu", "--preset", "alexnet-32"], "--preset: .*leave --preset or --init out"),
        (["--init", "alexnet-32-relu", "--set", "train.epochs=0"], "train.epochs=0"),
        (["--init", "alexnet-32-relu", "--freeze", "conv9"], "train.freeze: there is no 'conv9'"),
        (["--init", "alexnet-32-relu", "--freeze", "fc8"], "train.freeze: fc8 would be drawn anew"),
        (["--freeze", "pool1"], "train.freeze: there is no 'pool1'; allowed are conv1"),
        (["--set", "train.init=x@0123456789abcdef"], "--set train.init=.*: choose it by --init"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_and_nothing_is_written(call, packed, tmp_path, arguments, said):
    start = TRAIN[:1] if "--resume" in arguments else TRAIN[:3]  # a run goes on with its own data
    status, out, err = call(*start, *arguments, "--runs", tmp_path / "runs")
    assert status == 2 and out == ""
    assert len(err.splitlines()) == 1
    assert re.search(said, err), err
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_is_named(call, packed, tmp_path):
    (tmp_path / "file").touch()
    status, out, err = call(*TRAIN, "--runs", tmp_path / "file" / "runs")
    assert (status, out, len(err.splitlines())) == (2, "", 1) and "--runs=" in err


def test_train_goes_on_from_another_networks_weights(call, trained, packed, tmp_path):
    arguments = ["train", "--data", "colours", "--epochs", 1, "--freeze", "conv1,conv2"]
    arguments += ["--set", "train.precision=fp32", "--set", "train.threads=1"]
    root = tmp_path / "runs"
    status, out, err = call(*arguments, "--init", trained.relu.weights_file(), "--runs", root)
    assert status == 0 and "val error" in err
    path = root / out.splitlines()[-1]
    config = json.loads((path / "config.json").read_text())
    name, _, digest = config["train"]["init"].partition("@")
    assert (name, len(digest)) == (trained.relu.weights_file().stem, 16)
    assert config["train"]["freeze"] == ["conv1", "conv2"]
    assert config["model"]["widths"] == list(trained.relu.config.model.widths)
    # What the config states is enough to begin another run from the same weights.
    status, out, _ = call(*arguments, "--init", config["train"]["init"], "--runs", root)
    assert status == 0
    again = root / out.splitlines()[-1]
    last = "checkpoints/epoch-00001.safetensors"
    assert json.loads((again / "config.json").read_text()) == config
    assert (again / last).read_bytes() == (path / last).read_bytes()


def test_train_says_what_may_spoil_it(call, data_root, pack, tmp_path):
    pack("own", count=40, classes=("mine", "yours", "theirs"))
    _, _, err = call(*TRAIN[:1], "--data", "own", *TRAIN[3:], "--runs", tmp_path / "runs")
    assert err.startswith("Fewer than 20 pictures of ")


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


def test_compare_says_how_long_each_run_takes_to_an_error(document, call, trained):
    ids = [trained.relu.id, trained.tanh.id]
    first, second = (run.metrics()[0] for run in (trained.relu, trained.tanh))
    lowest = [min(row["val/loss"] for row in rows if "val/loss" in row) for rows in (first, second)]
    if lowest[0] > lowest[1]:
        ids.reverse()
    options = ("--metric", "val/loss", "--runs", trained.root)
    found = document("compare", *ids, "--to-reach", sum(lowest) / 2, *options)
    assert found.keys() == {"runs", "differences", "metrics", "to_reach"}
    ways = found["to_reach"]
    assert (ways["metric"], ways["level"]) == ("val/loss", sum(lowest) / 2)
    there, never = (ways["runs"][run_id] for run_id in ids)
    assert 0 < there["epoch"] <= 3 and there["seconds"] > 0 and there["ratio"]["epoch"] == {"sign": "=", "value": 1}
    assert there["images"] == pytest.approx(there["epoch"] * 108)
    assert never["epoch"] is None and never["last"]["epoch"] == 3
    assert never["ratio"]["step"]["sign"] == ">" and never["ratio"]["step"]["value"] >= 1
    _, out, _ = call("compare", *ids, "--to-reach", sum(lowest) / 2, *options)
    assert "not within 3 epochs, more than" in out


def test_compare_names_a_metric_that_a_run_does_not_have(call, trained):
    ids = [trained.relu.id, trained.tanh.id]
    status, out, err = call("compare", *ids, "--to-reach", 0.1, "--metric", "val/error", "--runs", trained.root)
    assert status == 2 and out == "" and len(err.splitlines()) == 1
    assert "--metric=val/error" in err and "val/top1_error" in err


@pytest.mark.parametrize(("suffix", "start"), [(".html", b"<!doctype html>"), (".md", b"# small"), (".zip", b"PK")])
def test_a_report_is_written_by_its_ending(call, trained, tmp_path, suffix, start):
    out = tmp_path / f"report{suffix}"
    status, said, _ = call("report", trained.relu.id, trained.tanh.id, "--out", out, "--runs", trained.root)
    assert (status, said) == (0, f"written to {out}\n") and out.read_bytes().startswith(start)


def test_compare_with_a_run_that_has_not_begun(document, trained, small):
    waiting = create_run(small(train__seed=1), trained.root)
    found = document("compare", trained.relu.id, waiting.id, "--runs", trained.root)
    assert set(found["differences"]) == {"data.digest", "train.seed"}
    assert found["metrics"]["val/loss"][waiting.id] is None
    shutil.rmtree(waiting.path)


def test_a_validation_once_more_is_lines_of_progress_and_the_answers(call, trained, monkeypatch):
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(trained.data))
    status, out, _ = call("probe", "validation", trained.relu.id, "--runs", trained.root)
    *progress, last = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and progress[-1] == {"progress": 1}
    assert last["result"]["predicted"] == trained.relu.mistakes().predicted
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(trained.root))
    status, out, err = call("probe", "validation", trained.relu.id, "--runs", trained.root)
    assert status == 2 and out == "" and "not on this machine" in err and len(err.splitlines()) == 1


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
        assert image.format == "PNG" and image.size == (2 * 256 + 8, 256 + TITLE_PIXELS)


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
    for one in found["methods"]:
        if "seconds" in one:
            assert set(Trust({}).to_json()) < set(one)
            assert all(one[key] is None or np.isfinite(one[key]) for key in Trust({}).to_json())
    assert all(("not_applicable" in one) != ("seconds" in one) for one in found["methods"])
    # LRP has no rule for LRN. Of others it depends on the numbers of this little network whether they say something.
    assert not applied["lrp"] and applied["guided-backprop"] == applied["deconvolution"] == (name == "relu")
    assert all(applied[method] for method in METHODS if METHODS[method].group == "coverings")
    assert next(one["layer"] for one in found["methods"] if one["method"] == "score-cam") is not None
    with Image.open(tmp_path / "maps.png") as image:
        columns, tiles = cli.SHEET_COLUMNS, 1 + sum(applied.values())
        rows = -(-tiles // columns)
        assert image.size == (columns * 264 - 8, rows * (256 + TITLE_PIXELS + 8) - 8)


def test_explain_takes_the_settings_of_its_method(document, call, trained, picture, tmp_path):
    where = ["--model", trained.relu.id, "--runs", trained.root, "--no-trust"]
    written = []
    for settings in ([], ["--window", 5, "--stride", 3, "--baseline", "white"]):
        out = tmp_path / f"map{len(settings)}.png"
        found = document("explain", picture, *where, "--method", "occlusion", *settings, "--out", out)
        assert found["methods"][0].keys() == {"method", "layer", "seconds"}
        written.append(out.read_bytes())
    assert written[0] != written[1]


def test_explain_says_in_words_whether_to_believe_the_map(call, trained, picture, tmp_path):
    where = ["--model", trained.relu.id, "--runs", trained.root, "--method", "grad-cam", "--layer", "conv1"]
    status, out, _ = call("explain", picture, *where, "--trust", "--out", tmp_path / "map.png")
    assert status == 0 and "grad-cam" in out and " at conv1" in out
    assert re.search(r"completeness says nothing, .*deletion (holds|doubtful|fails|says nothing)", out)
    _, without, _ = call("explain", picture, *where, "--out", tmp_path / "map.png")
    assert "completeness" not in without


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
        (["predict", "{folder}/*.gif"], r"\*\.gif: there are no pictures"),
        (["predict", "{picture}", "--csv", "--json"], "--csv: leave"),
        (["predict", "{text}"], "notes.jpg"),
        (["predict", "{picture}", "--model", "nothing"], "there is no model 'nothing'; there are: "),
        (["predict", "{picture}", "--model", "{text}"], "notes.jpg"),
        (["predict", "{picture}", "--top", "0"], "--top"),
        (["predict"], "images|IMAGES"),
        (["explain", "{picture}", "--out", "{out}", "--method", "magic"], "--method=magic: allowed are all, saliency"),
        (
            ["explain", "{picture}", "--out", "{out}", "--target", "3"],
            "--target=3: allowed are 0 to 2, or a label: red",
        ),
        (["explain", "{picture}", "--out", "{out}", "--target", "cat"], "--target=cat"),
        (["explain", "{picture}", "--out", "{out}", "--method", "grad-cam", "--layer", "conv9"], "--layer=conv9"),
        (["explain", "{picture}", "--out", "{out}", "--steps", "9"], "--steps=9: saliency has no settings"),
        (
            ["explain", "{picture}", "--out", "{out}", "--method", "grad-cam", "--window", "9"],
            "--window=9: grad-cam only has layer",
        ),
        (
            ["explain", "{picture}", "--out", "{out}", "--method", "occlusion", "--window", "99"],
            "--window=99: allowed are numbers 1 to ",
        ),
        (
            ["explain", "{picture}", "--out", "{out}", "--method", "all", "--noise", "2"],
            "--noise=2.0: allowed are numbers 0 to 1",
        ),
        (
            ["explain", "{picture}", "--out", "{out}", "--method", "all", "--baseline", "green"],
            "--baseline='green': allowed are mean, black, white, blurred",
        ),
        (["explain", "{picture}", "--out", "{folder}/none/x.png"], "--out=.*there is no folder"),
        (["explain", "{picture}", "--out", "{folder}"], "--out="),
        (["explain", "{picture}"], "--out"),
        (["compare", "{run}"], "two different runs"),
        (["compare", "{run}", "{run}"], "two different runs"),
        (["report", "{run}", "{run}", "--out", "report.html"], "two different runs"),
        (["report", "{run}", "alexnet-32-relu", "--out", "report.pdf"], "ends in .html, .md or .zip"),
        (["report", "{run}", "alexnet-32-relu", "--out", "nowhere/report.md"], "cannot be written"),
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


# queue


@pytest.fixture
def queued(tmp_path, small, monkeypatch):
    """A folder with a run at work and two that wait; and how `queue` is called there."""

    def start(run, environment, quick, standby):
        run.write_status(replace(run.status(), state="running", **this_process()))

    monkeypatch.setattr(local, "start", start)
    monkeypatch.setattr(local, "detach", lambda command, log: os.getpid())
    runs = [create_run(small(), tmp_path) for _ in range(3)]
    for run in runs:
        Queue(tmp_path).add(run)
    return tmp_path, runs


def test_the_queue_is_listed_and_changed(document, call, queued):
    root, (working, second, third) = queued
    assert document("queue", "list", "--runs", root) == {
        "at_once": 1,
        "runs": [
            {"id": run.id, "place": place, "status": state, "epoch": 0.0, "epochs": 3, "job": "", "message": ""}
            for run, place, state in ((working, 0, "running"), (second, 1, "queued"), (third, 2, "queued"))
        ],
    }
    changes = [
        (["move", third.id, 1], f"{third.id}: queued, number 1 in the queue"),
        (["pause", working.id, second.id], f"{second.id}: paused, number 2 in the queue"),
        (["resume", second.id], f"{second.id}: queued, number 2 in the queue"),
        (["at-once", 2], ""),
        (["stop", third.id], f"{third.id}: running, at work"),
        (["cancel", second.id], f"{second.id}: stopped"),
        (["add", second.id], f"{second.id}: queued, number 1 in the queue"),
        (["cancel", second.id, "--delete"], f"{second.id}: stopped"),
        (["at-once", "auto"], ""),
    ]
    for arguments, said in changes:
        status, out, err = call("queue", *arguments, "--runs", root)
        assert (status, out.splitlines()[-1:], err) == (0, [said] if said else [], ""), arguments
    assert third.stop_requested() == "stopped" and working.stop_requested() == "paused"
    assert [row["id"] for row in document("queue", "list", "--runs", root)["runs"]] == [working.id, third.id]
    assert not second.exists()
    assert "2 in the queue, 1 at once" in call("queue", "list", "--runs", root)[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "nothing"], "there is no run 'nothing'"),
        (["add", "{0}"], "is at work: it cannot be added"),
        (["add", "{1}"], "waits in the queue already: it cannot be added"),
        (["cancel", "{0}"], "is at work: it cannot be cancelled"),
        (["resume", "{1}", "nothing"], "there is no run 'nothing'"),
        (["pause", "alexnet-32-relu"], "ships with the project"),
        (["move", "{0}", "1"], "is at work: it cannot be moved"),
        (["move", "{1}", "0"], "'place'"),
        (["at-once", "0"], "0 runs at once: allowed are 1 to 64"),
        (["at-once", "many"], "at-once many: write a number, or auto"),
    ],
)
def test_what_the_queue_cannot_do_is_refused_in_one_line(call, queued, arguments, said):
    root, runs = queued
    before = Queue(root).entries()
    words = [argument.format(*(run.id for run in runs)) for argument in arguments]
    status, out, err = call("queue", *words, "--runs", root)
    assert (status, out, len(err.splitlines())) == (2, "", 1) and said in err
    assert Queue(root).entries() == before


def test_looking_at_a_queue_that_is_not_there_writes_nothing(call, tmp_path):
    assert call("queue", "list", "--runs", tmp_path / "runs")[0] == 0
    assert call("queue", "at-once", "0", "--runs", tmp_path / "runs")[0] == 2
    assert not (tmp_path / "runs").exists()


# data


def test_data_list_says_what_is_there_and_where(document, call, data_root, packed):
    (found,) = document("data", "list")
    assert (found["name"], found["digest"], found["train"], found["test"]) == ("colours", packed.digest, 120, 45)
    assert Path(found["folder"]) == packed.folder
    assert "colours" in call("data", "list")[1]


def test_data_prepare_lists_what_it_could_not_read(call, data_root, tmp_path):
    for number in range(30):
        path = tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    for number in range(12):
        (tmp_path / "pets" / "dog" / f"letter {number:02}.jpg").write_text("Dear diary")
    status, out, err = call("data", "prepare", tmp_path / "pets")
    lines = err.splitlines()
    assert status == 0 and "30 training" in out
    assert len(lines) == 11 and lines[0].endswith("dog/letter 00.jpg")
    count, _, where = lines[-1].partition(", listed under 'skipped' in ")
    assert count == "left out, as unreadable or not used: 12"
    assert len(json.loads(Path(where).read_text())["skipped"]) == 12
    # Who trains on them at once is told the same.
    small = ("--set", "model.widths=4,4,4,4,4", "--set", "model.fc_widths=8,8", "--epochs", "1")
    status, out, err = call("train", "--data", tmp_path / "pets", *small, "--runs", tmp_path / "runs")
    assert status == 0 and err.splitlines()[:11] == lines


def test_a_fault_of_the_program_keeps_its_traceback(call, monkeypatch):
    def broken(root):
        raise ValueError("a fault of ours")

    monkeypatch.setattr(cli, "Listing", broken)
    monkeypatch.setattr(sys, "argv", ["alexnet_explorer", "runs"])
    with pytest.raises(ValueError, match="a fault of ours"):
        cli.main()


def test_it_runs_as_a_module(trained):
    command = [sys.executable, "-m", "alexnet_explorer", "runs", "--json", "--runs", trained.root]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert trained.relu.id in [run["id"] for run in json.loads(done.stdout)] and done.stderr == ""


# evaluate


@pytest.fixture
def held_out(tmp_path):
    """Two readable pictures of class red, one of green, one of a class that is not known, one that cannot be read."""
    for number, place in enumerate(("red/a.png", "red/b.png", "green/c.png", "mauve/d.png")):
        path = tmp_path / "held out" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "held out"


def test_evaluate_counts_the_errors_of_what_predict_says(document, call, trained, held_out):
    (held_out / "mauve/d.png").unlink()
    (held_out / "mauve").rmdir()
    pictures = sorted(held_out.glob("*/*.png"))
    network = ("--model", trained.relu.id, "--runs", trained.root)
    said = document("predict", *pictures, *network)["images"]
    wrong = sum(Path(one["path"]).parent.name != one["predictions"][0]["label"] for one in said)
    found = document("evaluate", held_out, *network)
    assert found == {"n": 3, "top1_error": wrong / 3, "top5_error": 0.0, "views": 1}
    assert document("evaluate", held_out, "--ten-crop", *network)["views"] == 10
    status, out, err = call("evaluate", held_out, *network)
    assert (status, err) == (0, "") and "pictures 3, classes 2, views of each 1" in out
    assert f"top-1 error {wrong / 3:6.1%}" in out


def test_evaluate_says_what_it_leaves_out(call, trained, held_out):
    (held_out / "red/letter.jpg").write_text("Dear diary")
    status, out, err = call("evaluate", held_out, "--model", trained.relu.id, "--runs", trained.root, "--json")
    assert (status, json.loads(out)["n"]) == (0, 3)
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0] == "pictures left out, as the network does not know their classes (mauve): 1"
    assert "letter.jpg" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}/none"], "there is no such folder"),
        (["{folder}/held out/mauve"], "knows none of the classes"),
        (["{folder}/held out", "--classes", "{folder}/none.tsv"], "'none.tsv' cannot be read"),
        (["{folder}/held out", "--model", "nothing"], "there is no model 'nothing'"),
        ([], "'folder'"),
    ],
)
def test_evaluate_refuses_in_one_line(call, trained, held_out, tmp_path, arguments, said):
    model = [] if "--model" in arguments else ["--model", trained.relu.id]
    shown = [argument.format(folder=tmp_path) for argument in arguments]
    status, out, err = call("evaluate", *shown, *model, "--runs", trained.root)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1 and said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export", "alexnet-32-relu", "run.txt"), "run.txt: the name of the file ends in .zip"),
        (("explain", "{picture}", "--out", "map.jpg"), "--out=map.jpg: the name of the file ends in .png"),
        (("explain", "{picture}", "--out", "{picture}"), "that is the picture itself"),
        (("compare", "alexnet-32-relu", "alexnet-32-tanh", "--to-reach", "nan"), "--to-reach=nan: write a number"),
        (("train", "--resume", "x", "--data", "digits"), "--resume: a run goes on with its own settings"),
        (("train", "--resume", "x", "--preset", "alexnet-32"), "--resume: a run goes on with its own settings"),
        (("study", "run", "lrn", "--dry-run", "--json"), "--dry-run: it is told in words"),
    ],
)
def test_what_would_be_ignored_or_lost_is_refused(call, tmp_path, arguments, said):
    picture = tmp_path / "cat.png"
    Image.new("RGB", (8, 8)).save(picture)
    before = picture.read_bytes()
    status, out, err = call(*(str(picture) if word == "{picture}" else word for word in arguments))
    assert status == 2 and out == "" and said in err and err.count("\n") == 1
    assert picture.read_bytes() == before and not Path("run.txt").exists() and not Path("map.jpg").exists()


def test_the_runs_folder_is_the_one_that_the_app_takes(call, tmp_path, monkeypatch, small):
    run = create_run(small(), tmp_path / "own")
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(tmp_path / "own"))
    assert run.id in call("runs")[1]
    status, out, err = call("runs", "--runs", tmp_path / "nope")
    assert status == 0 and "alexnet-32-relu" in out and "there is no such folder" in err


def test_studies_are_listed_as_json(document, tmp_path):
    listed = document("study", "list", "--runs", tmp_path)
    assert {"id": "relu-speed", "title": "ReLU against tanh", "runs": 88} in listed
