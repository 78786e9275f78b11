"""Pictures that a unit responds to: robust against shifts, the same for a seed, and without a trace in the network."""

import threading

import numpy as np
import pytest
import torch

from alexnet_explorer.config import MODEL_PRESETS
from alexnet_explorer.inspection import optimise as module
from alexnet_explorer.inspection.activations import activations
from alexnet_explorer.inspection.optimise import (
    Ascent,
    optimise,
    probe,
    raised_layer,
    seen_from_the_middle,
    shifted_responses,
)
from alexnet_explorer.runs import GALLERY, Run
from alexnet_explorer.weights import load_weights

FEW = Ascent(steps=6)


@pytest.fixture(scope="module")
def trained_network():
    return load_weights(Run(GALLERY / "alexnet-32-relu").weights_file())


@pytest.mark.parametrize(("layer", "unit"), [("conv1", 3), ("conv3", 8), ("conv5", 6), ("fc8", 0), ("fc8", 6)])
def test_what_is_found_bears_shifts_better_than_what_plain_ascent_finds(trained_network, layer, unit):
    robust = optimise(trained_network, layer, unit, Ascent(steps=24))
    plain = optimise(trained_network, layer, unit, Ascent(steps=24, plain=True))
    assert robust.mean_response > plain.mean_response


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("layer", ["conv1", "conv3", "fc5"])
def test_the_response_rises(tiny, plain, layer):
    start, end = (optimise(tiny(), layer, 1, Ascent(steps, plain=plain)) for steps in (0, 12))
    assert end.moved and end.response > start.response


@pytest.mark.parametrize("plain", [False, True])
def test_a_seed_repeats_to_the_bit_whatever_else_is_drawn(tiny, plain):
    loaded, how = tiny(), Ascent(steps=6, seed=3, plain=plain)
    first = optimise(loaded, "conv3", 1, how)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = optimise(loaded, "conv3", 1, how)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(first.picture, again.picture)
    assert (first.response, first.mean_response) == (again.response, again.mean_response)
    assert not np.array_equal(first.picture, optimise(loaded, "conv3", 1, Ascent(6, 4, plain)).picture)


def test_visitors_at_once_get_what_each_would_get_alone(tiny):
    loaded = tiny()
    jobs = [("conv3", 1, FEW), ("conv1", 0, FEW), ("fc5", 2, Ascent(6, plain=True)), ("conv3", 2, FEW)]
    alone = [optimise(loaded, *job).picture for job in jobs]
    together = [None] * len(jobs)

    def work(number):
        together[number] = optimise(loaded, *jobs[number]).picture

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_no_trace_stays_in_the_network(tiny, hooks_of):
    loaded = tiny()
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    optimise(loaded, "conv2", 0, FEW)
    assert hooks_of(loaded.model) == 0
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in loaded.model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in loaded.model.state_dict().items())


