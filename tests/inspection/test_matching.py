"""Units and layers whose likeness is known."""

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_explorer.inspection.matching import Cka, Correlation, compare, match, responses
from alexnet_explorer.inspection.picture_sets import of_pictures


@pytest.fixture
def pictures():
    """Builds a set of random pictures, which have structures of several sizes."""

    def build(count=40, size=16):
        rng = np.random.default_rng(0)
        made = {}
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((size, size))
            noise = rng.integers(-40, 40, (size, size, 3))
            pixels = (np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)
            made[str(number)] = (f"picture {number}", Image.fromarray(pixels))
        return of_pictures("random", made)

    return build


def shuffled(loaded, tiny, rng):
    """The same function as `loaded`'s, with the units of its convolutions in another order; and these orders."""
    other = tiny(towers=1, lrn=False)
    state = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    orders = {}
    for name, following in (("conv1", "conv2"), ("conv2", "conv3"), ("conv3", "fc4")):
        order = torch.from_numpy(rng.permutation(len(state[f"{name}.bias"])))
        for kind in ("weight", "bias"):
            state[f"{name}.{kind}"] = state[f"{name}.{kind}"][order]
        weight = state[f"{following}.weight"]
        parts = weight.reshape(len(weight), len(order), -1)[:, order]
        state[f"{following}.weight"] = parts.reshape(weight.shape)
        orders[name] = order.numpy()
    other.model.load_state_dict(state)
    return other, orders


def test_a_permuted_copy_is_matched_back_exactly(tiny, pictures):
    loaded = tiny(towers=1, lrn=False)
    other, orders = shuffled(loaded, tiny, np.random.default_rng(3))
    heard = []
    found = compare(loaded, other, pictures(), heard.append)
    assert set(found.matches) == set(orders) == {"conv1", "conv2", "conv3"}
    for name, order in orders.items():
        one = found.matches[name]
        np.testing.assert_array_equal(order[one.partners], np.arange(len(order)))
        np.testing.assert_allclose(one.correlations, 1, atol=1e-5)
        assert one.mean == pytest.approx(1, abs=1e-5) and not one.pooled
        assert abs(one.chance) < 0.6 and one.luck < 0.7
    assert found.layers == found.others and len(found.layers) == found.cka.shape[0] == found.cka.shape[1]
    np.testing.assert_allclose(np.diag(found.cka), 1, atol=1e-4)
    assert (found.cka < 1 + 1e-4).all() and found.pictures == 40
    assert heard == sorted(heard) and heard[-1] == 1


def test_an_untrained_network_with_other_weights_is_far_from_a_copy(tiny, pictures):
    found = compare(tiny(towers=1, lrn=False), tiny(seed=1, towers=1, lrn=False), pictures())
    assert all(one.chance < one.mean < 0.95 for one in found.matches.values())
    assert (np.abs(found.cka) < 1).all()


def test_networks_of_other_sizes_are_compared_by_the_means_of_their_maps(tiny, pictures):
    found = compare(tiny(), tiny(seed=1, input_size=24, widths=(4, 8, 6)), pictures())
    assert all(one.pooled for one in found.matches.values())
    conv1, conv3 = found.matches["conv1"], found.matches["conv3"]
    assert (conv1.partners == -1).sum() == 2 and np.isnan(conv1.correlations).sum() == 2  # six units meet four
    assert (conv3.partners >= 0).all() and len(set(conv3.partners)) == 4


def test_a_layer_that_one_network_lacks_is_not_matched(tiny, pictures):
    found = compare(tiny(), tiny(convolutions=(1, 3), activation="tanh"), pictures(8))
    assert list(found.matches) == ["conv1", "conv3"]
    assert "conv2" in found.layers and "conv2" not in found.others and "tanh1" in found.others
    assert found.cka.shape == (len(found.layers), len(found.others))


def test_too_few_pictures_are_refused(tiny, pictures):
    with pytest.raises(ValueError, match="3 pictures are too few"):
        compare(tiny(), tiny(seed=1), pictures(3))


# Correlation


def test_correlations_batch_by_batch_are_numpys():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(300, 3)).astype(np.float32)
    x = (mixed @ rng.normal(size=(3, 5)) + 1000).astype(np.float32)  # means far from 0 cost digits
    y = (mixed @ rng.normal(size=(3, 4)) - 50).astype(np.float32)
    found = Correlation()
    for part in np.array_split(np.arange(300), 7):
        found.add(x[part].T, y[part].T)
    np.testing.assert_allclose(found.matrix(), np.corrcoef(x.T, y.T)[:5, 5:], atol=1e-4)


