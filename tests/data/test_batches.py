"""Which images a run sees, in which order, and how they look when they reach the network."""

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_explorer.data.batches import TrainingData, preprocessing_for, resize
from alexnet_explorer.data.preprocess import LUMA

CPU = torch.device("cpu")


@pytest.fixture
def data(packed, small):
    """Builds the data of a run on `packed`, with some fields of its config changed."""

    def build(packed=packed, dtype=torch.float32, **settings):
        return TrainingData(packed, small(**settings), CPU, dtype)

    return build


def seen(batches):
    return torch.cat([batch.index for batch in batches])


def test_every_training_image_comes_once_an_epoch_in_an_order_of_its_own(data, packed):
    one = data()
    first, second = seen(one.training(0)), seen(one.training(1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == one.indices["train"].tolist()
    assert not torch.equal(first, second)
    assert torch.equal(first, seen(data().training(0)))
    assert not torch.equal(first, seen(data(train__seed=1).training(0)))
    batches = list(one.training(0))
    assert [len(batch.y) for batch in batches] == [20] * 5 + [8] and one.steps() == 6
    for batch in batches:
        assert torch.equal(batch.y, torch.tensor(packed.labels("train"))[batch.index])


def test_validation_images_are_never_trained_on_and_stay_the_same_for_paired_seeds(data):
    one, other = data(), data(train__seed=1)
    train, val = set(one.indices["train"].tolist()), set(one.indices["val"].tolist())
    assert len(val) == 12 and not train & val and train | val == set(range(120))
    assert torch.equal(one.indices["val"], other.indices["val"])
    assert not torch.equal(one.indices["val"], data(data__split_seed=1).indices["val"])
    assert len(data(data__val_fraction=0.5).indices["val"]) == 60
    assert len(data(data__val_fraction=0.001).indices["val"]) == 1


@pytest.mark.parametrize("first", [0, 1, 4, 6])
def test_going_on_in_the_middle_of_an_epoch_gives_the_same_batches(data, first):
    whole = list(data().training(2))
    rest = list(data().training(2, first))
    assert len(rest) == len(whole) - first
    for one, other in zip(rest, whole[first:], strict=True):
        assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y) and torch.equal(one.index, other.index)


def test_an_image_looks_the_same_whatever_the_batch_it_is_in(data):
    def images(**settings):
        return {int(i): x for batch in data(**settings).training(0) for i, x in zip(batch.index, batch.x, strict=True)}

    one, other = images(), images(train__batch_size=7)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[i], other[i]) for i in one)


def test_evaluation_shows_every_image_once_unchanged(data, packed):
    one = data()
    for part, split in (("train", "train"), ("val", "train"), ("test", "test")):
        batches = list(one.evaluation(part))
        index = seen(batches)
        assert index.tolist() == one.indices[part].tolist() and len(index) == one.count(part)
        pixels = torch.from_numpy(packed.images(split)[index.numpy()].astype(np.float32))
        mean, std = torch.tensor(packed.mean), torch.tensor(packed.std)
        expected = ((pixels - mean) / std).permute(0, 3, 1, 2).float()
        torch.testing.assert_close(torch.cat([batch.x for batch in batches]), expected, rtol=0, atol=1e-5)
        assert torch.equal(torch.cat([batch.y for batch in batches]), torch.tensor(packed.labels(split))[index])


def test_a_set_larger_than_one_evaluation_batch(data, pack):
    one = data(pack("many", count=600, test=0))
    assert seen(one.evaluation("train")).tolist() == one.indices["train"].tolist()
    assert one.count("test") == 0


def test_without_augmentation_training_sees_what_evaluation_sees(data):
    one = data(data__augmentation="")
    evaluated = {int(i): x for batch in one.evaluation("train") for i, x in zip(batch.index, batch.x, strict=True)}
    for batch in one.training(0):
        assert all(torch.equal(x, evaluated[int(i)]) for i, x in zip(batch.index, batch.x, strict=True))


def test_standard_scaling_gives_each_channel_mean_0_and_deviation_1(data):
    one = data(data__augmentation="", data__val_fraction=0.01)
    x = torch.cat([batch.x for part in ("train", "val") for batch in one.evaluation(part)])
    assert x.mean((0, 2, 3)).abs().max() < 1e-4
    assert (x.std((0, 2, 3)) - 1).abs().max() < 1e-3


def test_the_scaling_of_2012_subtracts_the_mean_image_and_nothing_else(data, packed):
    one = data(data__scaling="2012", data__augmentation="", data__val_fraction=0.01)
    batches = [*one.evaluation("train"), *one.evaluation("val")]
    order, x = seen(batches).argsort(), torch.cat([batch.x for batch in batches])
    pixels = packed.images("train").astype(np.float64)
    expected = torch.from_numpy((pixels - pixels.mean(0)).transpose(0, 3, 1, 2)).float()
    torch.testing.assert_close(x[order], expected, rtol=0, atol=1e-3)
    assert x.abs().max() > 100  # grey levels, not deviations


