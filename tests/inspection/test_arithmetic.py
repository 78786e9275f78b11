"""Every number of every layer is the sum of its terms, under every toggle. PyTorch's forward pass is the oracle."""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_explorer.config import MODEL_PRESETS
from alexnet_explorer.inspection import arithmetic
from alexnet_explorer.inspection.arithmetic import explain, explain_pixel, explain_probability, see
from alexnet_explorer.inspection.predict import probabilities
from alexnet_explorer.inspection.steps import (
    PIXELS,
    ActivationStep,
    ConvolutionStep,
    FullStep,
    LrnStep,
    Place,
    PoolStep,
    exists,
    strongest,
)
from alexnet_explorer.model import AlexNet, Dropout, initialise

# A small network of 16×16 pixels that has everything: see `tiny`.
TOGGLES = {
    "as it is": {},
    "one tower": {"towers": 1},
    "tanh": {"activation": "tanh"},
    "sigmoid": {"activation": "sigmoid"},
    "no LRN": {"lrn": False},
    "strong LRN": {"lrn_alpha": 0.3},
    "LRN after pooling": {"lrn_place": "after-pool", "lrn_alpha": 0.3},
    "LRN within a map": {"lrn_kind": "within-map", "lrn_size": 3, "lrn_alpha": 0.3, "lrn_k": 1.0},
    "LRN within a map, after pooling": {"lrn_kind": "within-map", "lrn_place": "after-pool", "lrn_alpha": 0.3},
    "non-overlapping": {"pooling": "non-overlapping"},
    "mean pooling": {"pool_kinds": ("avg", "avg")},
    "mean pooling, non-overlapping": {"pool_kinds": ("max", "avg"), "pooling": "non-overlapping"},
    "windows cut off": {"input_size": 18, "pool_kinds": ("max", "avg")},  # 18 → 9 → 4
    "without conv2": {"convolutions": (1, 3)},
    "a stride, and no padding": {"strides": (2, 1, 1), "paddings": (0, 1, 1), "kernels": (4, 3, 3)},
    "grey": {"in_channels": 1},
    "dropout before": {"dropout_place": "before-fc"},
    "no dropout": {"dropout": 0.0},
    "no hidden fc": {"fc_widths": ()},
    "biases of 1": {"init": "2012", "init_std": (0.2,), "bias_one": (2, 3, 4)},
}
SMALLER = {"alexnet": 67, "alexnet-torchvision": 67}  # pixels; the other presets as they are


def agree(step):
    """The terms make what the network computed."""
    assert step.total == pytest.approx(step.value, rel=1e-4, abs=1e-4), step.place


def added_up(step):
    """What the terms of a step's table make, by a sum that is written out here."""
    table = step.table()
    assert len({len(column) for column in table.values()}) == 1
    if isinstance(step, ConvolutionStep | FullStep):
        weights, inputs, values = table["weight"][:-1], table["input"][:-1], table["value"]
        np.testing.assert_allclose(np.multiply(weights, inputs), values[:-1])
        assert table["term"][-1] == "bias"
        return sum(values)
    if isinstance(step, LrnStep):
        return table["a"][step.own] / (step.k + step.alpha * sum(a * a for a in table["a"])) ** step.beta
    if isinstance(step, PoolStep):
        return max(table["value"]) if step.kind == "max" else sum(table["value"]) / len(table["value"])
    return step.total


def places(model, rng, count):
    """Random places of every layer, and the corners of its first map, where padding and cut windows are."""
    for name, layer in model.layers.items():
        if len(layer.output) == 1:
            yield from (Place(name, int(unit)) for unit in rng.integers(0, layer.output[0], count))
            continue
        units, height, width = layer.output
        yield from (Place(name, 0, row, column) for row in (0, height - 1) for column in (0, width - 1))
        for _ in range(count):
            yield Place(name, int(rng.integers(units)), int(rng.integers(height)), int(rng.integers(width)))


