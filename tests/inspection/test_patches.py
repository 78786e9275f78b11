"""The nine strongest patches: as a search by hand finds them, broken off and taken up again, on a disk with limits."""

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.inspection import patches
from alexnet_explorer.inspection.activations import activations
from alexnet_explorer.inspection.patches import (
    PADDING,
    PatchCache,
    cut,
    find_in_all_layers,
    find_strongest,
    nothing_yet,
)
from alexnet_explorer.inspection.picture_sets import of_pictures
from alexnet_explorer.inspection.receptive import Field, fields, window


@pytest.fixture
def cache(tmp_path):
    return PatchCache(tmp_path / "patches")


@pytest.fixture(scope="module")
def pictures():
    """40 pictures of random blocks."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    return of_pictures("forty", {str(n): (f"number {n}", Image.fromarray(block)) for n, block in enumerate(blocks)})


def by_hand(loaded, pictures, layer, unit):
    """(value, picture, its positions) of the strongest positions of each picture, the strongest nine.

    Of two that are as strong but for rounding either may be the one: a picture of blocks has many.
    """
    found = []
    for number in range(pictures.count):
        values = activations(loaded, pictures.picture(number), layer)[unit]
        near = np.argwhere(values >= values.max() - 1e-5) if values.ndim else np.zeros((1, 2), dtype=int)
        found.append((float(values.max()), number, set(map(tuple, near.tolist()))))
    return sorted(found, key=lambda one: -one[0])[:9]


def equal(one, other):
    return all(np.array_equal(array, vars(other)[name]) for name, array in vars(one).items())


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv3", "fc5"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_nine_are_those_of_a_search_by_hand(tiny, cache, pictures, layer, channels):
    loaded = tiny(in_channels=channels)
    found = find_strongest(loaded, pictures, layer, cache)
    assert found.seen == 40
    for unit in range(len(found.values)):
        expected = by_hand(loaded, pictures, layer, unit)
        patches_of = found.of(unit)
        assert [one.picture for one in patches_of] == [picture for _, picture, _ in expected]
        assert all((one.row, one.column) in places for one, (*_, places) in zip(patches_of, expected, strict=True))
        assert [one.value for one in patches_of] == pytest.approx([one[0] for one in expected], rel=1e-5, abs=1e-5)


def test_a_rectified_unit_has_only_the_patches_that_it_fired_at(tiny, cache, pictures):
    loaded = tiny()
    bias = loaded.model.conv1.bias
    bias[:] = -100.0
    bias[1] = 0.0
    assert find_strongest(loaded, pictures, "relu1", cache).of(0) == []
    assert len(find_strongest(loaded, pictures, "relu1", cache).of(1)) == 9
    silent = find_strongest(loaded, pictures, "conv1", cache).of(0)  # before the rectifier there is a strongest one
    assert len(silent) == 9 and silent[0].value < 0


def test_of_a_small_set_every_picture_is_there_once(tiny, cache, pictures):
    few = of_pictures("four", {str(n): (str(n), pictures.picture(n)) for n in range(4)})
    found = find_strongest(tiny(), few, "conv2", cache)
    assert all(sorted(one.picture for one in found.of(unit)) == [0, 1, 2, 3] for unit in range(8))


def test_a_name_means_this_networks_layer(tiny, cache, pictures):
    loaded = tiny(activation="tanh")
    assert equal(
        find_strongest(loaded, pictures, "relu1", cache),
        find_strongest(loaded, pictures, "tanh1", PatchCache(cache.folder / "other")),
    )
    with pytest.raises(KeyError, match="no layer 'conv9'"):
        find_strongest(loaded, pictures, "conv9", cache)


def test_equal_responses_keep_the_order_of_the_pictures():
    outputs = np.zeros((12, 2, 3, 3), np.float32)
    outputs[5, 1, 2, 1] = 1.0
    found = nothing_yet(2).and_then(outputs[:7]).and_then(outputs[7:])
    assert found.pictures.tolist() == [list(range(9)), [5, 0, 1, 2, 3, 4, 6, 7, 8]]
    assert (found.rows[1, 0], found.columns[1, 0]) == (2, 1)


class Stop(Exception):
    """What the visitor's button raises."""


def interrupt_at(most):
    def progress(seen):
        if seen >= most:
            raise Stop

    return progress


def test_a_search_that_was_stopped_goes_on_where_it_was(tiny, cache, pictures, monkeypatch):
    loaded = tiny()
    with pytest.raises(Stop):
        find_strongest(loaded, pictures, "conv3", cache, interrupt_at(20))
    begun = cache.read(loaded, pictures, "conv3")
    assert begun is not None and begun.seen == 32  # whole batches
    seen = []
    found = find_strongest(loaded, pictures, "conv3", cache, seen.append)
    assert seen == [40]
    assert equal(found, find_strongest(loaded, pictures, "conv3", PatchCache(cache.folder / "other")))


def test_a_process_that_was_killed_loses_little(tiny, cache, pictures, monkeypatch):
    loaded, written = tiny(), []
    monkeypatch.setattr(patches, "KEEP_EVERY", 16)
    monkeypatch.setattr(cache, "write", lambda *arguments: written.append(arguments[-1].seen))
    find_strongest(loaded, pictures, "conv3", cache)
    assert written == [16, 32, 40]


