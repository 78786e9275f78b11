"""The intervals of the table of studies."""

import math

import pytest

from alexnet_explorer.studies.statistics import Estimate
from alexnet_explorer.ui.ledger_table import _interval


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.0, math.inf, None), (-math.inf, math.inf, None), (6.11, 7.35, "[6.11, 7.35]"), (1.2, math.inf, "[1.20, open]")],
)
def test_of_one_pair_there_is_no_interval_and_of_a_limit_one_end(low, high, text):
    assert _interval(Estimate(1.76, low, high, 1, None)) == text
