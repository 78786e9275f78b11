"""What is said of pictures that may spoil a training."""

import io

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.config import DataConfig
from alexnet_explorer.data.advice import advice
from alexnet_explorer.data.batches import split_indices
from alexnet_explorer.data.packed import PackedWriter

CONFIG = DataConfig(val_fraction=0.2)


def photographs(count, size=48, seed=0):
    """Smooth random pictures, no two alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 7, 7, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC)) for one in small])


@pytest.fixture
def packed_of(data_root):
    """A set of so many pictures of each class; some may be put in the place of others."""

    def build(counts, images=None, test=None):
        images = photographs(sum(counts.values())) if images is None else images
        with PackedWriter("own", list(counts), images.shape[1]) as writer:
            writer.add("train", images, np.repeat(np.arange(len(counts)), list(counts.values())))
            if test is not None:
                writer.add("test", test, [0] * len(test))
            return writer.finish()

    return build


def test_nothing_is_said_where_all_is_well(packed_of):
    assert advice(packed_of({"cat": 30, "dog": 40, "gnu": 25}), CONFIG) == []


def test_few_pictures_of_a_class(packed_of):
    (sentence,) = advice(packed_of({"cat": 30, "dog": 19, "gnu": 25, "emu": 12}), CONFIG)
    assert sentence.startswith("Fewer than 20 pictures of emu (12), dog (19): ")


def test_unbalanced_classes(packed_of):
    (sentence,) = advice(packed_of({"cat": 25, "dog": 76}), CONFIG)
    assert sentence.startswith("There are 76 pictures of dog, and 25 of cat: ")
    assert advice(packed_of({"cat": 25, "dog": 75}), CONFIG) == []


def test_a_class_that_validation_does_not_see(packed_of):
    sentences = advice(packed_of({f"kind {number}": 2 for number in range(30)}), DataConfig(val_fraction=0.05))
    assert "and 27 more: " in sentences[0]
    assert "is among the 3 kept for validation" in sentences[1]


def copies(packed, change):
    """The same set, with training pictures, changed, in the place of three validation pictures."""
    indices = split_indices(packed, CONFIG)
    images = np.array(packed.images("train"))
    for place, original in zip(indices["val"][:3].tolist(), indices["train"][:3].tolist(), strict=True):
        images[place] = change(images[original])
    return images


def as_jpeg(image):
    file = io.BytesIO()
    small = Image.fromarray(image).resize((40, 40), Image.Resampling.BICUBIC)
    small.save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file).resize(image.shape[:2], Image.Resampling.BICUBIC))


@pytest.mark.parametrize(("change", "exact", "near"), [(lambda image: image, 3, 0), (as_jpeg, 0, 3)])
def test_copies_between_training_and_validation(packed_of, change, exact, near):
    counts = {"cat": 30, "dog": 30}
    packed = packed_of(counts, copies(packed_of(counts), change))
    (sentence,) = advice(packed, CONFIG)
    assert f"Of the 12 pictures kept for validation, {exact} are also" in sentence
    assert f"and {near} more look nearly the same" in sentence


def test_copies_among_the_test_images(packed_of):
    images = photographs(60)
    test = np.concatenate([images[:2], photographs(5, seed=1)])
    (sentence,) = advice(packed_of({"cat": 30, "dog": 30}, images, test), CONFIG)
    assert "Of the 7 pictures kept for test, 2 are also" in sentence


def test_other_colours_are_another_picture(packed_of):
    counts = {"cat": 30, "dog": 30}
    packed = packed_of(counts, copies(packed_of(counts), lambda image: image[..., ::-1]))
    assert advice(packed, CONFIG) == []


def test_copies_are_not_looked_for_in_large_sets_and_that_is_said(packed_of, monkeypatch):
    from alexnet_explorer.data import advice as module

    counts = {"cat": 30, "dog": 30}
    packed = packed_of(counts, copies(packed_of(counts), lambda image: image))
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    (sentence,) = advice(packed, CONFIG)
    assert "are not compared" in sentence and "also among" not in sentence
