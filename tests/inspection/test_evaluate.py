"""Errors of networks with known answers; ten-crop against torchvision's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from alexnet_explorer.data.packed import DataError
from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.inspection.evaluate import PICTURES_AT_ONCE, centre_view, evaluate, ten_crops
from alexnet_explorer.inspection.predict import probabilities

WHITE = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)


class Brightness(nn.Module):
    """Class k is the more probable the nearer the mean grey level is to 10 k: seven classes."""

    def forward(self, x):
        return -(x.mean((1, 2, 3))[:, None] - torch.arange(7) * 10.0).abs()


def grey(level, size=(16, 16)):
    return Image.new("RGB", size, (level,) * 3)


def photograph(size, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def brightness(wrap):
    loaded = wrap(Brightness())
    loaded.preprocessing = Preprocessing(16, 16, *WHITE)
    return loaded


def test_errors_are_the_shares_that_are_wrong(brightness):
    # A picture of level 0 has its classes in the order 0, 1, 2, …: its own class comes first, second, fifth, sixth.
    found = evaluate(brightness, [(grey(0), label) for label in (0, 0, 0, 1, 4, 5, 6, 0)])
    assert (found.n, found.views) == (8, 1)
    assert found.top1_error == 4 / 8
    assert found.top5_error == 2 / 8


def test_more_pictures_than_a_batch_are_read_one_after_the_other(brightness):
    read = []

    def pictures():
        for number in range(PICTURES_AT_ONCE * 2 + 3):
            read.append(number)
            yield grey(10 * (number % 7)), 3

    found = evaluate(brightness, pictures())
    count = PICTURES_AT_ONCE * 2 + 3
    assert (found.n, len(read)) == (count, count)
    assert found.top1_error == pytest.approx(sum(number % 7 != 3 for number in range(count)) / count)


def test_up_to_five_classes_the_top_five_are_never_wrong(tiny, picture):
    assert evaluate(tiny(), [(picture, 0)] * 3).top5_error == 0


def test_a_picture_is_seen_as_it_is_predicted(tiny):
    loaded = tiny()
    pictures = [photograph((40, 24), seed) for seed in range(12)]
    best = [int(probabilities(loaded, image).argmax()) for image in pictures]
    assert evaluate(loaded, zip(pictures, best, strict=True)).top1_error == 0
    shifted = [(label + 1) % 5 for label in best]
    assert evaluate(loaded, zip(pictures, shifted, strict=True)).top1_error == 1


def test_without_a_picture_there_is_nothing_to_evaluate(tiny):
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(tiny(), [])


def test_the_models_lock_is_held(tiny, picture, watch):
    loaded = tiny()
    held = watch(loaded)
    evaluate(loaded, [(picture, 0)])
    assert held == [True]


# Ten crops


@pytest.mark.parametrize(("canvas", "size"), [(32, 24), (37, 32), (64, 56)])
@pytest.mark.parametrize("shape", [(80, 60), (60, 91), (40, 40)])
def test_ten_crops_are_torchvisions(canvas, size, shape):
    from torchvision.transforms.functional import pil_to_tensor, ten_crop

    image = photograph(shape)
    whole = Preprocessing(canvas, canvas, *WHITE).crop(image)
    # torchvision mirrors before it cuts: where the centre is half a pixel off, its mirror image is another one.
    expected = {bytes(crop.permute(1, 2, 0).numpy()) for crop in ten_crop(pil_to_tensor(whole), [size, size])}
    found = ten_crops(Preprocessing(canvas, size, *WHITE), image)
    assert found.shape == (10, size, size, 3)
    same = {bytes(crop.numpy()) for crop in found} & expected
    assert len(same) == (10 if (canvas - size) % 2 == 0 else 9)


def test_where_the_canvas_is_the_input_the_corners_lie_an_eighth_outside():
    from torchvision.transforms.functional import pad, pil_to_tensor, ten_crop

    image = photograph((32, 32))
    padded = pad(pil_to_tensor(image), [4, 4, 4, 4], padding_mode="reflect")
    expected = {bytes(crop.permute(1, 2, 0).numpy()) for crop in ten_crop(padded, [32, 32])}
    found = ten_crops(Preprocessing(32, 32, *WHITE), image)
    assert {bytes(crop.numpy()) for crop in found} == expected
    assert torch.equal(found[4], centre_view(Preprocessing(32, 32, *WHITE), image)[0])


def test_the_softmax_of_ten_views_is_averaged(tiny):
    loaded = tiny()
    image = photograph((30, 20), 3)
    crops = ten_crops(loaded.preprocessing, image)
    shares = torch.stack([loaded.model(loaded.preprocessing.normalise(crop[None]))[0].softmax(0) for crop in crops])
    best = int(shares.mean(0).argmax())
    found = evaluate(loaded, [(image, best), (image, (best + 1) % 5)], ten_crops)
    assert (found.n, found.views, found.top1_error) == (2, 10, 0.5)


def test_where_views_disagree_their_mean_decides(wrap):
    class Side(nn.Module):
        """Sure of class 1 where the left half is brighter, and mildly of class 0 else."""

        def forward(self, x):
            left, right = x.mean(1).tensor_split(2, 2)
            brighter = (left.mean((1, 2)) > right.mean((1, 2))).float()
            return torch.stack([torch.zeros_like(brighter), 5 * brighter - 1 * (1 - brighter)], 1)

    loaded = wrap(Side())
    loaded.preprocessing = Preprocessing(16, 16, *WHITE)
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, 9:] = 255
    image = Image.fromarray(pixels)  # darker on the left, until it is mirrored
    assert evaluate(loaded, [(image, 0)]).top1_error == 0
    assert evaluate(loaded, [(image, 1)], ten_crops).top1_error == 0  # (0.73 + 0.01) / 2 against (0.27 + 0.99) / 2


def test_on_real_photographs_of_a_networks_classes():
    """CIFAR-10's test errors as the training of the gallery's model measured them, on its first pictures."""
    from alexnet_explorer.data.labelled import find_labelled
    from alexnet_explorer.runs import GALLERY, Run
    from alexnet_explorer.weights import load_weights

    folder = Path("~/.cache/alexnet_explorer/shared-data/cifar10/test").expanduser()
    if not folder.is_dir():
        pytest.skip("needs the JPEG copy of CIFAR-10, unpacked")
    run = Run(GALLERY / "alexnet-32-relu")
    loaded = load_weights(run.weights_file())
    labelled = find_labelled(folder, loaded.classes)
    pictures = [(Image.open(path).convert("RGB"), label) for path, label in labelled.pictures[::20]]
    found = evaluate(loaded, pictures)
    stated = run.status().summary
    assert found.n == 500
    assert found.top1_error == pytest.approx(stated["test/top1_error"], abs=0.05)  # three deviations of 500
    assert found.top5_error == pytest.approx(stated["test/top5_error"], abs=0.012)
