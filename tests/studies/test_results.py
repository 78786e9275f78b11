"""What a study makes of runs whose outcome is known."""

import json
import math

import pytest

from alexnet_explorer.studies.results import judge, outcome, results
from alexnet_explorer.studies.statistics import Estimate, Time
from alexnet_explorer.studies.study import Measure, parse
from alexnet_explorer.studies.survey import Shelf, survey

DROPOUT = """
id: dropout-digits
base: {preset: alexnet-32, data: digits}
factors: {dropout: {with: {}, without: {model.dropout: 0}}}
contrast: dropout
seeds: [1, 2, 3, 4]
stop: {epochs: 5}
claim: {says: without dropout it overfits, direction: higher}
"""

SPEED = """
id: relu-tanh
base: {preset: alexnet-32, data: digits, set: {train.clean_passes: 2}}
factors:
  activation: {relu: {}, tanh: {model.activation: tanh}}
  init: {2012: {model.init: "2012"}, modern: {}}
contrast: activation
headline: {init: 2012}
seeds: [1, 2, 3]
stop: {epochs: 10, until: {metric: clean/top1_error, at: 0.25}}
measure: {metric: clean/top1_error, to_reach: 0.25}
claim: {says: six times, direction: higher, size: 6, size_counts: true}
"""


@pytest.fixture
def read(tmp_path):
    return lambda study: results(survey(study, Shelf(tmp_path / "runs").runs()))


def test_before_any_run_there_is_no_verdict(read):
    found = read(parse(SPEED))
    assert [(row.id, row.verdict.word, row.estimate) for row in found.rows] == [
        ("relu-tanh", "not run yet", None), ("relu-tanh/tanh-modern", "not run yet", None),
    ]  # fmt: skip
    assert found.rows[0].to_json() == {
        "id": "relu-tanh", "name": "activation tanh against relu (init 2012)", "estimate": None, "interval": None,
        "bootstrap": None, "n": 0, "unit": "times the epochs", "p_value": None, "p_adjusted": None,
        "further_seeds": None, "verdict": "not run yet", "runs": [],
        "reason": "no pair of runs is done; it takes 12 runs",
    }  # fmt: skip
    assert found.warnings == []


def test_errors_are_paired_by_seed_and_told_in_points(read, finished, ended):
    study = parse(DROPOUT)
    base, other = study.arms()
    # The seeds differ by 10 points, the pairs by 2, 3, 4: only pairing tells that.
    for seed, difference in ((1, 0.02), (2, 0.03), (3, 0.04)):
        finished(study.config(base, seed), ended(0.1 * seed))
        finished(study.config(other, seed), ended(0.1 * seed + difference))
    finished(study.config(base, 4), ended(0.9))  # without its partner it says nothing
    (row,) = read(study).rows
    half = 4.302652729911275 / math.sqrt(3)  # Student's t for three differences with deviation 1
    assert row.estimate.value == pytest.approx(3) and row.estimate.n == 3 and row.seeds == (1, 2, 3)
    assert (row.estimate.low, row.estimate.high) == pytest.approx((3 - half, 3 + half))
    assert row.verdict.word == "held" and row.unit == "percentage points"
    assert row.verdict.reason == "+3.00 points (95 % interval +0.52 to +5.48, n = 3), 3 of 4 pairs so far"
    assert len(row.runs) == 6 and 2 < row.bootstrap[0] <= row.bootstrap[1] < 4
    assert row.p_adjusted is None  # one row alone
    json.dumps(row.to_json(), allow_nan=False)


def test_times_are_compared_as_ratios_and_the_size_counts(read, finished, falling):
    study = parse(SPEED)
    for arm in study.arms():
        slow = 2 if "tanh" in arm.name else 1
        for seed in study.seeds:
            finished(study.config(arm, seed), falling(slow * (2 + 0.1 * seed) + (0.1 * seed if slow > 1 else 0)))
    headline, other = read(study).rows
    expected = math.prod((2 * (2 + 0.1 * s) + 0.1 * s) / (2 + 0.1 * s) for s in (1, 2, 3)) ** (1 / 3)
    assert headline.estimate.value == pytest.approx(expected, rel=1e-6)
    assert headline.verdict.word == "contradicted" and "its size (6) is not" in headline.verdict.reason
    assert other.id == "relu-tanh/tanh-modern" and other.estimate.n == 3


