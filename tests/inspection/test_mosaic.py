import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alexnet_explorer.inspection.mosaic import (
    TITLE_PIXELS,
    colormap_of,
    colour_table,
    colourise,
    encircled,
    fitted,
    heat_limit,
    limits,
    mosaic,
    named_grid,
    outlined,
    overlay,
    own_scales,
    scale_of,
    titled,
    to_jpeg,
    to_png,
)


def lightness(colours):
    from skimage.color import rgb2lab

    return rgb2lab(colours[None] / 255.0)[0, :, 0]


@pytest.mark.parametrize("colormap", ["viridis", "magma", "grey"])
def test_magnitudes_grow_lighter_evenly(colormap):
    steps = np.diff(lightness(colour_table(colormap))[::15])
    assert (steps > 0).all() and steps.max() < 2 * steps.mean()


def test_signed_values_grow_darker_on_both_sides_of_white():
    table = colour_table("diverging")
    light = lightness(table)
    assert light[127:129].min() > 95 and (np.diff(light[:128]) > -0.5).all() and (np.diff(light[128:]) < 0.5).all()
    assert np.abs(light - light[::-1]).max() < 6  # neither sign looks stronger
    assert table[0, 2] > table[0, 0] and table[-1, 0] > table[-1, 2]  # blue is negative, red positive


def test_limits_are_symmetric_for_signed_values_and_tight_for_others():
    values = np.array([-1.0, 0.5, 3.0, np.nan, np.inf])
    assert limits(values, "diverging") == (-3, 3)
    assert limits(values, "viridis") == (-1, 3)
    assert limits(np.array([np.nan])) == (0, 0)


def test_zero_is_white_whatever_the_range():
    white = colour_table("diverging")[128]
    assert (colourise(np.array([-1.0, 0.0, 9.0]), "diverging")[1] == white).all()
    assert (colourise(np.zeros(3), "diverging") == white).all()


def test_limits_get_the_ends_of_the_table_and_beyond_them_too():
    table = colour_table("viridis")
    colours = colourise(np.array([[-5.0, 0.0], [10.0, np.inf]]), "viridis", vmin=0, vmax=10)
    np.testing.assert_array_equal(colours, [[table[0], table[0]], [table[255], table[255]]])
    assert (colourise(np.zeros((2, 2)), "viridis") == table[0]).all()


def test_what_is_not_a_number_is_grey():
    assert colourise(np.array([0.0, np.nan, 1.0]))[1].tolist() == [128, 128, 128]