def check(loaded, image, count=6):
    """Random numbers of every layer add up; so do the probabilities; and the pixels are the network's input."""
    outputs = see(loaded, image)
    rng = np.random.default_rng(1)
    for place in places(loaded.model, rng, count):
        step = explain(loaded, outputs, place)
        agree(step)
        assert added_up(step) == pytest.approx(step.value, rel=1e-4, abs=1e-4), place
        assert all(np.isfinite(array).all() for array in step.arrays().values())
    for unit in range(min(count, len(outputs[list(outputs)[-1]]))):
        agree(explain_probability(loaded, outputs, unit))
    channels, size, _ = outputs[PIXELS].shape
    crop = np.asarray(loaded.preprocessing.crop(image))
    for _ in range(count):
        place = Place(PIXELS, int(rng.integers(channels)), int(rng.integers(size)), int(rng.integers(size)))
        agree(explain_pixel(loaded, crop, outputs, place))


@pytest.mark.parametrize("fields", TOGGLES.values(), ids=TOGGLES)
def test_every_number_is_made_of_its_terms(tiny, picture, fields):
    check(tiny(**fields), picture)


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_the_presets(wrap, picture, preset):
    config = MODEL_PRESETS[preset]
    fields = {"num_classes": 10, "fc_widths": config.fc_widths and (64, 48), "init": "modern"}  # numbers about 1
    fields["input_size"] = SMALLER.get(preset, config.input_size)
    model = AlexNet(config.model_copy(update=fields))
    initialise(model, 1)
    check(wrap(model, model.config.input_size), picture, count=3)


def test_the_network_of_2012_at_its_own_size(wrap):
    config = MODEL_PRESETS["alexnet"].model_copy(update={"fc_widths": (256, 128), "num_classes": 20, "init": "modern"})
    model = AlexNet(config)
    initialise(model, 1)
    loaded = wrap(model, 227)
    pixels = np.random.default_rng(0).integers(0, 256, (227, 227, 3), dtype=np.uint8)
    check(loaded, Image.fromarray(pixels), count=3)
    outputs = see(loaded, Image.fromarray(pixels))
    first = explain(loaded, outputs, Place("conv1", 95, 54, 54))
    assert first.patch.shape == (3, 11, 11) and first.inside.all() and (first.top, first.left) == (216, 216)
    second = explain(loaded, outputs, Place("conv2", 128, 0, 26))
    assert second.maps == range(48, 96) and second.source == "pool1"  # the second tower's
    assert explain(loaded, outputs, Place("fc6", 7)).origin(9215) == Place("pool5", 255, 5, 5)


def test_a_mean_image_as_in_2012_is_the_pixels_own(tiny, picture):
    loaded = tiny()
    mean = torch.rand(3, 16, 16) * 255
    object.__setattr__(loaded.preprocessing, "mean", mean)
    outputs, crop = see(loaded, picture), np.asarray(loaded.preprocessing.crop(picture))
    step = explain_pixel(loaded, crop, outputs, Place(PIXELS, 2, 3, 11))
    agree(step)
    assert step.mean == pytest.approx(mean[2, 3, 11].item()) and step.level == crop[3, 11, 2]


# Where a number comes from


def test_the_walk_back_ends_at_the_pixels_and_meets_the_networks_own_numbers(tiny, picture):
    loaded = tiny(pool_kinds=("max", "avg"), lrn_alpha=0.3)
    outputs = see(loaded, picture)
    place, layers = Place("fc5", 2), []
    while place.layer != PIXELS:
        step = explain(loaded, outputs, place)
        layers.append(place.layer)
        if isinstance(step, ConvolutionStep):
            position = int(step.strongest[0])
            cells = np.argwhere(step.inside)
            row, column = cells[np.abs(step.products[position][step.inside]).argmax()]
            place, number = step.origin(position, row, column), step.patch[position, row, column]
        elif isinstance(step, FullStep):
            place, number = step.origin(int(step.strongest[0])), step.inputs[step.strongest[0]]
        elif isinstance(step, PoolStep):
            place, number = step.origins[step.winner], step.window.max()
        elif isinstance(step, LrnStep):
            place, number = step.origins[step.own], step.before
        else:
            place, number = step.origin, step.before
        there = outputs[place.layer]
        assert number == (there[place.unit, place.row, place.column] if there.ndim == 3 else there[place.unit])
        assert exists(loaded.model, place)
    assert layers == list(loaded.model.layers)[::-1]


