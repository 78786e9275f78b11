"""Fine-tuning: what a new run takes from another network, what stays as it was, and what is refused."""

import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

from alexnet_explorer.catalogue import find_weights
from alexnet_explorer.config import ConfigError, RunConfig
from alexnet_explorer.data.packed import PackedWriter
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.runs import Run, RunError, new_run
from alexnet_explorer.training.finetune import finetune_config, fitting_layers, new_finetune
from alexnet_explorer.training.loop import train
from alexnet_explorer.weights import load_weights, parse_weights

QUICK = {"train.epochs": 2, "train.precision": "fp32", "train.device": "cpu", "train.threads": 1}


@pytest.fixture
def source(trained):
    """The weights file of a trained network of 16×16 pixels, three classes, and the network in it."""
    data, name, title = find_weights(trained.relu.id, trained.root)
    return data, parse_weights(data, name, title, shown=name)


@pytest.fixture
def own(data_root, pack):
    """Thirty pictures of 24×24 pixels in two classes."""
    return pack("own", count=30, test=0, classes=("mine", "yours"), size=24, seed=5)


@pytest.fixture
def tuned(source, own, tmp_path):
    """A new run that begins from the source, not trained yet."""

    def build(**settings):
        weights, network = source
        changes = QUICK | {name.replace("__", "."): value for name, value in settings.items()}
        config = finetune_config(network, own).with_settings(changes)
        return new_finetune(config, own, weights, tmp_path / "runs")

    (tmp_path / "runs").mkdir()
    return build


def state(path):
    return safetensors.torch.load_file(path)


def test_a_run_begins_with_the_sources_weights_but_for_the_last_layer(tuned, source, own):
    _, network = source
    run = tuned()
    assert train(run).state == "done"
    begun = load_weights(run.snapshots()[0])
    drawn = AlexNet(run.config.model)
    initialise(drawn, run.config.train.seed)
    for name, value in network.model.state_dict().items():
        expected = drawn.state_dict()[name] if name.startswith("fc5") else value
        assert torch.equal(begun.model.state_dict()[name], expected.half().float()), name
    assert begun.classes == own.classes
    assert run.config.train.init == f"{network.name}@{network.digest}"
    assert "tmp" not in run.config.to_json()
    after = load_weights(run.weights_file())
    assert not torch.equal(after.model.conv1.weight, begun.model.conv1.weight)


def test_pictures_look_as_they_did_to_the_source(tuned, source):
    _, network = source
    run = tuned()
    train(run)
    found = load_weights(run.weights_file()).preprocessing
    assert torch.equal(found.mean, network.preprocessing.mean)
    assert torch.equal(found.std, network.preprocessing.std)
    assert (found.size, found.canvas) == (network.preprocessing.size, network.preprocessing.canvas)


@pytest.mark.parametrize("scaling", ["standard", "2012"])
def test_an_input_of_another_size_shows_as_much_of_a_picture(small, packed, own, tmp_path, scaling):
    (tmp_path / "runs").mkdir()
    first = new_run(small(train__epochs=1, data__scaling=scaling), packed, tmp_path / "runs")
    train(first)
    weights, name, title = find_weights(first.id, tmp_path / "runs")
    network = parse_weights(weights, name, title, shown=name)
    config = finetune_config(network, own).with_settings(QUICK | {"model.input_size": 20})
    run = new_finetune(config, own, weights, tmp_path / "runs")
    assert train(run).state == "done"
    found = load_weights(run.weights_file()).preprocessing
    before = network.preprocessing
    assert (before.size, before.canvas, found.size, found.canvas) == (16, 16, 20, 20)
    assert found.mean.shape == before.mean.shape[:1] + ((20, 20) if scaling == "2012" else (1, 1))
    torch.testing.assert_close(found.mean.mean((1, 2)), before.mean.mean((1, 2)), rtol=0.01, atol=1)
    assert torch.equal(found.std, before.std)


@pytest.mark.parametrize("optimiser", ["momentum", "muon"])
def test_frozen_layers_stay_bit_for_bit_and_cost_no_backward_pass(tuned, source, optimiser, monkeypatch):
    asked = []
    convolution_backward = torch.Tensor.backward

    def watched(loss, *arguments, **named):
        names = set()
        nodes = [loss.grad_fn]
        while nodes:
            node = nodes.pop()
            if node is not None and node not in names:
                names.add(node)
                nodes += [below for below, _ in node.next_functions]
        asked.append(sum(type(node).__name__.startswith("Convolution") for node in names))
        return convolution_backward(loss, *arguments, **named)

    monkeypatch.setattr(torch.Tensor, "backward", watched)
    run = tuned(train__freeze="conv1,conv2", train__weight_decay=0.5, train__optimiser=optimiser)
    assert train(run).state == "done"
    begun, after = state(run.init_file), state(run.state_file)
    for layer in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            assert torch.equal(after[f"model.{layer}.{part}"], begun[f"{layer}.{part}"].float())
            assert not after[f"velocity.{layer}.{part}"].any()
    assert not torch.equal(after["model.conv3.weight"], begun["conv3.weight"].float())
    assert set(asked) == {1}  # of three convolutions one has a gradient


