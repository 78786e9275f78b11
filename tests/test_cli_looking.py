"""The commands that look at a network: its table, its predictions, and everything that it makes of a picture."""

import numpy as np
import pytest
from PIL import Image


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