@given(
    count=st.integers(1, 20), height=st.integers(1, 4), width=st.integers(1, 4), gap=st.integers(0, 3),
    zoom=st.integers(1, 3), columns=st.one_of(st.none(), st.integers(1, 25)),
)  # fmt: skip
def test_every_tile_is_found_again_in_its_place(count, height, width, gap, zoom, columns):
    tiles = np.random.default_rng(count).integers(0, 255, (count, height, width, 3), dtype=np.uint8)
    picture = mosaic(tiles, columns, gap, zoom)
    across = min(columns or int(np.ceil(np.sqrt(count))), count)
    down = -(-count // across)
    row, column = height * zoom + gap, width * zoom + gap
    assert picture.shape == (down * row - gap, across * column - gap, 3)
    covered = np.zeros(picture.shape[:2], bool)
    for number, tile in enumerate(tiles):
        top, left = number // across * row, number % across * column
        place = np.s_[top : top + height * zoom, left : left + width * zoom]
        np.testing.assert_array_equal(picture[place][::zoom, ::zoom], tile)
        np.testing.assert_array_equal(picture[place], np.kron(tile, np.ones((zoom, zoom, 1), np.uint8)))
        covered[place] = True
    assert (picture[~covered] == 255).all()


def test_tiles_share_one_scale():
    tiles = np.stack([np.full((2, 2), value) for value in (0.0, 1.0, 2.0)])
    picture = mosaic(tiles, columns=3, gap=0)
    np.testing.assert_array_equal(picture[0, ::2], colourise(np.array([0.0, 1.0, 2.0])))
    np.testing.assert_array_equal(mosaic(tiles[1:2], vmin=0, vmax=2), colourise(tiles[1], vmin=0, vmax=2))


def test_shares_become_bytes():
    tiles = np.array([0.0, 0.5, 1.0, 7.0, np.nan], np.float32).reshape(1, 5, 1, 1).repeat(3, -1)
    assert mosaic(tiles)[:, 0, 0].tolist() == [0, 128, 255, 255, 128]


def test_gaps_can_be_told_from_tiles_of_zeros():
    picture = mosaic(np.zeros((2, 1, 1)), columns=2, colormap="diverging")
    assert (picture[0, 1] == 0).all() and picture[0, 0].min() > 240


def test_overlay_is_the_blend_of_a_grey_picture_and_the_maps_colours():
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    heat = generator.normal(size=(6, 6)).astype(np.float32)
    grey = np.asarray(Image.fromarray(picture).convert("L"), float)[..., None]
    for signed, colours in (
        (True, colourise(np.clip(heat, -1, 1), "diverging", -1 / 0.8, 1 / 0.8)),
        (False, colourise(heat, "magma", 0, 1)),
    ):
        result = overlay(picture, heat, signed, alpha=0.25, limit=1)
        np.testing.assert_allclose(result, 0.75 * grey + 0.25 * colours, atol=0.5)
        np.testing.assert_array_equal(overlay(picture, heat, signed, alpha=1, limit=1), colours)


def test_overlay_enlarges_the_map_bilinearly():
    heat = np.random.default_rng(0).random((5, 4), np.float32)
    result = overlay(np.zeros((20, 12, 3), np.uint8), heat, signed=False, alpha=1, limit=1)
    larger = F.interpolate(torch.from_numpy(heat)[None, None], (20, 12), mode="bilinear")[0, 0].numpy()
    assert np.abs(result.astype(int) - colourise(larger, "magma", 0, 1)).max() <= 3


def test_one_outlier_does_not_leave_the_rest_dark():
    heat = np.ones((20, 20), np.float32)
    heat[3, 3] = -1000
    assert heat_limit(heat) == 1


def test_the_limit_of_sparse_empty_and_broken_maps():
    heat = np.zeros((20, 20), np.float32)
    assert heat_limit(heat) == 0
    heat[0, 0] = 7
    assert heat_limit(heat) == 7
    assert heat_limit(np.full((2, 2), np.nan)) == 0


@pytest.mark.parametrize("value", [0, np.nan])
def test_a_map_of_nothing_lays_no_signal_over_the_picture(value):
    result = overlay(np.full((4, 4, 3), 90, np.uint8), np.full((2, 2), value), signed=True)
    assert (result == result[0, 0]).all()


@pytest.mark.parametrize(("colours", "mode"), [(1, "P"), (2, "P"), (256, "P"), (257, "RGB")])
def test_png_gives_the_same_pixels_back(colours, mode):
    rng = np.random.default_rng(0)
    table = np.unique(rng.integers(0, 256, (2000, 3), dtype=np.uint8), axis=0)
    picture = rng.permutation(table)[np.arange(17 * 19) % colours].reshape(17, 19, 3)
    data = to_png(picture)
    assert data.startswith(b"\x89PNG")
    image = Image.open(io.BytesIO(data))
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), picture)


def test_a_mosaic_of_maps_is_half_as_large_with_a_palette():
    maps = np.random.default_rng(0).normal(size=(16, 30, 30))
    picture = mosaic(maps, colormap="magma", zoom=2)
    plain = io.BytesIO()
    Image.fromarray(picture).save(plain, "PNG")
    assert len(to_png(picture)) < 0.6 * len(plain.getvalue())


def test_each_map_on_its_own_scale_fills_it():
    maps = np.array([[[0, 2], [1, 0]], [[0, -8], [4, 0]], [[0, 0], [0, 0]]], np.float32)
    expected = np.array([[[0, 1], [0.5, 0]], [[0, -1], [0.5, 0]], [[0, 0], [0, 0]]], np.float32)
    np.testing.assert_array_equal(own_scales(maps), expected)
    assert own_scales(np.array([[[np.nan, 4.0]]]))[0, 0, 1] == 1