def test_padding_is_zero_and_comes_from_nowhere(tiny, picture):
    loaded = tiny()
    step = explain(loaded, see(loaded, picture), Place("conv1", 0, 0, 15))
    assert step.inside.tolist() == [[False] * 3, [True, True, False], [True, True, False]]
    assert not step.patch[:, ~step.inside].any() and step.patch[:, step.inside].all()
    assert step.origin(1, 0, 1) is None and step.origin(1, 2, 2) is None
    assert step.origin(1, 1, 0) == Place(PIXELS, 1, 0, 14)
    table = step.table()
    assert table["term"].count("padding") == 3 * 5 and table["term"].count("product") == 3 * 4


def test_a_kernel_sees_the_maps_of_its_own_tower(tiny, picture):
    loaded = tiny()
    outputs = see(loaded, picture)
    assert [explain(loaded, outputs, Place("conv2", unit, 1, 1)).maps for unit in (0, 3, 4, 7)] == [
        range(3), range(3), range(3, 6), range(3, 6),
    ]  # fmt: skip
    assert explain(loaded, outputs, Place("conv3", 3, 1, 1)).maps == range(8)


@pytest.mark.parametrize(
    ("unit", "near"), [(0, [0, 1, 2]), (2, [0, 1, 2]), (3, [3, 4, 5]), (5, [3, 4, 5])], ids=lambda value: str(value)
)
def test_the_neighbours_of_lrn_end_at_the_towers_border(tiny, picture, unit, near):
    loaded = tiny()  # six maps in two towers
    step = explain(loaded, see(loaded, picture), Place("lrn1", unit, 4, 5))
    assert [origin.unit for origin in step.origins] == near and step.origins[step.own].unit == unit
    assert step.window.shape == (1, 3)


def test_the_window_of_lrn_within_a_map_ends_at_the_maps_border(tiny, picture):
    loaded = tiny(lrn_kind="within-map", lrn_size=3)
    outputs = see(loaded, picture)
    corner, middle = (explain(loaded, outputs, Place("lrn1", 4, row, 15)) for row in (0, 8))
    assert corner.window.shape == (2, 2) and middle.window.shape == (3, 2)
    assert corner.origins[corner.own] == Place("relu1", 4, 0, 15)
    np.testing.assert_array_equal(middle.window, outputs["relu1"][4, 7:10, 14:16])


def test_the_window_of_pooling_is_cut_off_and_its_mean_divides_by_what_is_left(tiny, picture):
    loaded = tiny(pool_kinds=("avg", "max"))
    outputs = see(loaded, picture)
    cut, whole = (explain(loaded, outputs, Place("pool1", 1, row, 7)) for row in (7, 0))
    assert cut.window.shape == (2, 2) and whole.window.shape == (3, 2)
    for step in (cut, whole):
        agree(step)
    apart = tiny(pooling="non-overlapping")
    step = explain(apart, see(apart, picture), Place("pool1", 1, 7, 0))
    assert step.origins[0] == Place("lrn1", 1, 14, 0) and len(step.origins) == 4 and step.kind == "max"


def test_the_winner_is_where_the_largest_number_is(tiny, picture):
    loaded = tiny()
    outputs = see(loaded, picture)
    step = explain(loaded, outputs, strongest(outputs["pool1"], "pool1", 2))
    winner = step.origins[step.winner]
    assert winner == strongest(outputs["lrn1"], "lrn1", 2)
    assert outputs["lrn1"][winner.unit, winner.row, winner.column] == outputs["pool1"][2].max()


def test_the_maps_that_contribute_most_come_first(tiny, picture):
    loaded = tiny()
    step = explain(loaded, see(loaded, picture), Place("conv3", 1, 2, 2))
    sums = np.abs(step.sums[step.strongest])
    assert (np.diff(sums) <= 0).all() and sorted(step.strongest) == list(range(8))


def test_a_place_is_found_in_the_patch(tiny, picture):
    loaded = tiny()
    step = explain(loaded, see(loaded, picture), Place("conv2", 4, 0, 3))  # its tower's maps are 3 to 5
    for position, row, column in ((0, 1, 2), (2, 2, 0)):
        assert step.cell(step.origin(position, row, column)) == (position, row, column)
    inside = Place("pool1", 3, 0, 2)
    assert step.cell(inside) == (0, 1, 0)
    outside = [
        Place("pool1", 2, 0, 2),
        Place("pool1", 3, 0, 5),
        Place("pool1", 3, -1, 2),
        Place("relu1", 3, 0, 2),
        None,
    ]
    assert [step.cell(place) for place in outside] == [None] * len(outside)


