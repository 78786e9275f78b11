import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from alexnet_explorer.inspection.regions import COLUMNS, ROWS, in_words, strongest


@pytest.mark.parametrize("side", [16, 32, 227])
@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
def test_a_patch_is_found_where_it_lies(side, row, column):
    values = np.full((side, side), 1e-3)
    length = round(side * 0.31)  # a tenth of the picture
    top, left = round(row * side / 3 + 0.01 * side), round(column * side / 3 + 0.01 * side)
    values[top : top + length, left : left + length] = -1  # strength counts, not the sign
    found = strongest(values)
    assert found.place == f"{ROWS[row]} {COLUMNS[column]}"
    assert found.mask.sum() == round(side**2 / 10)
    assert found.share > 0.85
    assert found.down == pytest.approx((top / side, (top + length) / side), abs=0.06)
    assert found.across == pytest.approx((left / side, (left + length) / side), abs=0.06)


def test_an_even_map_has_a_tenth_of_the_total_in_a_tenth_of_the_picture():
    assert strongest(np.ones((40, 40))).share == pytest.approx(0.1)


def test_one_pixel_of_noise_is_no_region():
    values = np.zeros((64, 64))
    values[5, 60] = 3  # alone
    values[30:50, 10:30] = 1
    assert strongest(values).place == "middle left"


def test_words_tell_what_speaks_for_a_class_from_what_speaks_against_it():
    values = np.zeros((30, 30))
    values[:10, :10], values[20:, 20:] = 3, -1
    said = in_words(values, "Evidence for “cat”", True)
    assert said.startswith("Evidence for “cat”: 75% of it speaks for the class, strongest in the upper left of the ")
    assert "; 25% of it speaks against it, strongest in the lower right of the picture (" in said
    assert in_words(np.abs(values), "Map", False).startswith("Map: strongest in the upper left of the picture (")
    for signed in (True, False):
        assert in_words(np.zeros((5, 5)), "It", signed) == "It: nothing anywhere"
    assert "against" not in in_words(np.ones((8, 8)), "It", True)


@given(
    arrays(
        np.float32, some.tuples(some.integers(1, 20), some.integers(1, 20)), elements=some.floats(-1e3, 1e3, width=32)
    ),
    some.booleans(),
)
def test_every_map_has_words(values, signed):
    assert in_words(values, "It", signed).startswith("It: ")
    if found := strongest(values):
        assert 0 <= found.share <= 1 + 1e-9 and found.mask.sum() == max(1, round(values.size / 10))


def test_what_is_no_number_counts_as_nothing():
    values = np.ones((20, 20))
    values[:10] = np.nan
    assert strongest(values).place.startswith(("middle", "lower"))
    assert "100% of it speaks for the class" in in_words(values, "It", True)