@pytest.mark.parametrize(("bottom", "right"), [(16, 18), (4, 3), (7, 6), (8, 18)])
def test_an_outline_lies_on_the_border_of_its_rectangle_and_nowhere_else(bottom, right):
    picture = np.full((20, 20, 3), 90, np.uint8)
    result = outlined(picture, 3, 2, bottom, right)
    changed = (result != picture).any(-1)
    inside = np.zeros((20, 20), bool)
    inside[3:bottom, 2:right] = True
    border = inside.copy()
    border[6 : bottom - 3, 5 : right - 3] = False
    np.testing.assert_array_equal(changed, border)
    assert (result[3, 2:right] == 255).all() and (result[bottom - 1, 2:right] == 255).all()
    assert (picture == 90).all()


@pytest.mark.parametrize(("height", "width", "side"), [(3, 3, 10), (5, 4, 10), (30, 20, 10), (10, 10, 10), (1, 1, 7)])
def test_pictures_fit_into_squares(height, width, side):
    pictures = np.full((2, height, width, 3), 40, np.uint8)
    result = fitted(pictures, side)
    assert result.shape == (2, side, side, 3)
    zoom = side // max(height, width)
    area = height * width * zoom**2 if zoom else side * (side * width // height)
    assert (result == 40).all(-1).sum() == 2 * area and ((result == 40) | (result == 255)).all()


def test_the_names_of_a_grid_stand_outside_of_its_tiles():
    tiles = np.random.default_rng(0).integers(0, 255, (2, 3, 20, 20, 3), dtype=np.uint8)
    sheet = named_grid(tiles, ["unit 5", "unit 66"], ["conv1", "relu1", "pool1"], gap=4)
    grid = mosaic(tiles.reshape(6, 20, 20, 3), 3, 4)
    top, left = (sheet.shape[axis] - grid.shape[axis] for axis in (0, 1))
    np.testing.assert_array_equal(sheet[top:, left:], grid)
    assert (sheet[:top] < 100).any() and (sheet[top:, :left] < 100).any()


def test_where_a_last_row_has_no_tiles_it_stays_white():
    picture = mosaic(np.zeros((3, 4, 4)), columns=2, colormap="diverging")
    assert (picture[5:, 4:] == 255).all() and (picture[4, :] == 0).all()


def test_one_scale_for_all_is_about_zero_where_any_value_is_below():
    positive, signed = np.array([0.0, 2.0], np.float32), np.array([[-3.0, 1.0]], np.float32)
    assert scale_of([positive]) == (0.0, 2.0)
    assert scale_of([positive, signed]) == (-3.0, 3.0)
    assert scale_of([]) == (0.0, 0.0)
    assert [colormap_of(scale_of([values])) for values in (positive, signed)] == ["viridis", "diverging"]


def test_a_jpeg_is_nearly_the_picture_with_a_fraction_of_the_bytes():
    noise = np.random.default_rng(0).normal(127, 3, (120, 160, 3)) + np.linspace(-90, 90, 160)[:, None]
    picture = noise.astype(np.uint8)
    data = to_jpeg(picture)
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG" and len(data) < 0.4 * len(to_png(picture))
    assert np.abs(np.asarray(image).astype(int) - picture).mean() < 4


def test_a_line_runs_around_a_part_of_a_picture():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 3:7] = True
    picture = np.full((16, 16, 3), 100, np.uint8)
    result = encircled(picture, mask)
    inside = mask.repeat(2, 0).repeat(2, 1)
    assert (picture == 100).all()
    assert (result[inside].reshape(8, 8, 3)[[0, -1]] == 0).all() and (
        result[inside].reshape(8, 8, 3)[1:-1, 1:-1] == 100
    ).all()
    assert (result[3, 6:14] == 255).all() and (result[~inside] != 0).all()
    assert (result == 255).all(-1).sum() == 4 * 8
    assert (encircled(picture, np.ones((4, 4), bool)) == 100).all()  # all of it: there is nothing to go around


def test_a_title_stands_above_a_picture_and_is_cut_off_where_there_is_no_room():
    picture = np.zeros((30, 120, 3), np.uint8)
    short, long, longer = (
        titled(picture, words) for words in ("Map", "A title of many words", "A title of many words more")
    )
    assert short.shape == (30 + TITLE_PIXELS, 120, 3)
    assert (short[TITLE_PIXELS:] == 0).all() and (short[:TITLE_PIXELS] < 128).any()
    assert (long == longer).all() and (short != long).any()
    assert (long[:TITLE_PIXELS, 0] > 128).all()