def test_the_largest_product_is_never_padding(tiny, picture):
    loaded = tiny()
    outputs = {name: np.zeros_like(values) for name, values in see(loaded, picture).items()}
    step = explain(loaded, outputs, Place("conv1", 0, 0, 0))  # every product is zero
    assert step.heaviest(1) == Place(PIXELS, 1, 0, 0)


@pytest.mark.parametrize("place", [Place("conv2", 1, 0, 0), Place("fc4", 3), Place("pool1", 0, 7, 7), Place("lrn1", 2)])
def test_the_csv_file_has_every_term_in_full(tiny, picture, place):
    loaded = tiny()
    step = explain(loaded, see(loaded, picture), place)
    head, *rows = list(csv.reader(io.StringIO(step.to_csv())))
    assert head == list(step.table())
    number = head.index("a" if place.layer == "lrn1" else "value")
    values = [float(row[number]) for row in rows]
    assert values == [float(value) for value in step.table()[head[number]]]


# Dropout and softmax


def test_dropout_changes_nothing_here_and_draws_the_networks_own_mask_for_training(tiny, picture):
    loaded = tiny(dropout=0.25, fc_widths=(200,))
    outputs = see(loaded, picture)
    own = Dropout(0.25).train()
    own.share = (0, 1)
    torch.manual_seed(7)
    expected = own(torch.from_numpy(outputs["relu4"])[None])[0]
    steps = [explain(loaded, outputs, Place("drop4", unit), seed=7) for unit in range(200)]
    assert [step.in_training for step in steps] == pytest.approx(expected.tolist(), rel=1e-6)
    assert all(step.total == step.value == outputs["relu4"][unit] for unit, step in enumerate(steps))
    assert 20 < 200 - steps[0].kept.sum() < 80 and steps[0].scale == pytest.approx(4 / 3)
    other = explain(loaded, outputs, Place("drop4", 0), seed=8)
    assert (other.kept != steps[0].kept).any()


def test_drawing_a_mask_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    arithmetic.mask(100, 0.5, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_before_fc_knows_the_maps_behind_its_flat_input(tiny, picture):
    loaded = tiny(dropout_place="before-fc")
    step = explain(loaded, see(loaded, picture), Place("drop4", 4 * 4 * 2 + 4 + 3))
    assert step.origin == Place("pool3", 2, 1, 3)


def test_the_probabilities_are_those_of_the_prediction(tiny, picture):
    loaded = tiny()
    step = explain_probability(loaded, see(loaded, picture), 3)
    np.testing.assert_allclose(step.probabilities, probabilities(loaded, picture), rtol=1e-5)
    assert step.exponentials.max() == 1 and step.place == Place("fc5", 3)


def test_large_outputs_do_not_overflow(tiny, picture):
    loaded = tiny()
    outputs = {**see(loaded, picture), "fc5": np.array([2000, 1999, -3000, 0, 5], np.float32)}
    step = explain_probability(loaded, outputs, 0)
    agree(step)
    assert step.total == pytest.approx(1 / (1 + np.exp(-1)))


# What is not there


def test_a_layer_or_a_place_that_is_not_there(tiny, picture):
    loaded = tiny()
    outputs = see(loaded, picture)
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        explain(loaded, outputs, Place("conv9", 0))
    for place in (Place("conv1", 6), Place("conv1", 0, 16), Place("conv1", 0, 0, -1), Place("fc5", 0, 1)):
        with pytest.raises(IndexError, match="has no"):
            explain(loaded, outputs, place)


def test_the_activation_is_found_whatever_it_is_called(tiny, picture):
    loaded = tiny(activation="tanh")
    step = explain(loaded, see(loaded, picture), Place("relu1", 1, 2, 3))
    assert step.place == Place("tanh1", 1, 2, 3) and step.origin == Place("conv1", 1, 2, 3)


@pytest.mark.parametrize("x", [-800.0, -3.0, 0.0, 3.0, 800.0])
@pytest.mark.parametrize("function", ["relu", "tanh", "sigmoid"])
def test_the_functions_are_pytorchs_even_far_out(function, x):
    expected = getattr(torch, function)(torch.tensor(x, dtype=torch.double)).item()
    step = ActivationStep(Place("a", 0), expected, function, x, Place("b", 0))
    assert step.total == pytest.approx(expected, rel=1e-12)