def test_an_arm_that_never_arrives_is_a_bound_and_no_number(read, finished, falling):
    study = parse(SPEED)
    for arm in study.arms():
        for seed in study.seeds:
            finished(study.config(arm, seed), falling(100 if "tanh" in arm.name else 2 + 0.1 * seed))
    headline = read(study).rows[0]
    assert headline.estimate.value is None and headline.estimate.high == math.inf
    assert 3 < headline.estimate.low < 10 / 2.1
    assert headline.verdict.word == "held"  # six lies in it
    assert headline.to_json()["interval"][1] is None and headline.verdict.reason.startswith("more than 4.")


@pytest.mark.parametrize(
    ("estimate", "p", "word"),
    [
        (None, None, "not run yet"),
        (Estimate(2, 1, 3, 5, 0.01), None, "held"),
        (Estimate(2, 1, 3, 5, 0.03), 0.06, "open"),  # one of many
        (Estimate(2, -1, 5, 5, 0.2), None, "open"),
        (Estimate(-2, -3, -1, 5, 0.01), None, "contradicted"),
        (Estimate(2, -math.inf, math.inf, 1, None), None, "open"),
    ],
)
def test_verdicts_rest_on_the_interval(estimate, p, word):
    assert judge(parse(DROPOUT), estimate, p).word == word


def test_a_study_without_a_claim_tells_a_difference_and_judges_nothing():
    study = parse(DROPOUT.replace("claim:", "notes: x\n# "))
    assert judge(study, Estimate(-2, -3, -1, 5, 0.01)).word == "difference"
    assert judge(study, Estimate(-2, -3, 1, 5, 0.1)).word == "open"


def test_a_factorial_study_gives_effects_and_holm_looks_after_their_number(read, finished, ended):
    study = parse(DROPOUT.replace("contrast: dropout", "").replace("without: {model.dropout: 0}}",
                  "without: {model.dropout: 0}}, lrn: {on: {}, off: {model.lrn: false}}"))  # fmt: skip
    for arm in study.arms():
        levels = dict(arm.levels)
        effect = 0.04 * (levels["dropout"] == "without") - 0.02 * (levels["lrn"] == "off")
        for seed in study.seeds:
            finished(study.config(arm, seed), ended(0.3 + effect + 0.002 * math.sin(7 * seed + 3 * len(arm.name))))
    rows = {row.name: row for row in read(study).rows}
    assert list(rows) == ["dropout", "lrn", "dropout × lrn"]
    assert rows["dropout"].estimate.value == pytest.approx(4, abs=0.5)
    assert rows["lrn"].estimate.value == pytest.approx(-2, abs=0.5)
    assert all(row.p_adjusted >= row.estimate.p_value for row in rows.values())


def test_an_outcome_is_the_last_value_or_the_time(finished, small, falling):
    run = finished(small(train__clean_passes=2), falling(3.3))
    assert outcome(run, Measure(metric="clean/top1_error")) == 0
    time = outcome(run, Measure(metric="clean/top1_error", to_reach=0.25))
    assert time == Time(pytest.approx(3.3), True)
    assert outcome(run, Measure(metric="clean/top1_error", to_reach=0.25, along="images")).value == pytest.approx(422.4)
    assert outcome(finished(small(), falling(40)), Measure(metric="clean/top1_error", to_reach=0.25)) == Time(10, False)
    assert outcome(run, Measure(metric="test/top1_error")) is None


def test_what_stands_against_the_rows_is_said(read, finished, ended):
    study = parse(DROPOUT + "sweep: {values: [0.01, 0.03, 0.1], epochs: 2}")
    base, other = study.arms()
    for value, error in ((0.01, 0.2), (0.03, 0.3), (0.1, 0.4)):
        finished(study.config(base, 1000, value, 2), ended(error))
        for _ in range(2):
            finished(study.config(other, 1000, value, 2), [], state="failed", message="the loss is not a number")
    finished(study.config(base, 1, 0.01), ended(0.1))
    finished(study.config(base, 2, 0.01), ended(0.1), code="other")
    warnings = " | ".join(read(study).warnings)
    assert "dropout with: the best value of the sweep, 0.01, is the outermost" in warnings
    assert "seed 1000, 0.1 in the sweep: failed 2 times (the loss is not a number)" in warnings
    assert "dropout without: no value of the sweep trains" in warnings
    assert "computed on 2 versions of the code" in warnings
