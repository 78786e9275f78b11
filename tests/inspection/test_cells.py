"""Numbers as coloured cells: what can be wrong without anyone seeing it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from alexnet_explorer.inspection.cells import (
    CAPTION,
    GAP,
    LARGEST,
    LEGIBLE,
    captioned,
    cells,
    places,
    sheet,
    side,
    written,
)
from alexnet_explorer.inspection.mosaic import colourise


def corners(picture, size, shape):
    """The colour in the corner of each cell, where no number stands: (h, w, 3)."""
    return picture[1 :: size + GAP, 1 :: size + GAP][: shape[0], : shape[1]]


@pytest.mark.parametrize("size", [10, LEGIBLE, LARGEST])
def test_each_cell_has_the_colour_of_its_number(size):
    values = np.array([[-2.0, 0.0, 1.0], [0.5, 2.0, -1.0]])
    picture = cells(values, size, "diverging", -2, 2)
    assert picture.shape == (2 * (size + GAP) - GAP, 3 * (size + GAP) - GAP, 3)
    np.testing.assert_array_equal(corners(picture, size, values.shape), colourise(values, "diverging", -2, 2))


def test_a_number_is_written_where_there_is_room_for_it():
    values = np.array([[0.25]])
    for size in (LEGIBLE - 1, LEGIBLE):
        shades = np.unique(cells(values, size, "viridis", 0, 1).reshape(-1, 3), axis=0)
        assert (len(shades) > 1) is (size == LEGIBLE)
    one, other = (cells(np.array([[number]]), LEGIBLE, "viridis", 0, 1) for number in (0.25, 0.26))
    assert (one != other).any()


def test_a_negative_number_has_its_sign_though_the_font_lacks_the_minus():
    drawn = cells(np.array([[-0.5], [0.5]]), LEGIBLE, "grey", -9, 9)
    ink = [int((part != part[1, 1]).any(axis=-1).sum()) for part in (drawn[:LEGIBLE], drawn[LEGIBLE + GAP :])]
    # A hyphen more, not the box that stands for a character that is not there.
    assert 2 <= ink[0] - ink[1] <= 12


def test_padding_is_hatched_whatever_its_number():
    inside = np.array([[True, False]])
    one, other = (cells(np.array([[1.0, number]]), 20, "viridis", 0, 1, inside) for number in (0.0, 1.0))
    np.testing.assert_array_equal(one, other)
    padding = one[:, 20 + GAP :]
    assert len(np.unique(padding.reshape(-1, 3), axis=0)) == 2 and (padding.std(axis=-1) == 0).all()


def test_what_is_not_a_number_does_not_stop_it():
    assert cells(np.array([[np.nan, np.inf, -1.0]]), LEGIBLE, "diverging", -1, 1).shape == (LEGIBLE, 116, 3)


@given(some.integers(1, 11), some.integers(100, 500))
def test_cells_find_room(columns, space):
    size = side(columns, space)
    assert size <= LARGEST and columns * (size + GAP) - GAP <= space


@pytest.mark.parametrize(
    ("largest", "decimals"), [(1.23, 2), (0.0123, 4), (123.0, 0), (99.0, 1), (1e7, 0), (1e-20, 9), (0, 0), (np.inf, 0)]
)
def test_decimals_for_three_digits(largest, decimals):
    assert places(largest) == decimals


def test_numbers_as_they_are_written():
    assert [written(value, 2) for value in (1.239, -1.239, -0.001, 0.0)] == ["1.24", "−1.24", "0.00", "0.00"]


def test_tiles_stand_in_the_middle_above_their_captions():
    tiles = [np.full((10, 12, 3), shade, np.uint8) for shade in (10, 20, 30)]
    picture = captioned(tiles, ["a", "b", "−c"], 40, 2)
    assert picture.shape == (2 * (10 + CAPTION) + GAP, 2 * 40 + GAP, 3)
    assert [picture[5, 20, 0], picture[5, 41 + 20, 0], picture[29 + 5, 20, 0]] == [10, 20, 30]
    assert (picture[:10, :14] == 255).all() and (picture[10:28, :40] < 128).any()


def test_a_sheet_has_every_picture_at_its_own_size():
    first, second = np.full((4, 9, 3), 7, np.uint8), np.full((5, 3, 3), 8, np.uint8)
    made = sheet([first, second])
    assert made.shape == (4 + 5 + 24, 9, 3)
    assert (made[:4] == 7).all() and (made[16:21, :3] == 8).all() and (made[16:21, 3:] == 255).all()
