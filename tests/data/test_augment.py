"""Random changes of images: torchvision as the oracle for one image, statistics for the draws."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import map_coordinates
from scipy.ndimage import shift as scipy_shift
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from alexnet_explorer.config import DataConfig
from alexnet_explorer.data.augment import crop_range, draw, rotate_and_shift, seed_of, soften, window, zoom_in

ALL = ("flip", "crop", "pca-colour", "rotation", "shift", "blur", "zoom")
COVARIANCE = np.array([[0.07, 0.06, 0.05], [0.06, 0.065, 0.06], [0.05, 0.06, 0.07]])  # λ1 is 0.18, as photographs have
COUNT = 4000


def draws(augmentation=ALL, seed=0, epoch=0, count=COUNT, canvas=36, size=32, **fields):
    return draw(DataConfig(augmentation=augmentation, **fields), seed, epoch, count, canvas, size, COVARIANCE)


def uniform(values, low, high):
    """The probability that such a sample, or one farther off, comes from the uniform distribution."""
    return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue


def noise(side, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def smooth(side):
    """A picture without fine detail, so that ways of interpolating agree."""
    y, x = np.mgrid[:side, :side] / side
    channels = [np.sin(5 * x + 2 * y), np.cos(4 * y - x), np.sin(6 * x * y + 1)]
    return torch.from_numpy((127 + 100 * np.stack(channels, -1)).astype(np.uint8))


# Draws


def test_crops_and_mirrors_are_even():
    found = draws()
    for offsets in (found.top, found.left):
        counts = torch.bincount(offsets, minlength=5)
        assert len(counts) == 5 and stats.chisquare(counts).pvalue > 0.001
    assert stats.binomtest(int(found.flip.sum()), COUNT).pvalue > 0.001
    # Down and right are drawn apart.
    table = torch.bincount(found.top * 5 + found.left, minlength=25).reshape(5, 5)
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_angles_and_shifts_fill_their_ranges_evenly():
    found = draws(rotation=30, shift=0.2, canvas=40)
    assert uniform(found.angle, -math.pi / 6, math.pi / 6) > 0.001
    assert uniform(found.shift[:, 0], -8, 8) > 0.001 and uniform(found.shift[:, 1], -8, 8) > 0.001
    assert abs(np.corrcoef(found.shift.T)[0, 1]) < 4 / COUNT**0.5
    assert draws(rotation=10).angle.abs().max() <= math.radians(10)


def test_zooms_fill_their_range_evenly():
    zoom = draws(zoom=0.4).zoom
    assert uniform(zoom[:, 0], 0.4, 1) > 0.001
    assert uniform(zoom[:, 1], 0, 1) > 0.001 and uniform(zoom[:, 2], 0, 1) > 0.001
    assert np.abs(np.corrcoef(zoom.T) - np.eye(3)).max() < 4 / COUNT**0.5


def test_half_of_the_images_are_softened_by_an_even_share():
    blur = draws().blur
    assert stats.binomtest(int((blur > 0).sum()), COUNT).pvalue > 0.001
    assert uniform(blur[blur > 0], 0, 1) > 0.001


def test_softening_is_a_binomial_filter_mixed_in():
    x = torch.randn(3, 3, 9, 11).to(memory_format=torch.channels_last)
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(3, 1, 3, 3)
    blurred = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, groups=3)
    softened = soften(x, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(softened[0], x[0])
    torch.testing.assert_close(softened[1], 0.75 * x[1] + 0.25 * blurred[1])
    torch.testing.assert_close(softened[2], blurred[2])
    assert softened.is_contiguous(memory_format=torch.channels_last)


def test_colour_shifts_lie_along_the_principal_components():
    values, vectors = np.linalg.eigh(COVARIANCE)
    along = draws().colour.double().numpy() @ vectors
    # The paper's α λ p, brought from 0–1 to grey levels [4.1].
    for component, value in enumerate(values):
        assert along[:, component].std() == pytest.approx(0.1 * value * 255, rel=4 / (2 * COUNT) ** 0.5)
        assert stats.kstest(along[:, component] / (0.1 * value * 255), "norm").pvalue > 0.001
    # A few levels of 255: seen, but no other picture.
    assert 1 < draws().colour.abs().mean() < 5


def test_a_draw_belongs_to_seed_epoch_and_image():
    one, again = vars(draws()), vars(draws())
    assert all(torch.equal(one[name], again[name]) for name in one)
    for other in (vars(draws(seed=1)), vars(draws(epoch=1))):
        assert not any(torch.equal(one[name], other[name]) for name in one)
    picked = draws().of(torch.tensor([7, 3, 3900]), torch.device("cpu"))
    for name, values in vars(picked).items():
        assert torch.equal(values, one[name][[7, 3, 3900]])


@pytest.mark.parametrize("name", ALL)
def test_an_augmentation_draws_the_same_whatever_else_is_on(name):
    fields = {"flip": ["flip"], "crop": ["top", "left"], "pca-colour": ["colour"], "rotation": ["angle"],
              "shift": ["shift"], "blur": ["blur"], "zoom": ["zoom"]}  # fmt: skip
    alone, together = draws((name,)), draws()
    for field in fields[name]:
        assert torch.equal(getattr(alone, field), getattr(together, field))
    off = [field for other in ALL if other not in (name, "crop") for field in fields[other]]
    assert all(getattr(alone, field) is None for field in off)
    if name != "crop":
        assert set(alone.top.tolist()) == set(alone.left.tolist()) == {2}  # the centre


def test_draws_of_different_kinds_are_unrelated():
    found = draws()
    columns = [found.top, found.left, found.flip, found.angle, found.shift[:, 0], found.colour[:, 0], found.zoom[:, 0]]
    correlation = np.corrcoef(torch.stack([column.double() for column in columns]))
    assert np.abs(correlation - np.eye(7)).max() < 4.5 / COUNT**0.5


def test_near_keys_give_unrelated_seeds():
    keys = [(seed, epoch, stream) for seed in range(8) for epoch in range(8) for stream in range(1, 10)]
    seeds = {seed_of(*key) for key in keys} | {seed_of(seed, epoch) for seed in range(8) for epoch in range(8)}
    assert len(seeds) == 8 * 8 * 9 + 8**2
    bits = np.array([[value >> bit & 1 for bit in range(63)] for value in seeds])
    assert abs(bits.mean() - 0.5) < 4 * 0.5 / bits.size**0.5


def test_the_crop_stays_inside_a_larger_canvas_and_goes_an_eighth_beyond_one_of_the_same_size():
    assert crop_range(256, 227) == (0, 29)
    assert crop_range(32, 32) == (-4, 4)
    assert crop_range(33, 32) == (-4, 5)  # one pixel is no room to move in


# One image


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (-4, 3), (4, -4), (1, 2)])
def test_a_window_is_torchvisions_crop_of_the_padded_image(top, left, flip):
    images = torch.stack([noise(32, 1), noise(32, 2)])
    found = window(images, torch.tensor([1]), torch.tensor([top]), torch.tensor([left]), torch.tensor([flip]), 32)[0]
    padded = tv.pad(images[1].permute(2, 0, 1), [4] * 4, padding_mode="reflect")
    expected = tv.crop(padded, 4 + top, 4 + left, 32, 32)
    assert torch.equal(found, (tv.horizontal_flip(expected) if flip else expected).permute(1, 2, 0))


def test_a_window_of_a_larger_canvas_and_several_at_once():
    images = torch.stack([noise(12, seed) for seed in range(3)])
    index, top, left = torch.tensor([2, 0, 2]), torch.tensor([0, 4, 1]), torch.tensor([3, 4, 0])
    found = window(images, index, top, left, None, 8)
    for row, (i, y, x) in enumerate(zip(index, top, left, strict=True)):
        assert torch.equal(found[row], images[i, y : y + 8, x : x + 8])


@pytest.mark.parametrize("degrees", [-30, -7, 12, 30])
def test_a_rotation_is_torchvisions_away_from_the_border(degrees):
    image = smooth(64)
    found = rotate_and_shift(image[None], torch.tensor([math.radians(degrees)]), None)[0]
    expected = tv.rotate(image.permute(2, 0, 1), degrees, InterpolationMode.BILINEAR).permute(1, 2, 0)
    inside = slice(14, 50)
    difference = (found.int() - expected.int())[inside, inside].abs()
    assert difference.max() <= 2
    wrong_way = tv.rotate(image.permute(2, 0, 1), -degrees, InterpolationMode.BILINEAR).permute(1, 2, 0)
    assert (found.int() - wrong_way.int())[inside, inside].abs().max() > 10


@pytest.mark.parametrize(("degrees", "down", "right"), [(0, 7, 0), (0, 0, -5), (12, 6, -4), (-33, -3, 9), (90, 5, 2)])
def test_a_rotation_and_a_shift_together_are_torchvisions_away_from_the_border(degrees, down, right):
    image = smooth(64)
    angle, shift = torch.tensor([math.radians(degrees)]), torch.tensor([[down, right]], dtype=torch.float)
    found = rotate_and_shift(image[None], angle, shift)[0]
    # torchvision's angle goes clockwise here, and its shift comes after it, to the right and down.
    expected = tv.affine(image.permute(2, 0, 1), -degrees, [right, down], 1.0, [0.0], InterpolationMode.BILINEAR)
    known = tv.affine(torch.full((1, 64, 64), 255.0), -degrees, [right, down], 1.0, [0.0], InterpolationMode.BILINEAR)
    inside = known[0] > 254  # elsewhere torchvision sees black, and the image is mirrored here
    assert inside.float().mean() > 0.6
    assert (found.int() - expected.permute(1, 2, 0).int())[inside].abs().max() <= 1


def turned_and_moved(image, degrees, down, right):
    """SciPy's bilinear answer for the whole picture, mirrored at its border, by coordinates of our own."""
    side, angle = len(image), math.radians(degrees)
    middle = (side - 1) / 2
    y, x = np.mgrid[:side, :side].astype(np.float64)
    up, across = middle - (y - down), x - right - middle  # y grows downwards, angles upwards
    before_y = middle - (math.cos(angle) * up - math.sin(angle) * across)
    before_x = middle + math.sin(angle) * up + math.cos(angle) * across
    channels = [map_coordinates(channel, [before_y, before_x], order=1, mode="reflect")
                for channel in image.double().permute(2, 0, 1).numpy()]  # fmt: skip
    return np.stack(channels, -1)


