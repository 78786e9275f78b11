"""From one picture to what the network takes in."""

import time

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from alexnet_explorer.data.preprocess import Preprocessing, canvas_for

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 55.0, 50.0)


def preprocessing(canvas, size):
    return Preprocessing(canvas, size, torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1))


def picture(width, height, seed=0):
    """A photograph's smoothness, with some grain."""
    y, x = np.mgrid[:height, :width] / 20
    waves = np.stack([np.sin(x + y), np.cos(x - 2 * y), np.sin(3 * x)], -1)
    grain = np.random.default_rng(seed).normal(0, 10, (height, width, 3))
    return Image.fromarray((128 + 90 * waves + grain).clip(0, 255).astype(np.uint8))


def test_the_canvas_keeps_the_papers_proportion():
    assert canvas_for(256, 227) == 256 and canvas_for(256, 224) == 256
    assert canvas_for(500, 224) == 256 and canvas_for(160, 64) == 73
    assert canvas_for(32, 32) == canvas_for(8, 32) == 32
    assert canvas_for(36, 32) == 36


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (256, 256), (96, 64), (48, 16)])
@pytest.mark.parametrize(("canvas", "size"), [(64, 56), (32, 32)])
def test_it_is_torchvisions_resize_crop_and_normalise(width, height, canvas, size):
    image = picture(width, height)
    steps = [v2.Resize(canvas, v2.InterpolationMode.BILINEAR), v2.CenterCrop(size), v2.PILToTensor()]
    pixels = v2.Compose(steps)(image).float()
    expected = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    found = preprocessing(canvas, size)(image)
    assert found.shape == (1, 3, size, size) and found.dtype == torch.float32
    levels = (found[0] - expected).abs() * torch.tensor(STD).view(3, 1, 1)
    assert levels.max() < 1.01


def test_the_centre_is_cut_of_a_wide_and_of_a_tall_picture():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    for image in (wide, wide.transpose(1, 0, 2)):
        seen = np.asarray(preprocessing(20, 20).crop(Image.fromarray(image)))
        assert (seen == 255).all()


def test_grey_and_palette_pictures_are_read_as_colours():
    grey = picture(40, 40).convert("L")
    assert torch.equal(preprocessing(32, 32)(grey), preprocessing(32, 32)(grey.convert("RGB")))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2048, 1), (1, 2048), (7, 300)])
def test_the_narrowest_picture_takes_no_time_and_no_memory(width, height):
    start = time.perf_counter()
    assert preprocessing(256, 227)(picture(width, height)).isfinite().all()
    assert time.perf_counter() - start < 10


def test_denormalise_gives_the_pixels_back():
    chosen = preprocessing(16, 16)
    image = picture(16, 16)
    pixels = chosen.denormalise(chosen(image))
    assert pixels.shape == (1, 16, 16, 3)
    assert np.abs(pixels[0].numpy() * 255 - np.asarray(image)).max() < 1e-3


def test_a_grey_networks_input_is_shown_as_grey():
    grey = Preprocessing(16, 16, torch.full((1, 1, 1), 120.0), torch.full((1, 1, 1), 60.0))
    shown = grey.denormalise(grey(picture(16, 16)))
    assert shown.shape == (1, 16, 16, 3) and torch.equal(shown[..., 0], shown[..., 2])


def test_a_shift_is_added_before_scaling():
    chosen = preprocessing(16, 16)
    pixels = torch.randint(0, 200, (2, 16, 16, 3), dtype=torch.uint8)
    moved = chosen.normalise(pixels, torch.tensor([[10.0, 0.0, 0.0], [0.0, 0.0, -20.0]]))
    expected = pixels.clone().float()
    expected[0, ..., 0] += 10
    expected[1, ..., 2] -= 20
    expected = ((expected - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)
