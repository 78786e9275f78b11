"""The intervals of the table of studies."""

import math

import pytest

from alexnet_explorer.studies.ledger import results_of, shipped
from alexnet_explorer.studies.statistics import Estimate
from alexnet_explorer.ui.ledger_table import _interval, row


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.0, math.inf, None), (-math.inf, math.inf, None), (6.11, 7.35, "[6.11, 7.35]"), (1.2, math.inf, "[1.20, open]")],
)
def test_of_one_pair_there_is_no_interval_and_of_a_limit_one_end(low, high, text):
    assert _interval(Estimate(1.76, low, high, 1, None)) == text


def test_rows_of_one_claim_say_what_tells_them_apart(tmp_path):
    """Of relu-speed four rows have the same claim; a part of a claim is told once."""
    study = shipped()["relu-speed"]
    (found,) = results_of([study], tmp_path)
    cells = [row(found, line) for line in found.rows]
    assert study.claim
    whole = [cell["comparison"] for cell in cells if cell["claim"] == study.claim.says]
    assert len(set(whole)) == 4 and whole[0] == "activation tanh against relu (weights 2012, input 2012)"
    assert [cell["comparison"] for cell in cells if cell["claim"] != study.claim.says] == [""]


def test_a_study_that_asks_nothing_names_its_rows_whole(tmp_path):
    study = shipped()["relu-speed"].model_copy(update={"claim": None})
    (found,) = results_of([study], tmp_path)
    assert row(found, found.rows[0])["comparison"] == "activation tanh against relu (weights 2012, input 2012)"