def test_the_last_layer_is_kept_where_the_classes_are_the_same(source, data_root, pack):
    _, network = source
    same, others = network.classes, ("red", "green", "mauve")
    assert fitting_layers(network, network.config.model, same) == ["conv1", "conv2", "conv3", "fc4", "fc5"]
    assert fitting_layers(network, network.config.model, others) == ["conv1", "conv2", "conv3", "fc4"]


def test_a_run_is_repeated_from_its_directory_alone(tuned, trained, tmp_path):
    run = tuned()
    moved = Run(tmp_path / "elsewhere" / run.id)
    shutil.copytree(run.path, moved.path)
    shutil.copytree(run.path, tmp_path / "broken" / run.id)
    train(run)
    assert train(moved).state == "done"
    assert state(moved.state_file).keys() == state(run.state_file).keys()
    assert all(torch.equal(value, state(run.state_file)[name]) for name, value in state(moved.state_file).items())
    # From the name that the config states, the copy is found, though this folder has no such network.
    data, _, _ = find_weights(run.config.train.init, tmp_path / "elsewhere")
    assert data == run.init_file.read_bytes()

    broken = Run(tmp_path / "broken" / run.id)
    broken.init_file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    status = train(broken)
    assert status.state == "failed" and "does not hold what this run begins from" in status.message
    broken.init_file.unlink()
    assert train(broken).state == "failed"


def test_a_stopped_run_goes_on_to_the_same_weights(tuned):
    whole, stopped = tuned(train__epochs=3, train__freeze="conv1"), tuned(train__epochs=3, train__freeze="conv1")
    train(whole)

    def stop(status, row):
        if row and "val/loss" in row and status.epoch >= 1:
            stopped.request_stop()

    assert train(stopped, stop).state == "stopped"
    assert train(stopped).state == "done"
    mine, its = state(stopped.state_file), state(whole.state_file)
    assert all(torch.equal(mine[name], its[name]) for name in its)


def test_weights_that_changed_since_are_refused_by_their_digest(trained):
    name = trained.relu.id
    data, label, _ = find_weights(name, trained.root)
    digest = parse_weights(data, name, shown=name).digest
    assert find_weights(f"{name}@{digest}", trained.root)[:2] == (data, label)
    with pytest.raises(RunError, match="no longer those of 0123456789abcdef"):
        find_weights(f"{name}@0123456789abcdef", trained.root)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train__freeze": "fc5"}, "train.freeze: fc5 would be drawn anew.*allowed are conv1, conv2, conv3, fc4"),
        ({"train__freeze": "conv9"}, "train.freeze: there is no 'conv9'; allowed are conv1"),
        ({"train__freeze": "conv1,conv2,conv3,fc4,fc5"}, "train.freeze names every layer"),
        ({"train__init": "../weights@0123456789abcdef"}, "train.init.*name of a network and the digest"),
        ({"model__widths": "4,4,4", "model__fc_widths": "5"}, "no layer of .* fits"),
        ({"model__in_channels": 1}, "model.in_channels=1: .* sees pictures of 3"),
    ],
)
def test_what_cannot_be_is_refused_before_there_is_a_run(tuned, tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        tuned(**settings)
    assert list((tmp_path / "runs").iterdir()) == []


def test_few_pictures_get_small_batches_and_many_fewer_epochs(source, data_root):
    def config(count):
        class Packed:
            name, digest, classes = "own", "0" * 16, ("a", "b", "c")

            def count(self, split):
                return count

        return finetune_config(source[1], Packed())

    for count in (3, 20, 90, 127, 400):
        found = config(count)
        images = count - max(1, round(count * found.data.val_fraction))
        steps = -(-images // found.train.batch_size) * found.train.epochs
        assert found.train.batch_size <= 16 and 60 <= steps <= 220, count
    many = config(50_000)
    assert (many.train.batch_size, many.train.epochs) == (128, 5)
    assert many.model.num_classes == 3 and RunConfig.from_json(many.to_json()) == many


def test_it_learns_from_few_pictures(tuned):
    run = tuned(train__epochs=20)
    assert train(run).summary["val/top1_error"] <= 0.2


def test_a_network_of_digits_is_not_shown_mirrored_ones(source, data_root):
    with PackedWriter("digits", ("0", "1"), 8) as writer:
        writer.add("train", np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1])
        assert finetune_config(source[1], writer.finish()).data.augmentation == ("crop",)


def test_the_weights_know_what_the_class_folders_were_called(data_root, small, tmp_path):
    with PackedWriter("birds", ("crane", "cock", "emu"), 16) as writer:
        writer.folders = ("n1", "n2", "n3")
        writer.add("train", np.zeros((20, 16, 16, 3), np.uint8), np.arange(20) % 3)
        packed = writer.finish()
    (tmp_path / "runs").mkdir()
    run = new_run(small(train__epochs=1), packed, tmp_path / "runs")
    train(run)
    assert load_weights(run.weights_file()).folders == ("n1", "n2", "n3")
