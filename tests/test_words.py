import math

import pytest

from alexnet_explorer.words import duration, number_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (840, "14 min"),
        (3899, "1 h 04 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(20262.0, "20262"), (-3.0, "-3"), (0.0123456, "0.01235"), (1e12, "1e+12"), (math.nan, "nan"), (math.inf, "inf")],
)
def test_whole_numbers_keep_all_of_their_digits(value, text):
    assert number_text(value) == text
