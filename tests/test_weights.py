"""Our weights files: what is written comes back, and what does not fit is refused in words."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open

from alexnet_explorer.config import MODEL_PRESETS, DataConfig, RunConfig
from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.model import AlexNet
from alexnet_explorer.weights import differences, load_weights, parameter_shapes, save_weights
from alexnet_explorer.weights_file import WeightsError, read_layer, read_metadata, write_tensors

CONFIG = RunConfig(data=DataConfig(name="CIFAR-10 (JPEG copy)", scaling="2012"))
CLASSES = ("Flugzeug", "automobile", "oiseau", "貓", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def model():
    return AlexNet(CONFIG.model)


@pytest.fixture
def preprocessing():
    generator = torch.Generator().manual_seed(1)
    mean_image = torch.rand(3, 32, 32, generator=generator) * 255
    return Preprocessing(36, 32, mean_image, torch.full((3, 1, 1), 1 / 3))


@pytest.fixture
def saved(tmp_path, model, preprocessing):
    path = tmp_path / "relu.safetensors"
    save_weights(path, model, preprocessing, CLASSES, CONFIG, extra={"title": "ReLU", "epoch": "20"})
    return path


def rewrite(path, change):
    """The file again, after `change(tensors, metadata)`."""
    with safe_open(path, framework="numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    write_tensors(path, tensors, metadata)


def test_a_file_alone_predicts_as_the_model_did(tmp_path, model, preprocessing):
    path = tmp_path / "exact.safetensors"
    save_weights(path, model, preprocessing, CLASSES, CONFIG, half=False)
    loaded = load_weights(path, "mine")
    pixels = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = model.eval()(preprocessing.normalise(pixels))
        assert torch.equal(loaded.model(loaded.preprocessing.normalise(pixels)), expected)
    assert (loaded.name, loaded.title, loaded.trained_on) == ("mine", "mine", "CIFAR-10 (JPEG copy)")
    assert (loaded.classes, loaded.config, loaded.preprocessing.canvas) == (CLASSES, CONFIG, 36)
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())


def test_half_precision_halves_the_file_but_not_the_mean(saved, model, preprocessing):
    assert saved.stat().st_size == pytest.approx(2 * CONFIG.model.parameters() + 4 * 3 * 32 * 32, rel=0.01)
    loaded = load_weights(saved)
    assert torch.equal(loaded.preprocessing.mean, preprocessing.mean)
    for name, tensor in loaded.model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, model.state_dict()[name].half().float())
    assert (loaded.name, loaded.title) == ("relu", "ReLU")


def test_the_library_reads_our_files(saved, model):
    with safe_open(saved, framework="pt") as file:
        assert set(file.keys()) == {*model.state_dict(), "input.mean", "input.std"}
        assert json.loads(file.metadata()["classes"]) == list(CLASSES)
        assert file.metadata() == read_metadata(saved)
        assert torch.equal(file.get_tensor("fc8.bias"), model.state_dict()["fc8.bias"].half())


def test_equal_weights_are_equal_files(saved, tmp_path, model, preprocessing):
    again = tmp_path / "again.safetensors"
    save_weights(again, model, preprocessing, CLASSES, CONFIG, extra={"epoch": "20", "title": "ReLU"})
    assert again.read_bytes() == saved.read_bytes()
    first = load_weights(saved).digest
    assert len(first) == 16 and load_weights(again).digest == first
    with torch.no_grad():
        model.get_parameter("fc8.bias")[0] += 1
    save_weights(again, model, preprocessing, CLASSES, CONFIG, extra={"epoch": "20", "title": "ReLU"})
    assert load_weights(again).digest != first


def test_a_full_disk_leaves_the_old_file(saved, model, preprocessing, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_weights(saved, model, preprocessing, CLASSES, CONFIG)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_partial_snapshot_gives_its_layers_and_no_model(tmp_path, model, preprocessing):
    path = tmp_path / "epoch-4.safetensors"
    save_weights(path, model, preprocessing, CLASSES, CONFIG, layers=["conv1"])
    assert np.array_equal(read_layer(path, "conv1.weight"), model.state_dict()["conv1.weight"].half().float())
    with pytest.raises(WeightsError, match=r"does not hold conv2.weight"):
        read_layer(path, "conv2.weight")
    with pytest.raises(WeightsError, match="partial snapshot"):
        load_weights(path)


def test_one_layer_of_a_complete_file(saved, model):
    tensor = read_layer(saved, "conv2.bias")
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor, model.state_dict()["conv2.bias"].half().float())
    with pytest.raises(WeightsError, match="not there or damaged"):
        read_layer(saved.with_name("missing.safetensors"), "conv1.weight")


@pytest.mark.parametrize("preset", MODEL_PRESETS)
@pytest.mark.parametrize("towers", [1, 2])
def test_shapes_are_known_without_building(preset, towers):
    config = MODEL_PRESETS[preset].model_copy(update={"towers": towers})
    with torch.device("meta"):
        model = AlexNet(config)
    assert parameter_shapes(config) == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_differences_are_told_in_words():
    expected = {"a": (2, 3), "b": (2,), "c": (1,), "d": (1,), "e": (1,), "f": (1,)}
    found = {"a": (3, 2), "b": (2,), "z": ()}
    assert differences(expected, found) == (
        "4 missing (c, d, e, …); 1 not expected (z); 1 of another shape (a is 3×2 instead of 2×3)"
    )
    assert differences(expected, expected) == ""


def drop(name):
    return lambda tensors, metadata: tensors.pop(name)


def replace(name, value):
    return lambda tensors, metadata: metadata.update({name: value})


def nan(tensors, metadata):
    tensors["conv3.weight"][5, 4, 0, 0] = float("nan")


def no_deviation(tensors, metadata):
    tensors["input.std"][0] = 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("fc7.bias"), r"1 missing \(fc7.bias\)"),
        (lambda tensors, _: tensors.update(extra=tensors["fc8.bias"]), r"1 not expected \(extra\)"),
        (lambda tensors, _: tensors.update({"fc8.bias": tensors["fc7.bias"]}), "fc8.bias is 256 instead of 10"),
        (replace("config", '{"model": {"widths": [64, 64, 96, 96, 64]}}'), "32×3×5×5 instead of 64×3×5×5"),
        (nan, "conv3.weight holds values that are not finite"),
        (drop("input.mean"), "lacks the mean"),
        (no_deviation, "no picture can be brought to"),
        (replace("canvas", "20"), "no picture can be brought to"),
        (replace("canvas", "1000000"), "canvas"),
        (replace("classes", '["cat", "dog"]'), "names 2 classes, its network has 10"),
        (replace("classes", "[" * 5000), "classes"),
        (replace("layers", "7"), "layers"),
        (replace("config", '{"model": {"towers": 5}}'), "towers=5 does not divide"),
        (lambda _, metadata: metadata.pop("config"), "config"),
        (lambda _, metadata: metadata.pop("alexnet_explorer"), "add it as a file of your own"),
        (replace("alexnet_explorer", "2"), "update the app"),
    ],
)
def test_a_file_that_does_not_fit_itself_is_refused(saved, change, words):
    rewrite(saved, change)
    with pytest.raises(WeightsError, match=words) as error:
        load_weights(saved)
    assert "relu.safetensors" in str(error.value) and len(str(error.value)) < 500


def test_a_damaged_file_is_refused_wherever_it_ends(saved):
    data = saved.read_bytes()
    for end in (0, 4, 8, 100, 2000, len(data) // 2, len(data) - 1):
        saved.write_bytes(data[:end])
        with pytest.raises(WeightsError, match="take another copy"):
            load_weights(saved)


def test_metadata_of_junk_is_refused(tmp_path):
    path = tmp_path / "junk.safetensors"
    for data in (b"", b"hello, this is a text file", b"\xff" * 100, b"\x08" + bytes(7) + b"[1, 2] "):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"junk.safetensors is not a safetensors file"):
            read_metadata(path)
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_metadata(tmp_path / "missing.safetensors")


def printed(code, *arguments):
    """What a process of its own prints that runs this code; it has no other words."""
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert ran.stderr == ""
    return ran.stdout


def test_metadata_is_read_without_pytorch(saved):
    code = (
        "import sys; from alexnet_explorer.weights_file import read_metadata;"
        "print(read_metadata(sys.argv[1])['title'], 'torch' in sys.modules)"
    )
    assert printed(code, saved) == "ReLU False\n"


def test_a_network_is_built_without_pytorchs_compiler(saved):
    """To import it takes a second and 80 MB, of every page and command."""
    code = (
        "import sys; from alexnet_explorer.weights import load_weights; load_weights(sys.argv[1]);"
        "print('torch._dynamo' in sys.modules)"
    )
    assert printed(code, saved) == "False\n"