def test_the_mean_image_is_cut_as_the_pictures_are(pack, data_root, small):
    packed = pack("larger", size=18)
    mean = preprocessing_for(packed, small(data__scaling="2012")).mean
    assert torch.equal(mean.permute(1, 2, 0), torch.from_numpy(packed.mean_image()[1:17, 1:17]))


def test_a_colour_shift_is_added_in_grey_levels(data, packed):
    plain, coloured = data(data__augmentation=""), data(data__augmentation="pca-colour")
    std = torch.tensor(packed.std)
    for one, other in zip(plain.training(0), coloured.training(0), strict=True):
        levels = (other.x - one.x) * std[:, None, None].float()
        shift = levels.mean((2, 3))
        assert (levels - shift[:, :, None, None]).abs().max() < 1e-3  # the same for every pixel of an image
        assert 0.1 < shift.abs().max() < 60
        assert shift.std(0).min() > 0.01  # and another for each image


def test_a_grey_network_sees_the_luma(data, packed):
    one = data(model__in_channels=1, data__augmentation="pca-colour")
    (batch, *_) = one.training(0)
    assert batch.x.shape == (20, 1, 16, 16)
    (evaluated, *_) = one.evaluation("val")
    pixels = packed.images("train")[evaluated.index.numpy()]
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels]).astype(np.float32)
    mean, std = (np.dot(values, LUMA) for values in (packed.mean, packed.std))
    assert np.abs(evaluated.x[:, 0].numpy() * std + mean - grey).max() < 1.01  # Pillow rounds down


def test_half_precision_batches_are_the_rounded_ones(data):
    for one, half in zip(data().training(0), data(dtype=torch.bfloat16).training(0), strict=True):
        assert half.x.dtype == torch.bfloat16 and torch.equal(half.x, one.x.bfloat16())


def test_batches_lie_channels_last_without_a_copy(data):
    for batch in data().training(0):
        assert batch.x.is_contiguous(memory_format=torch.channels_last)


def test_a_channel_that_never_changes_gives_numbers(data, data_root, small):
    from alexnet_explorer.data.packed import PackedWriter

    with PackedWriter("green", ["a", "b"], 16) as writer:
        images = np.zeros((40, 16, 16, 3), np.uint8)
        images[..., 1] = np.random.default_rng(0).integers(0, 256, (40, 16, 16))
        writer.add("train", images, [0, 1] * 20)
        green = writer.finish()
    for scaling in ("standard", "2012"):
        assert all(batch.x.isfinite().all() for batch in data(green, data__scaling=scaling).training(0))


# Sizes that differ from the network's


@pytest.mark.parametrize(("native", "canvas"), [(8, 16), (16, 16), (18, 18), (20, 20), (21, 18), (64, 18)])
def test_images_of_any_size_become_the_networks(pack, data, data_root, native, canvas):
    one = data(pack(f"side {native}", size=native))
    assert one.preprocessing.canvas == canvas
    for batch in (*one.training(0), *one.evaluation("test")):
        assert batch.x.shape[1:] == (3, 16, 16) and batch.x.isfinite().all()


def test_resizing_agrees_with_pillow():
    images = np.random.default_rng(0).integers(0, 256, (4, 21, 21, 3), dtype=np.uint8)
    for side in (9, 18, 40):
        found = resize(torch.from_numpy(images), side).numpy().astype(int)
        for image, ours in zip(images, found, strict=True):
            pillow = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)).astype(int)
            assert np.abs(pillow - ours).max() <= 1


def picture_and_batch(packed, one):
    """What prediction and what training's evaluation make of the same test images."""
    pictures = [Image.fromarray(image) for image in packed.images("test")]
    return torch.cat([one.preprocessing(picture) for picture in pictures]), torch.cat(
        [b.x for b in one.evaluation("test")]
    )


@pytest.mark.parametrize("scaling", ["standard", "2012"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("native", [16, 19])
def test_a_picture_is_seen_in_prediction_as_it_was_in_training(pack, data, data_root, native, scaling, channels):
    packed = pack(size=native, test=6)
    one = data(packed, data__scaling=scaling, model__in_channels=channels)
    predicted, trained = picture_and_batch(packed, one)
    assert torch.equal(predicted, trained)


@pytest.mark.parametrize("native", [8, 64])
def test_a_picture_of_another_size_is_seen_nearly_the_same(pack, data, data_root, native):
    packed = pack(size=native, test=6)
    one = data(packed)
    predicted, trained = picture_and_batch(packed, one)
    levels = (predicted - trained).abs() * torch.tensor(packed.std).view(3, 1, 1)
    assert levels.max() < 1.01
