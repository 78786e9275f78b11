"""The parts of the views that can be wrong without anyone seeing it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from alexnet_explorer.inspection.mosaic import mosaic
from alexnet_explorer.ui.views import COLUMN_GAP, PAGE_PIXELS, column, layout, where


def tiles(count, side):
    return np.broadcast_to(np.float32(1), (count, side, side))


@given(some.integers(1, 4096), some.integers(1, PAGE_PIXELS // 4 - COLUMN_GAP), some.integers(1, 4))
def test_a_row_of_mosaics_is_no_wider_than_the_page(count, side, networks):
    made = layout(tiles(count, side), column(networks))
    assert 1 <= made["columns"] <= count and made["zoom"] >= 1
    width = made["columns"] * (side * made["zoom"] + 1) - 1
    assert networks * width + (networks - 1) * COLUMN_GAP <= PAGE_PIXELS <= 940  # the column in a window of 1400 pixels


@pytest.mark.parametrize(
    ("count", "side", "networks"),
    [(1, 1, 1), (10, 1, 2), (1000, 1, 1), (4096, 1, 4), (32, 5, 2), (96, 11, 4), (1, 13, 1), (256, 13, 3), (64, 55, 3)],
)
def test_the_mosaic_is_as_wide_as_the_layout_says(count, side, networks):
    made = layout(tiles(count, side), column(networks))
    height, width, _ = mosaic(tiles(count, side), **made).shape
    assert width == made["columns"] * (side * made["zoom"] + 1) - 1
    assert height <= 3 * PAGE_PIXELS
    assert side * made["zoom"] >= 2  # a single value is more than a dot


def test_maps_of_two_networks_are_enlarged_rather_than_put_into_half_of_the_space():
    for networks in (1, 2):
        assert layout(tiles(32, 32), column(networks))["zoom"] >= 2


def test_ten_classes_stand_in_one_row():
    assert [layout(tiles(10, 1), column(networks))["columns"] for networks in (1, 2, 3, 4)] == [10] * 4


@pytest.mark.parametrize("side", [3, 13, 32, 227])
@pytest.mark.parametrize(
    ("row", "column", "name"),
    [(0, 0, "upper left"), (1, 1, "middle centre"), (2, 0, "lower left"), (0, 2, "upper right")],
)
def test_a_map_in_words_names_the_ninth_where_it_is_strong(side, row, column, name):
    values = np.zeros((side, side), np.float32)
    place = [round((position + 0.5) * side / 3 - 0.5) for position in (row, column)]
    values[tuple(place)] = -3  # strength counts, not the sign
    assert where(values, "Unit 7") == f"Unit 7: strongest in the {name} ninth of the picture, 100% of the total"


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 5)])
def test_small_maps_have_words_too(shape):
    assert "100% of the total" in where(np.eye(*shape, dtype=np.float32)[:1], "It")
    assert where(np.zeros(shape, np.float32), "It") == "It: nothing anywhere"
