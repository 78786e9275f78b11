"""The commands that look at a network: its table, its predictions, and everything that it makes of a picture."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.inspection.evaluate import ten_crops
from alexnet_explorer.weights import load_weights


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (["--preset", "alexnet"], 60_965_224),
        (["--preset", "alexnet-torchvision"], 61_100_840),
        (["--preset", "alexnet", "--set", "model.towers=1"], 62_378_344),
        (["--model", "alexnet-32-relu"], 578_250),
        (["--preset", "alexnet-64"], 7_905_800),
        ([], 4_873_128),  # the one that ships, which sees 56×56 pixels
    ],
)
def test_summary_counts_the_parameters(document, arguments, parameters):
    found = document("summary", *arguments)
    assert found["parameters"] == parameters == sum(layer["parameters"] for layer in found["layers"])
    assert found["multiply_adds"] == sum(layer["multiply_adds"] for layer in found["layers"])


def test_summary_reads_a_run_and_a_file(document, trained):
    by_id = document("summary", "--model", trained.tanh.id, "--runs", trained.root)
    by_file = document("summary", "--model", trained.tanh.weights_file())
    assert by_id["layers"] == by_file["layers"]
    assert [layer["name"] for layer in by_id["layers"][:3]] == ["conv1", "tanh1", "lrn1"]


def test_summary_as_text_has_a_line_for_each_layer(call):
    status, out, err = call("summary", "--preset", "alexnet")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "alexnet" and len(lines) == 25
    (conv2,) = (line for line in lines if line.startswith("conv2"))
    assert " ".join(conv2.split()) == "conv2 5×5, stride 1, pad 2, 2 groups 51×51 256×27×27 307,456 223,948,800"
    (fc7,) = (line for line in lines if line.startswith("fc7"))
    assert fc7.split()[:3] == ["fc7", "all", "4096"]
    assert lines[-1].split() == ["total", "60,965,224", "724,406,816"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "vgg"], "preset='vgg': allowed are alexnet, "),
        (["--preset", "alexnet", "--model", "alexnet-64"], "--model: .*leave --preset or --model out"),
        (["--set", "model.towers=1"], "--set: .*by --preset"),
        (["--preset", "alexnet", "--set", "model.towers=5"], "towers=5 does not divide"),
        (["--model", "nothing"], "there is no model 'nothing'"),
    ],
)
def test_summary_refuses_in_one_line(refused, arguments, said):
    refused(said, "summary", *arguments)


# predict


@pytest.fixture
def album(tmp_path):
    """A folder with three pictures, one of them in a folder of its own, a text, and one that cannot be read."""
    for number, place in enumerate(("a.png", "b.png", "more/c.jpg")):
        path = tmp_path / "album" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    (tmp_path / "album/notes.txt").write_text("Dear diary")
    (tmp_path / "album/torn.jpg").write_text("not a picture")
    return tmp_path / "album"


def test_predict_takes_a_folder_and_leaves_out_what_it_cannot_read(call, document, trained, album):
    network = ("--model", trained.relu.id, "--runs", trained.root)
    status, out, err = call("predict", album, "--json", *network)
    assert status == 0 and err.startswith("left out: torn.jpg") and len(err.splitlines()) == 1
    paths = [album / name for name in ("a.png", "b.png", "more/c.jpg")]
    assert json.loads(out) == document("predict", *paths, *network)


def test_predict_takes_a_pattern(document, trained, album):
    network = ("--model", trained.relu.id, "--runs", trained.root)
    found = document("predict", album / "*.png", *network)
    assert [one["path"] for one in found["images"]] == [str(album / "a.png"), str(album / "b.png")]
    found = document("predict", album / "**" / "[a-c].*", *network)
    assert [one["path"] for one in found["images"]] == [str(album / n) for n in ("a.png", "b.png", "more/c.jpg")]


def test_predict_as_a_table(call, document, trained, album):
    network = ("--model", trained.relu.id, "--runs", trained.root)
    status, out, err = call("predict", album / "*.png", "--top", 2, "--csv", *network)
    assert (status, err) == (0, "")
    expected = document("predict", album / "*.png", "--top", 2, *network)["images"]
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["path"], row["rank"]) for row in rows] == [(one["path"], r) for one in expected for r in "12"]
    for row, said in zip(rows, (p for one in expected for p in one["predictions"]), strict=True):
        assert (row["label"], int(row["index"])) == (said["label"], said["index"])
        assert float(row["probability"]) == said["probability"]


def test_predict_by_ten_crops_is_the_mean_over_their_softmax(document, trained, album):
    network = ("--model", trained.relu.id, "--runs", trained.root)
    (found,) = document("predict", album / "a.png", "--ten-crop", *network)["images"]
    loaded = load_weights(trained.relu.weights_file())
    views = ten_crops(loaded.preprocessing, Image.open(album / "a.png"))
    shares = loaded.model(loaded.preprocessing.normalise(views)).softmax(1).mean(0)
    for p in found["predictions"]:
        assert p["probability"] == pytest.approx(float(shares[p["index"]]), abs=1e-6)
    one = document("predict", album / "a.png", *network)["images"][0]
    assert [p["probability"] for p in one["predictions"]] != [p["probability"] for p in found["predictions"]]


def test_a_picture_that_was_named_and_cannot_be_read_ends_it_before_anything_is_printed(refused, trained, album):
    refused("torn.jpg", "predict", album / "a.png", album / "torn.jpg", "--model", trained.relu.weights_file())
    with (album / "a.png").open("r+b") as file:
        file.truncate(200)  # the header is whole
    refused("a.png", "predict", album / "b.png", album / "a.png", "--model", trained.relu.weights_file())


def test_a_folder_of_which_nothing_can_be_read(call, trained, album, tmp_path):
    (tmp_path / "torn").mkdir()
    (album / "torn.jpg").replace(tmp_path / "torn/torn.jpg")
    status, out, err = call("predict", tmp_path / "torn", "--model", trained.relu.weights_file())
    assert (status, out) == (2, "") and err.splitlines()[-1].startswith("none of these pictures")


# inspect


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_inspect_writes_what_it_says(document, trained, picture, tmp_path):
    out = tmp_path / "looked"
    network = ("--model", trained.relu.id, "--runs", trained.root)
    found = document("inspect", picture, "--out", out, *network)
    assert sorted(found["files"]) == sorted(path.name for path in out.iterdir())
    assert (found["out"], found["image"], found["model"]) == (str(out), str(picture), trained.relu.id)
    layers = document("summary", *network)["layers"]
    assert [row["layer"] for row in found["layers"]] == [row["name"] for row in layers if row["kind"] != "dropout"]
    (said,) = document("predict", picture, *network)["images"]
    assert found["predictions"] == said["predictions"]
    assert set(np.load(out / "maps.npz")) == {row["layer"] for row in found["layers"]}


def test_inspect_takes_layers_by_any_networks_name_and_a_unit_of_them(document, call, trained, picture, tmp_path):
    out = tmp_path / "looked"
    arguments = ("inspect", picture, "--model", trained.tanh.weights_file(), "--out", out)
    found = document(*arguments, "--layer", "relu2", "--layer", "conv1", "--unit", 3)
    assert [row["layer"] for row in found["layers"]] == ["conv1", "tanh2"]
    assert (out / "tanh2-unit-3.png").is_file()
    status, printed, err = call(*arguments, "--layer", "fc4")
    assert (status, err) == (0, "") and printed == f"6 files of 1 layers written to {out}\n"
    assert {path.name for path in out.iterdir()} == {
        "fc4.png", "input.png", "maps.npz", "predictions.csv", "statistics.csv", "inspect.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{text}", "--out", "{folder}/out"], "notes.jpg"),
        (["{folder}/none.png", "--out", "{folder}/out"], "none.png: No such file"),
        (["{picture}", "--out", "{folder}"], r"--out=.*no `inspect` has written \(notes\.jpg, picture\.png\)"),
        (["{picture}", "--out", "{picture}"], "--out=.*it is a file"),
        (["{picture}", "--out", "{folder}/none/out"], "--out=.*there is no folder"),
        (["{picture}", "--out", "{folder}/out", "--layer", "conv9"], "--layer=conv9: .*it has conv1"),
        (["{picture}", "--out", "{folder}/out", "--layer", "conv1", "--unit", "6"], "--unit=6: conv1 has .* 0 to 5"),
        (["{picture}", "--out", "{folder}/out", "--unit", "6"], "--unit=6: .*by --layer"),
        (["{picture}", "--out", "{folder}/out", "--model", "nothing"], "there is no model 'nothing'"),
        (["{picture}"], "--out"),
    ],
)
def test_inspect_refuses_in_one_line_and_writes_nothing(refused, trained, picture, tmp_path, arguments, said):
    (tmp_path / "notes.jpg").write_text("not a picture")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    places = {"picture": picture, "text": tmp_path / "notes.jpg", "folder": tmp_path}
    model = [] if "--model" in arguments else ["--model", trained.relu.id]
    refused(said, "inspect", *(word.format(**places) for word in arguments), *model, "--runs", trained.root)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
