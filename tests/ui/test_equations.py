"""The lines of the page Arithmetic: the numbers that are shown add up to the network's."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from alexnet_explorer.inspection.steps import (
    PIXELS,
    ActivationStep,
    ConvolutionStep,
    DropoutStep,
    FullStep,
    LrnStep,
    PixelStep,
    Place,
    PoolStep,
    SoftmaxStep,
    Step,
)
from alexnet_explorer.ui.equations import brief, line, name_of, percent, shown, training_line

HERE, BEFORE = Place("conv2", 3, 1, 2), Place("pool1", 0, 1, 2)
rng = np.random.default_rng(0)


def full(inputs, weights, bias):
    inputs, weights = np.array(inputs, float), np.array(weights, float)
    return FullStep(Place("fc6", 0), 0.0, "relu5", (len(inputs),), inputs, weights, bias)


def numbers(text):
    """The numbers of a line, with true minuses."""
    return [float(number.replace("−", "-")) for number in re.findall(r"−?\d+(?:\.\d+)?(?:e[−+]?\d+)?", text)]


def near(value):
    return pytest.approx(value, rel=1e-4, abs=1e-4)


@given(some.lists(some.floats(-1e4, 1e4), min_size=1, max_size=5), some.floats(-1e3, 1e3), some.floats(1e-6, 1e3))
def test_products_and_bias_as_shown_make_the_total_as_shown(inputs, bias, scale):
    step = full(inputs, [scale] * len(inputs), bias)
    products, added, total = numbers(line(step))
    assert products + added == near(total) and total == near(step.total)


def test_a_sum_goes_on_to_its_activation():
    step = full([1.0, 2.0], [0.25, -1.0], -0.125)
    then = ActivationStep(HERE, 0.0, "relu", step.total, BEFORE)
    assert line(step) == "Σ products −1.75000 + bias (−0.12500) = −1.87500"
    assert line(step, then) == "Σ products −1.75000 + bias (−0.12500) = −1.87500 → ReLU → 0.00000"


def test_what_passes_the_activation_is_the_number_that_is_shown():
    step = full([0.117627], [1.0], 0.0)
    then = ActivationStep(HERE, 0.0, "relu", 0.117626, BEFORE)
    assert line(step, then) == "Σ products 0.117627 + bias 0.000000 = 0.117627 → ReLU → 0.117627"


def test_a_convolution_is_such_a_sum():
    patch, kernel = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 3))
    step = ConvolutionStep(HERE, 0.0, "pool1", range(2), 0, 0, patch, np.ones((3, 3), bool), kernel, 0.5)
    products, bias, total = numbers(line(step))
    assert [products, bias, total] == [near((patch * kernel).sum()), 0.5, near((patch * kernel).sum() + 0.5)]


@pytest.mark.parametrize(
    ("function", "x", "text"),
    [
        ("relu", -1.5, "max(0, −1.50000) = 0.00000"),
        ("tanh", 0.5, "tanh(0.500000) = 0.462117"),
        ("sigmoid", -2.0, "1 / (1 + e^(−(−2.00000))) = 0.11920"),
    ],
)
def test_activations(function, x, text):
    assert line(ActivationStep(HERE, 0.0, function, x, BEFORE)) == text


def test_lrn_can_be_computed_from_its_line():
    window = np.array([[30.0, -4.0, 12.5]])
    step = LrnStep(HERE, 0.0, "across-maps", 5, window, (BEFORE,) * 3, 2, 2.0, 1e-4, 0.75)
    before, k, alpha, squares, beta, total = numbers(line(step))
    assert before / (k + alpha * squares) ** beta == near(total) and total == near(step.total)


def test_pooling():
    window = np.array([[1.0, 2.0], [4.0, 0.5]])
    largest, mean = (PoolStep(HERE, 0.0, kind, 3, window, (BEFORE,) * 4) for kind in ("max", "avg"))
    assert line(largest) == "the largest of 4 = 4.00000"
    assert line(mean) == "Σ window 7.50000 / 4 = 1.87500"


def test_dropout_says_what_training_would_do():
    steps = [DropoutStep(Place("drop6", unit), 3.0, 0.25, 3.0, BEFORE, 7, np.array([True, False])) for unit in range(2)]
    assert [line(step) for step in steps] == ["3.00000 · 1 = 3.00000"] * 2
    kept, dropped = map(training_line, steps)
    assert kept == "3.00000 · 1/(1 − 0.25) = 3.00000 · 1.33333 = 4.00000: this unit is kept"
    assert dropped == "3.00000 · 0 = 0.00000: this unit is dropped"


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_the_softmax_can_be_computed_from_its_line(unit):
    step = SoftmaxStep(Place("fc8", unit), 0.0, np.array([3.5, -12.25, -0.5]))
    own, largest, again, above, below, share = numbers(line(step).removesuffix("%"))
    assert again == largest and above == pytest.approx(np.exp(own - largest), rel=1e-4)
    assert above / below * 100 == pytest.approx(share, rel=0.02) and share / 100 == near(step.total)


def test_a_pixel():
    step = PixelStep(Place(PIXELS, 1, 3, 4), 0.0, np.array([9, 187, 30], np.uint8), np.eye(3)[1], 123.7, 58.4)
    assert line(step) == "(187 − 123.7) / 58.4 = 1.0839"
    level, mean, deviation, total = (187, *numbers(line(step))[1:])
    assert (level - abs(mean)) / deviation == near(total)


def test_something_else_has_no_equation():
    with pytest.raises(TypeError, match="Step has no equation"):
        line(Step(HERE, 0.0))


def test_numbers_and_shares():
    assert shown(123.456789, -0.5) == ["123.457", "−0.500"]
    assert [brief(value) for value in (1.0, -2.5, 1e-7)] == ["1", "−2.5", "1e−07"]
    assert [percent(share) for share in (0.7502, 1e-4, 2.34e-7, 0.0)] == ["75.02%", "0.01%", "2.3e−05%", "0%"]


def test_places_in_words():
    assert name_of(Place("conv2", 3, 1, 2), (8, 9, 9)) == "conv2, unit 3, row 1, column 2"
    assert name_of(Place("fc6", 3), (12,)) == "fc6, unit 3"
    assert name_of(Place(PIXELS, 1, 5, 6), (3, 9, 9)) == "the picture's green, row 5, column 6"
    assert name_of(Place(PIXELS, 0, 5, 6), (1, 9, 9), channels=1) == "the picture's grey, row 5, column 6"
