"""Deletion and insertion against curves worked out by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from alexnet_explorer.inspection.perturbing import (
    RANDOM_ORDERS,
    STEPS,
    centre_map,
    curves,
    elsewhere,
    order,
    reference,
)


def quiet(share):
    pass


@pytest.fixture
def linear():
    """Two classes: the first's logit is the weighted sum of the pixels, the second's is 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(14 * 14, 2, bias=False)).eval()
    weight = torch.zeros(2, 196)
    weight[0] = torch.linspace(-0.05, 0.1, 196)
    model[1].weight = nn.Parameter(weight, requires_grad=False)
    return model


def by_hand(weight, before, after, pixels):
    """The first class's probability after each step, one picture at a time."""
    found, now = [], before.copy()
    for step in range(STEPS + 1):
        changed = pixels[: round(step * len(pixels) / STEPS)]
        now[changed] = after[changed]
        found.append(1 / (1 + np.exp(-float(weight @ now))))
    return found


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_a_curve_is_the_one_by_hand(linear, kind):
    chance = np.random.default_rng(0)
    x, blurred = chance.normal(size=(2, 196))
    weight = linear[1].weight[0].double().numpy()
    orders = [order((weight * x).reshape(14, 14)), order(chance.normal(size=(14, 14)))]
    tensors = (torch.tensor(v, dtype=torch.float32).reshape(1, 1, 14, 14) for v in (x, blurred))
    found = curves(linear, *tensors, kind, orders, quiet)
    assert found.shape == (2, STEPS + 1, 2)
    before, after = (x, np.zeros(196)) if kind == "deletion" else (blurred, x)
    for curve, pixels in zip(found, orders, strict=True):
        np.testing.assert_allclose(curve[:, 0], by_hand(weight, before, after, pixels), rtol=1e-5)


def test_all_colours_of_a_pixel_go_together():
    model = nn.Flatten()  # whose logits are the numbers it sees: (N, 3 · 28)
    x = torch.ones(1, 3, 4, 7)
    found = curves(model, x, x, "deletion", [np.arange(28)], quiet)[0].reshape(STEPS + 1, 3, 28)
    gone = found < found.max(axis=(1, 2), keepdims=True)
    for step in range(1, STEPS):
        np.testing.assert_array_equal(gone[step], np.broadcast_to(np.arange(28) < step, (3, 28)))


def test_the_order_is_from_the_largest_value_and_equal_ones_come_by_chance():
    map = np.array([[0, 3, 0], [0, -1, 0], [2, 0, 0]], np.float32)
    pixels = order(map).tolist()
    assert pixels[:2] == [1, 6] and pixels[-1] == 4
    middle = pixels[2:-1]
    assert sorted(middle) == [0, 2, 3, 5, 7, 8] and middle != sorted(middle)
    assert order(map).tolist() == pixels
    assert order(map, ties=1).tolist() != pixels


def test_the_centre_comes_first_and_a_corner_last():
    map = centre_map(5, 5)
    assert np.unravel_index(map.argmax(), map.shape) == (2, 2)
    assert set(order(map)[-4:].tolist()) == {0, 4, 20, 24}
    np.testing.assert_allclose(map, map.T)


def test_elsewhere_is_the_same_map_in_other_places():
    map = np.arange(16, dtype=np.float32).reshape(4, 4)
    others = elsewhere(map)
    assert len({other.tobytes() for other in [map, *others]}) == 5
    assert all(sorted(other.ravel()) == sorted(map.ravel()) for other in others)
    assert others[-1][2, 2] == map[0, 0]


def test_a_reference_serves_every_class_and_each_random_order_is_another(linear):
    x = torch.randn(1, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    shares = []
    found = reference(linear, x, x, "deletion", shares.append)
    assert found.random.shape == (RANDOM_ORDERS, STEPS + 1, 2) and found.centre.shape == (STEPS + 1, 2)
    np.testing.assert_allclose(found.random.sum(-1), 1, rtol=1e-5)
    assert len({curve.tobytes() for curve in found.random}) == RANDOM_ORDERS
    assert shares == sorted(shares) and shares[-1] == 1
    np.testing.assert_array_equal(reference(linear, x, x, "deletion", quiet).random, found.random)