def test_the_network_is_locked_for_a_step_at_a_time(tiny, watch):
    loaded = tiny()
    held = watch(loaded)
    loaded.model.conv1.register_forward_pre_hook(lambda *given: held.append(loaded.lock.depth > 0))
    free = []
    optimise(loaded, "conv3", 1, FEW, lambda step, picture: free.append(loaded.lock.depth == 0))
    assert held and all(held)
    assert free == [True] * 6


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layer", ["conv1", "conv3", "fc5"])
def test_the_gradient_is_that_of_the_units_value_in_the_middle(tiny, picture, channels, layer):
    loaded = tiny(in_channels=channels)
    image = picture if channels == 3 else picture.convert("L").convert("RGB")
    pixels = torch.from_numpy(np.asarray(image)[..., :channels].copy()).permute(2, 0, 1)[None].float()
    gradient = module._gradient(loaded, layer, 1, pixels, None)
    direction = gradient / gradient.norm()
    step = 1e-1

    def value(shifted):
        normal = (shifted - loaded.preprocessing.mean) / loaded.preprocessing.std
        return module._responses(loaded.model, normal, layer, 1).item()

    slope = (value(pixels + step * direction) - value(pixels - step * direction)) / (2 * step)
    assert slope == pytest.approx(gradient.norm().item(), rel=0.02)
    maps = activations(loaded, image, layer)
    middle = maps[1, maps.shape[1] // 2, maps.shape[2] // 2] if maps.ndim == 3 else maps[1]
    assert value(pixels) == pytest.approx(middle, abs=1e-4)


def test_the_response_to_shifts_is_that_to_shifted_pictures(tiny, picture):
    from PIL import Image

    loaded, pixels = tiny(), np.asarray(picture)
    found = shifted_responses(loaded, pixels, "conv2", 3, most=2).reshape(5, 5)
    padded = np.pad(pixels, ((2, 2), (2, 2), (0, 0)), mode="symmetric")
    for down in range(5):
        for across in range(5):
            shifted = Image.fromarray(padded[down : down + 16, across : across + 16])
            expected = activations(loaded, shifted, "conv2")[3]
            assert found[down, across] == pytest.approx(expected[4, 4], abs=1e-4)


@pytest.mark.parametrize("side", [1, 4, 8, 16])
def test_a_shift_of_more_than_the_picture_mirrors_it_again(side):
    places = module._mirrored(np.arange(side) + 8, side)
    wide = np.pad(np.arange(side), 8, mode="symmetric")
    assert places.tolist() == wide[16 : 16 + side].tolist()


def test_the_first_view_is_the_picture_and_the_others_are_near_it(picture):
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float()
    views = module._views(pixels, torch.Generator().manual_seed(0))
    assert views.shape == (module.VIEWS, 3, 16, 16)
    assert torch.equal(views[0], pixels[0])
    assert not torch.equal(views[1], views[2])
    assert views.min() >= 0 and views.max() <= 255


def test_pixels_stay_in_their_range_and_grey_stays_grey(tiny):
    found = optimise(tiny(in_channels=1), "conv3", 0, Ascent(steps=40))
    assert found.picture.dtype == np.uint8 and found.picture.shape == (16, 16, 3)
    assert (found.picture == found.picture[..., :1]).all()
    assert found.picture.min() == 0 or found.picture.max() == 255  # far enough to meet the bounds


def test_a_dead_unit_is_told(tiny):
    loaded = tiny()
    loaded.model.conv2.weight[3] = 0
    found = optimise(loaded, "conv2", 3, FEW)
    assert not found.moved and found.mean_response == pytest.approx(float(loaded.model.conv2.bias[3]))
    assert np.array_equal(found.picture, optimise(loaded, "conv2", 3, Ascent(steps=0)).picture)
    assert optimise(loaded, "conv2", 2, FEW).moved


def test_progress_sees_the_picture_forming_and_can_end_it(tiny):
    seen = []

    class Stop(Exception):
        pass

    def progress(step, picture):
        seen.append(picture)
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        optimise(tiny(), "conv3", 0, FEW, progress)
    assert len(seen) == 3 and not np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_every_layer_has_one_that_can_be_raised(preset):
    config = MODEL_PRESETS[preset]
    for layer in config.layers():
        raised = raised_layer(config, layer.name)
        own = next(one for one in config.layers() if one.name == raised)
        assert own.kind in ("conv", "fc")
        assert own.output[0] == layer.output[0] or layer.kind == "dropout"
    assert raised_layer(config, "conv1") == "conv1" and raised_layer(config, "pool1") == "conv1"


def test_what_is_not_there_is_told(tiny):
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        optimise(tiny(), "conv9", 0, FEW)
    with pytest.raises(IndexError, match="conv3 has 4 units, there is no number 4"):
        optimise(tiny(), "relu3", 4, FEW)


def test_a_network_without_some_convolutions_still_answers(tiny):
    loaded = tiny(convolutions=(1, 3), pool_after=(1, 2), activation="tanh")
    found = optimise(loaded, "pool2", 2, FEW)
    assert raised_layer(loaded.model.config, "pool2") == "conv1" and found.moved


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "fc5"])
def test_pixels_that_are_not_seen_have_no_gradient(tiny, layer):
    loaded = tiny()
    noise = module._noise(loaded, torch.Generator().manual_seed(0))
    (rows, columns) = module._gradient(loaded, layer, 1, noise, None)[0].abs().sum(0).nonzero().T
    seen = seen_from_the_middle(loaded.model.config, layer)
    assert rows.min() >= seen.top and rows.max() < seen.bottom
    assert columns.min() >= seen.left and columns.max() < seen.right
    wider = seen_from_the_middle(loaded.model.config, layer, 2)
    assert wider.top == max(seen.top - 2, 0) and wider.right == min(seen.right + 2, 16)


def test_the_time_is_told_beforehand(tiny):
    loaded = tiny()
    few, many = probe(loaded, "conv3", Ascent(steps=1)), probe(loaded, "conv3", Ascent(steps=10_000))
    assert 0 < few < many