@pytest.mark.parametrize("picture", [noise, smooth])
@pytest.mark.parametrize(
    ("degrees", "down", "right"), [(7, 0, 0), (-25, 0, 0), (180, 0, 0), (14, 3.3, -5.6), (-9, -8, 2.5)]
)
def test_the_whole_picture_is_turned_and_moved_as_scipy_does(picture, degrees, down, right):
    image = picture(33)
    angle, shift = torch.tensor([math.radians(degrees)]), torch.tensor([[down, right]], dtype=torch.float)
    found = rotate_and_shift(image[None], angle, shift)[0].numpy().astype(float)
    assert np.abs(found - turned_and_moved(image, degrees, down, right)).max() < 0.51  # rounded to whole levels


@pytest.mark.parametrize(("down", "right"), [(0.5, 0), (0, -0.25), (2.7, 3.1), (-4.4, 0.9)])
def test_a_fractional_shift_is_scipys(down, right):
    image = noise(24)
    found = rotate_and_shift(image[None], None, torch.tensor([[down, right]]))[0].numpy().astype(float)
    expected = scipy_shift(image.double().numpy(), (down, right, 0), order=1, mode="reflect")
    assert np.abs(found - expected).max() < 0.51


def test_a_positive_angle_turns_counter_clockwise():
    image = torch.zeros(1, 33, 33, 3, dtype=torch.uint8)
    image[0, 16, 28] = 255  # right of the centre
    turned = rotate_and_shift(image, torch.tensor([math.pi / 2]), None)[0, :, :, 0]
    assert turned[4, 16] > 250 and turned.int().sum() < 300  # now above it