def test_what_is_kept_needs_no_second_search(tiny, cache, pictures):
    loaded = tiny()
    first = find_strongest(loaded, pictures, "conv2", cache)
    looked = []
    loaded.model.register_forward_pre_hook(lambda module, inputs: looked.append(1))
    assert equal(first, find_strongest(loaded, pictures, "conv2", cache))
    assert looked == []


def test_other_networks_sets_and_layers_are_kept_apart(tiny, cache, pictures):
    one = tiny()
    find_strongest(one, pictures, "conv2", cache)
    other = tiny(seed=1)
    other.digest = "another"
    few = of_pictures("four", {str(n): (str(n), pictures.picture(n)) for n in range(4)})
    assert cache.read(other, pictures, "conv2") is None
    assert cache.read(one, few, "conv2") is None
    assert cache.read(one, pictures, "conv3") is None


def damaged_copies(found, count):
    """What could stand in a file that is not what it should be."""
    arrays = {name: np.asarray(array) for name, array in vars(found).items()}
    yield {name: array for name, array in arrays.items() if name != "rows"}
    yield arrays | {"values": arrays["values"].astype(np.float64)}
    yield arrays | {"values": arrays["values"][:2]}
    yield arrays | {"rows": arrays["rows"] + 1000}
    yield arrays | {"pictures": arrays["pictures"] - 1}
    yield arrays | {"pictures": np.full_like(arrays["pictures"], count)}
    yield arrays | {"seen": np.asarray(count + 1)}
    yield arrays | {"seen": np.asarray([1, 2])}
    yield arrays | {"values": np.array([[object()]])}


def test_a_damaged_file_is_searched_for_again(tiny, cache, pictures):
    loaded = tiny()
    found = find_strongest(loaded, pictures, "conv2", cache)
    (file,) = cache.folder.iterdir()
    whole = file.read_bytes()
    broken = [whole[:100], b"", b"not a zip", whole[:200] + b"\0\0\0\0" + whole[204:]]
    for content in broken:
        file.write_bytes(content)
        assert cache.read(loaded, pictures, "conv2") is None
    for arrays in damaged_copies(found, pictures.count):
        np.savez(file, **arrays)
        assert cache.read(loaded, pictures, "conv2") is None
    assert equal(found, find_strongest(loaded, pictures, "conv2", cache))
    assert equal(found, cache.read(loaded, pictures, "conv2"))


def test_the_folder_stays_within_its_limit(tiny, tmp_path, pictures):
    loaded = tiny()
    small = PatchCache(tmp_path, 6500)
    for layer in ("conv1", "conv2", "relu2", "conv3"):
        small.read(loaded, pictures, "conv1")  # is in use, and stays
        find_strongest(loaded, pictures, layer, small)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 6500
    assert small.read(loaded, pictures, "conv1") and small.read(loaded, pictures, "conv3")
    assert small.read(loaded, pictures, "conv2") is None


def test_a_folder_that_cannot_be_written_to_costs_no_result(tiny, tmp_path, pictures):
    (tmp_path / "file").write_text("in the way")
    assert find_strongest(tiny(), pictures, "conv2", PatchCache(tmp_path / "file" / "patches")).seen == 40


def test_the_network_is_locked_for_every_batch(tiny, cache, pictures, watch):
    loaded = tiny()
    held = watch(loaded)
    find_strongest(loaded, pictures, "conv2", cache, lambda seen: held.append(loaded.lock.depth == 0))
    assert len(held) == 6 and all(held)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 7), (7, 7), (4, 3)])
def test_a_patch_is_what_the_unit_sees_with_padding_around_the_picture(tiny, picture, row, column):
    config = tiny().model.config
    pixels = np.asarray(picture)
    field, seen = fields(config)["relu3"], window(config, "relu3", row, column)
    patch = cut(pixels, field, row, column)
    assert patch.shape == (field.size, field.size, 3)
    top, left = field.offset + row * field.stride, field.offset + column * field.stride
    inside = patch[max(0, -top) : 16 - top, max(0, -left) : 16 - left]
    assert np.array_equal(inside, pixels[max(0, top) : top + field.size, max(0, left) : left + field.size])
    assert (patch == PADDING).all(axis=2).sum() >= field.size**2 - inside.shape[0] * inside.shape[1]
    assert inside.shape[0] >= seen.bottom - seen.top and inside.shape[1] >= seen.right - seen.left


def test_a_patch_beyond_the_picture_is_all_padding():
    away = cut(np.zeros((4, 4, 3), np.uint8), Field(3, 1, 10), 0, 0)
    assert (away == PADDING).all()


def test_all_layers_at_once_give_what_each_gives(tiny, tmp_path, pictures):
    loaded = tiny()
    together = find_in_all_layers(loaded, pictures)
    assert list(together) == list(loaded.model.layers)
    for layer, found in together.items():
        alone = find_strongest(loaded, pictures, layer, PatchCache(tmp_path))
        for name, values in vars(alone).items():
            np.testing.assert_array_equal(getattr(found, name), values, err_msg=f"{name} of {layer}")
