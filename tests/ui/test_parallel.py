"""Parallel coordinates: where runs and ticks are on an axis. What the browser makes of it is in tests/browser."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_explorer.comparing import Dimension, dimension
from alexnet_explorer.figures import DASHES
from alexnet_explorer.ui import parallel
from alexnet_explorer.ui.parallel import axis


def test_words_are_as_far_apart_as_there_is_room():
    found = axis(dimension("activation", ["tanh", "relu", "sigmoid", "relu"]))
    assert found["ticks"] == [[0, "relu"], [0.5, "sigmoid"], [1, "tanh"]]
    assert found["at"] == [1, 0, 0.5, 0]


def test_few_rates_are_apart_where_they_are_settings_and_to_scale_where_they_are_results():
    rates = dimension("rate", [0.001, 0.1, 0.01, None])
    few, scaled = axis(rates, apart=True), axis(rates)
    assert few["ticks"] == [[0, "0.001"], [0.5, "0.01"], [1, "0.1"]] and few["at"] == [0, 1, 0.5, None]
    assert scaled["at"] == [0, 1, pytest.approx(0.0909, abs=1e-4), None]
    assert [text for _, text in scaled["ticks"]] == ["0.02", "0.04", "0.06", "0.08", "0.1"]


def test_long_whole_numbers_stay_apart():
    seeds = axis(dimension("seed", [20261, 20262, 20263]), apart=True)
    assert [text for _, text in seeds["ticks"]] == ["20261", "20262", "20263"]


def test_one_value_is_in_the_middle_and_none_is_nowhere():
    assert axis(dimension("seed", [3, 3])) == {"title": "seed", "ticks": [[0.5, "3"]], "at": [0.5, 0.5]}
    assert axis(Dimension("nothing", np.array([np.nan, np.inf])))["at"] == [None, None]


NUMBERS = st.floats(-1e9, 1e9).map(lambda number: round(number, 6))


@given(st.lists(NUMBERS | st.just(float("nan")), min_size=1, max_size=30), st.booleans())
def test_runs_and_ticks_are_on_the_axis_in_the_order_of_their_values(values, apart):
    found = axis(Dimension("x", np.array(values)), apart=apart)
    assert all(0 <= place <= 1 for place, _ in found["ticks"])
    there = sorted((value, place) for value, place in zip(values, found["at"], strict=True) if place is not None)
    assert len(there) == sum(np.isfinite(values))
    assert all(0 <= place <= 1 for _, place in there)
    assert all(first <= second for (_, first), (_, second) in pairwise(there))
    assert len(found["ticks"]) <= max(parallel.FEW, 2 * parallel.TICKS)


def test_every_dash_of_a_run_is_known():
    assert set(DASHES) <= set(parallel._DASHES)