@pytest.mark.parametrize("side", [16, 17])
def test_a_whole_shift_moves_pixels_and_mirrors_at_the_border(side):
    image = noise(side)
    down, right = 3, -2
    found = rotate_and_shift(image[None], None, torch.tensor([[down, right]], dtype=torch.float))[0]
    assert torch.equal(found[down:, :right], image[:-down, -right:])
    assert torch.equal(found[:down, :right], image[:down, -right:].flip(0))
    assert torch.equal(found[down:, right:], image[:-down, right:].flip(1))


def test_an_image_is_turned_about_its_centre_first_and_moved_then():
    image = smooth(64)
    angle, shift = torch.tensor([0.4]), torch.tensor([[5.0, -3.0]])
    both = rotate_and_shift(image[None], angle, shift)[0]
    after = rotate_and_shift(rotate_and_shift(image[None], angle, None), None, shift)[0]
    assert (both.int() - after.int())[20:44, 20:44].abs().max() <= 1


def test_every_image_of_a_batch_is_moved_by_its_own_draw():
    images = torch.stack([noise(16, seed) for seed in range(3)])
    angle, shift = torch.tensor([0.2, 0.0, -0.3]), torch.tensor([[1.0, 2.0], [0.0, 0.0], [-2.5, 0.5]])
    found = rotate_and_shift(images, angle, shift)
    assert torch.equal(found[1], images[1])
    for i in range(3):
        assert torch.equal(found[i], rotate_and_shift(images[i : i + 1], angle[i : i + 1], shift[i : i + 1])[0])


@pytest.mark.parametrize(("top", "left", "part"), [(0, 0, 16), (8, 4, 24), (12, 0, 20), (0, 0, 32)])
def test_a_zoom_is_torchvisions_resized_crop(top, left, part):
    image = noise(32)
    room = max(1, 32 - part)
    found = zoom_in(image[None], torch.tensor([[part / 32, top / room, left / room]]))[0]
    expected = tv.resized_crop(image.permute(2, 0, 1), top, left, part, part, [32, 32], antialias=False)
    expected = expected.permute(1, 2, 0)
    # At the part's border torchvision repeats its last pixels, where ours are those of the image around it.
    inside = slice(2, 30)
    assert (found.int() - expected.int())[inside, inside].abs().max() <= 1