def test_a_unit_that_never_changes_correlates_with_none():
    x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    x[:, 1] = 0.1  # whose float32 mean is another number
    found = Correlation()
    found.add(x[:700].T, x[:700].T)
    found.add(x[700:].T, x[700:].T)
    np.testing.assert_allclose(found.matrix(), [[1, 0], [0, 0]], atol=1e-6)
    assert list(match(found.matrix(), found.matrix()).partners) == [0, 1]


def test_the_assignment_is_the_best_of_all_not_the_best_of_each():
    correlations = np.array([[0.9, 0.8], [0.8, 0.1]])
    one = match(correlations, np.zeros((2, 2)))
    assert list(one.partners) == [1, 0] and one.mean == pytest.approx(0.8)
    assert (
        one.chance == pytest.approx(0.65) and one.luck == 0
    )  # (0.9 + 0.1) / 2 and (0.8 + 0.8) / 2, each half the time


def test_positions_are_kept_where_maps_are_of_one_size():
    maps = np.random.default_rng(0).normal(size=(4, 6, 5, 5)).astype(np.float32)
    x, y = responses(maps, maps[:, :3])
    assert x.shape == (6, 4, 25) and y.shape == (3, 4, 25)
    np.testing.assert_array_equal(x[:, 1, 7], maps[1, :, 1, 2])
    x, y = responses(maps, maps[:, :3, :4, :4])
    np.testing.assert_allclose(x[:, :, 0].T, maps.mean(axis=(2, 3)), rtol=1e-4, atol=1e-6)
    assert y.shape == (3, 4, 1)
    assert responses(maps[:, :, 0, 0], maps[:, :, 0, 1])[0].shape == (6, 4, 1)  # fully connected layers


# CKA


def cka(x, y, batch=None):
    found = Cka()
    for part in np.array_split(np.arange(len(x)), len(x) // (batch or len(x))):
        found.add([x[part]], [y[part]])
    return float(found.table()[0, 0])


def hsic(k, ones):
    """Song et al. 2012, equation 5, term by term."""
    k, m = (matrix - np.diag(np.diag(matrix)) for matrix in (k, ones))
    n, one = len(k), np.ones(len(k))
    total = one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + total - 2 / (n - 2) * one @ k @ m @ one) / (n * (n - 3))


@pytest.fixture
def features():
    """Two layers' outputs that have some directions in common: (60, 8), (60, 6)."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(60, 4))
    x = np.hstack([common, rng.normal(size=(60, 4))]) + 2
    y = common @ rng.normal(size=(4, 6)) + 0.5 * rng.normal(size=(60, 6))
    return x.astype(np.float32), y.astype(np.float32)


def test_cka_is_that_of_the_formula(features):
    x, y = (values.astype(np.float64) for values in features)
    k, m = x @ x.T, y @ y.T
    assert cka(*features) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)), rel=1e-4)
    between, one, other = 0, 0, 0
    for part in np.array_split(np.arange(60), 4):
        k, m = x[part] @ x[part].T, y[part] @ y[part].T
        between, one, other = between + hsic(k, m), one + hsic(k, k), other + hsic(m, m)
    assert cka(*features, batch=15) == pytest.approx(between / np.sqrt(one * other), rel=1e-4)


def test_rotations_factors_and_shifts_change_nothing(features):
    x, y = features
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0].astype(np.float32)
    expected = cka(x, y, batch=20)
    assert cka(x @ rotation, y, batch=20) == pytest.approx(expected, abs=1e-4)
    assert cka(-7 * x + 3, 0.01 * y, batch=20) == pytest.approx(expected, abs=1e-4)
    assert cka(x @ rotation, x) == pytest.approx(1, abs=1e-4)
    stretched = x * np.float32([1, 1, 1, 1, 9, 9, 9, 9])
    assert abs(cka(stretched, y, batch=20) - expected) > 0.1  # an invertible map does


def test_many_pictures_give_the_plain_cka():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(3000, 3))).astype(np.float32)
    a, b = x - x.mean(0), y - y.mean(0)
    plain = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert cka(x, y, batch=100) == pytest.approx(plain, abs=0.02)


def test_layers_with_nothing_in_common_are_at_zero_however_few_the_pictures():
    rng = np.random.default_rng(0)
    values = [cka(*rng.normal(size=(2, 8, 200)).astype(np.float32)) for _ in range(300)]
    assert abs(np.mean(values)) < 0.03


def test_a_layer_that_is_the_same_for_all_pictures_has_no_cka(features):
    x, y = features
    found = Cka()
    found.add([x, np.ones((60, 5), np.float32)], [y])
    assert np.isfinite(found.table()[0, 0]) and np.isnan(found.table()[1, 0])
