"""What a study makes of runs whose outcome is known."""

import json
import math

import numpy as np
import pytest

from alexnet_explorer.files import write_json
from alexnet_explorer.studies.ledger import results_of
from alexnet_explorer.studies.results import judge, outcome, results
from alexnet_explorer.studies.statistics import Estimate, Time
from alexnet_explorer.studies.study import Measure, parse
from alexnet_explorer.studies.survey import Shelf, survey
from alexnet_explorer.ui import study_builder

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
        "bootstrap": None, "bootstrap_note": "", "n": 0, "unit": "times the epochs", "claimed": 6.0, "p_value": None,
        "p_adjusted": None, "further_seeds": None, "further": "", "verdict": "not run yet", "runs": [],
        "reason": "no pair of runs is done; this row lacks 6 runs",
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
    assert row.verdict.word == "open" and row.further == ""
    assert row.verdict.reason.endswith("n = 3), 3 of 4 pairs so far: the verdict waits for all of them")
    (row,) = read(study.model_copy(update={"seeds": (1, 2, 3)})).rows
    half = 4.302652729911275 / math.sqrt(3)  # Student's t for three differences with deviation 1
    assert row.estimate.value == pytest.approx(3) and row.estimate.n == 3 and row.seeds == (1, 2, 3)
    assert (row.estimate.low, row.estimate.high) == pytest.approx((3 - half, 3 + half))
    assert row.verdict.word == "held" and row.unit == "percentage points"
    assert row.verdict.reason == "+3.00 points (95 % interval +0.52 to +5.48, n = 3)"
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
    assert headline.verdict.word == "held" and "size (6) is in the interval, neither shown" in headline.verdict.reason
    assert headline.to_json()["interval"][1] is None and headline.verdict.reason.startswith("more than 4.")


@pytest.mark.parametrize(
    ("estimate", "p", "word"),
    [
        (Estimate(2, 1, 3, 5, 0.01), None, "held"),
        (Estimate(2, 1, 3, 5, 0.03), 0.06, "open"),  # one of many
        (Estimate(2, -1, 5, 5, 0.2), None, "open"),
        (Estimate(-2, -3, -1, 5, 0.01), None, "contradicted"),
        (Estimate(2, -math.inf, math.inf, 1, None), None, "open"),
    ],
)
def test_verdicts_rest_on_the_interval(estimate, p, word):
    assert judge(parse(DROPOUT).claim, estimate, False, "", p).word == word


def test_a_study_without_a_claim_tells_a_difference_and_judges_nothing():
    assert judge(None, Estimate(-2, -3, -1, 5, 0.01), False, "").word == "difference"
    assert judge(None, Estimate(-2, -3, 1, 5, 0.1), False, "").word == "open"


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


def test_pairs_that_were_lost_leave_the_question_open(read, finished, ended):
    """Those that are left may be the lucky ones."""
    study = parse(DROPOUT)
    base, other = study.arms()
    for seed, difference in ((1, 0.02), (2, 0.03), (3, 0.04), (4, None)):
        finished(study.config(base, seed), ended(0.3))
        if difference:
            finished(study.config(other, seed), ended(0.3 + difference))
    for _ in range(2):
        finished(study.config(other, 4), [], state="failed", message="the loss is not a number")
    found = read(study)
    (row,) = found.rows
    assert row.verdict.word == "open" and row.further == "" and row.estimate.low > 0
    assert "3 of 4 pairs: runs of the others failed" in row.verdict.reason
    assert any("delete these runs to have it tried again" in said for said in found.warnings)


@pytest.mark.parametrize("design", ["one-off", "one-on", "full"])
def test_a_claim_says_the_same_in_every_design(read, finished, ended, design):
    study = parse(
        DROPOUT.replace("contrast: dropout", "contrast: dropout" if design == "full" else f"design: {design}")
    )
    for arm in study.arms():
        for seed in study.seeds:
            finished(study.config(arm, seed), ended(0.3 + (0.02 + 0.001 * seed) * ("without" in arm.name)))
    (row,) = read(study).rows
    assert (row.verdict.word, row.estimate.value) == ("held", pytest.approx(2.25))
    assert row.name == "dropout without against with"


@pytest.mark.parametrize("size", [2, -2])
def test_a_size_that_counts_is_below_no_difference_where_less_is_claimed(size):
    claim = parse(DROPOUT).claim.model_copy(update={"direction": "lower", "size": size, "size_counts": True})
    words = [
        judge(claim, Estimate(-1, low, high, 5, 0.01), False, "") for low, high in ((-0.5, -0.1), (-3, -2.5), (-3, -1))
    ]
    assert [verdict.word for verdict in words] == ["contradicted", "held", "held"]
    assert ["neither shown nor excluded" in verdict.reason for verdict in words] == [False, False, True]


def test_rows_that_have_no_runs_yet_are_among_those_that_holm_looks_after(read, finished, ended):
    study = parse(TWO + "design: one-off\n")
    base, dropout, _ = study.arms()
    for seed in study.seeds:
        finished(study.config(base, seed), ended(0.3))
        finished(study.config(dropout, seed), ended(0.32 + 0.001 * seed))
    first, second = read(study).rows
    assert first.p_adjusted == pytest.approx(2 * first.estimate.p_value) and second.p_adjusted is None


def test_a_run_that_was_there_at_its_first_look_is_told(read, finished):
    study = parse(ARRIVAL)
    for place, arm in enumerate(study.arms()):
        rows = [{"step": n, "epoch": float(n), "seconds": float(n), "images": n, "val/top1_error": error}
                for n, error in ((1, 0.2 if place == 0 else 0.5), (2, 0.1))]  # fmt: skip
        finished(study.config(arm, 1), rows)
    found = read(study)
    assert found.outcomes[study.arms()[0], 1][1] == Time(1, True, at_first=True)
    assert (
        "1 of the runs were there already when they were first looked at: their true times are shorter"
        in found.warnings
    )


def test_other_devices_and_for_seconds_other_machines_are_told(read, finished, falling):
    study = parse(SPEED.replace("to_reach: 0.25", "to_reach: 0.25, along: seconds"))
    for arm in study.arms():
        run = finished(study.config(arm, 1), falling(3))
        env = {
            "device": "cpu" if "relu" in arm.name else "cuda",
            "precision": "fp32",
            "hardware": arm.name,
            "code": "c0de",
        }
        write_json(run.path / "env.json", env)
    said = " ".join(read(study).warnings)
    assert "on 2 kinds of device or precision" in said and "on 4 kinds of machines" in said
    assert "machines" not in " ".join(read(parse(SPEED)).warnings)


def test_a_study_that_this_version_does_not_know_hides_no_other(tmp_path):
    good = parse(DROPOUT)
    base = good.base.model_copy(update={"set": {"train.gone": 1}})
    bad, fine = results_of([good.model_copy(update={"base": base}), good], tmp_path / "runs")
    assert bad.rows[0].verdict.word == "cannot be evaluated" and "train.gone" in bad.rows[0].verdict.reason
    assert fine.rows[0].verdict.word == "not run yet"


TWO = """
id: two
base: {preset: alexnet-32, data: digits}
factors: {dropout: {with: {}, without: {model.dropout: 0}}, lrn: {on: {}, off: {model.lrn: false}}}
seeds: [1, 2, 3]
stop: {epochs: 10}
"""
ARRIVAL = TWO + "measure: {metric: val/top1_error, to_reach: 0.25}\n"


def arrivals(rows):
    """Rows of clean passes as rows of validations."""
    return [{name.replace("clean", "val"): value for name, value in row.items()} for row in rows]


def test_effects_on_times_are_ratios_and_an_arm_that_does_not_arrive_makes_them_bounds(read, finished, falling):
    study = parse(ARRIVAL)
    at = {("with", "on"): 2, ("without", "on"): 3, ("with", "off"): 4, ("without", "off"): 9}
    for arm in study.arms():
        for seed in study.seeds:
            time = at[tuple(level for _, level in arm.levels)] * (1 + 0.01 * seed * len(arm.name) % 0.03)
            finished(study.config(arm, seed), arrivals(falling(time)))
    rows = {row.name: row for row in read(study).rows}
    assert rows["dropout"].estimate.value == pytest.approx(math.sqrt(1.5 * 9 / 4), rel=0.02)
    assert rows["dropout × lrn"].estimate.value == pytest.approx(9 / 4 / 1.5, rel=0.04)
    assert rows["dropout"].unit == "times the epochs" and rows["dropout"].verdict.word == "difference"
    assert rows["dropout × lrn"].unit == "times the ratio of epochs"
    assert "times the ratio of epochs (95 % interval" in rows["dropout × lrn"].verdict.reason
    low, high = rows["dropout"].bootstrap
    assert 1 < low < rows["dropout"].estimate.value < high
    assert rows["dropout"].bootstrap_note == f"bootstrap {low:.2f} to {high:.2f}"


def test_effects_of_times_that_ran_out_are_bounds_and_a_row_that_nothing_says_anything_of_is_open(
    read, finished, falling
):
    study = parse(ARRIVAL)
    for arm in study.arms():
        for seed in study.seeds:
            late = "lrn off" in arm.name  # both arms without it never arrive
            finished(study.config(arm, seed), arrivals(falling(99 if late else 2 + 0.1 * seed)))
    rows = {row.name: row for row in read(study).rows}
    assert rows["lrn"].estimate.value is None and rows["lrn"].estimate.low > 1
    assert rows["lrn"].verdict.word == "difference" and rows["lrn"].bootstrap is None
    assert rows["lrn"].bootstrap_note == "no bootstrap: a time that ran out cannot be drawn"
    silent = rows["dropout"]
    assert silent.estimate.n == 0 and silent.verdict.word == "open" and silent.further_seeds is None
    assert "3 of them say nothing" in silent.verdict.reason and "cannot be told" in silent.further
    json.dumps([row.to_json() for row in rows.values()], allow_nan=False)


@pytest.mark.parametrize(
    ("measure", "arrives"), [*((measure, True) for measure in study_builder.MEASURES), (study_builder.ARRIVAL, False)]
)
@pytest.mark.parametrize("design", study_builder.DESIGNS)
def test_every_study_of_the_builder_is_read_with_no_seed_one_and_all(
    design, measure, arrives, read, finished, falling, ended
):
    factors = ["dropout", "lrn", "pooling"]
    until = 0.25 if measure == study_builder.ARRIVAL else 0.0
    plan = study_builder.Plan(factors=factors, design=design, seeds=3, epochs=5, measure=measure, until=until)
    study = study_builder.made(plan)
    ids = [row.id for row in read(study).rows]
    for number, seed in enumerate(study.seeds):
        for place, arm in enumerate(study.arms()):
            at = 2 + 0.2 * place + 0.1 * number if arrives or place % 2 else 99
            finished(study.config(arm, seed), [*arrivals(falling(at)), *ended(0.1 + 0.01 * place * number)])
        found = read(study)
        assert [row.id for row in found.rows] == ids and len(set(ids)) == len(ids)
        assert all(len(row.seeds) == number + 1 for row in found.rows)
        json.dumps([row.to_json() for row in found.rows], allow_nan=False)


def test_in_a_design_of_one_at_a_time_no_row_is_the_headline_unless_named_and_ids_are_their_own(read, finished, ended):
    one_off = TWO + "design: one-off\n"
    study = parse(one_off)
    for arm in study.arms():
        off = sum(level in ("off", "without") for _, level in arm.levels)
        for seed in study.seeds:
            finished(study.config(arm, seed), ended(0.3 + off * (0.02 + 0.005 * math.sin(seed * len(arm.name)))))
    first, second = read(study).rows
    assert (first.id, second.id) == ("two/dropout-without", "two/lrn-off")
    assert sorted((first.p_adjusted, second.p_adjusted)) == pytest.approx(
        sorted([2 * min(first.estimate.p_value, second.estimate.p_value),
                max(2 * min(first.estimate.p_value, second.estimate.p_value),
                    first.estimate.p_value, second.estimate.p_value)])
    )  # fmt: skip
    headline, other = read(parse(one_off + "headline: {lrn: off}\n")).rows
    assert (headline.id, other.id) == ("two", "two/dropout-without")
    assert headline.name == "lrn off against on" and headline.p_adjusted is other.p_adjusted is None


def test_labels_that_look_alike_in_ids_are_told_apart(read):
    study = parse("""
id: alike
base: {preset: alexnet-32, data: digits}
factors: {dropout: {none: {}, "0.1": {model.dropout: 0.1}, "0 1": {model.dropout: 0.3}, "ä": {model.dropout: 0.4}}}
design: one-off
seeds: [1]
stop: {epochs: 10}
""")
    assert [row.id for row in read(study).rows] == ["alike/dropout-0-1", "alike/dropout-0-1-2", "alike/dropout"]


def test_what_holm_made_open_needs_the_seeds_that_settle_it_under_holm(read, finished, ended):
    study = parse(TWO.replace("[1, 2, 3]", "[1, 2, 3, 4, 5]"))
    noise = np.random.default_rng(3).normal(size=(5, 4))
    for arm in study.arms():
        effect = 0.013 * ("without" in arm.name)
        for seed, row in zip(study.seeds, noise, strict=True):
            finished(study.config(arm, seed), ended(0.3 + effect + 0.01 * row[study.arms().index(arm)]))
    rows = {row.name: row for row in read(study).rows}
    decided = [row for row in rows.values() if row.estimate.p_value < 0.05 <= row.p_adjusted]
    assert decided, {name: (row.estimate, row.p_adjusted) for name, row in rows.items()}
    for row in decided:
        assert row.verdict.word == "open" and "p by Holm" in row.verdict.reason
        assert row.further_seeds > 0 and f"About {row.further_seeds} more seed" in row.further
    for row in rows.values():  # effects, too, say how many more
        assert (row.further == "") == (row.verdict.word != "open")


def test_out_of_reach_and_unknown_are_two_things(read, finished, ended):
    study = parse(DROPOUT)
    base, other = study.arms()
    for seed, difference in ((1, 0.05), (2, -0.05), (3, 0.0001)):
        finished(study.config(base, seed), ended(0.3))
        finished(study.config(other, seed), ended(0.3 + difference))
        (row,) = read(study.model_copy(update={"seeds": tuple(range(1, seed + 1))})).rows
        if seed == 1:
            assert row.further == "How many more seeds would settle it cannot be told from these."
    assert row.further_seeds == math.inf and row.to_json()["further_seeds"] is None
    assert row.further == "It would take more than 1000 seeds more to settle it, if they go on like these."


ASPECTS = DROPOUT.replace("digits}", "digits, set: {train.clean_passes: 1}}").replace(
    "direction: higher}",
    """direction: higher, aspects: [
  {id: overfitting, says: It overfits., measure: {metric: test/top1_error, less: clean/top1_error}, direction: higher},
  {id: imagenet, says: On ImageNet too., takes: a cluster}]}""",
)


def test_the_parts_of_a_claim_are_measured_on_the_same_runs_or_say_what_they_would_take(read, finished, ended):
    study = parse(ASPECTS)
    for seed in study.seeds:
        for arm, test, clean in zip(study.arms(), (0.3, 0.32), (0.25, 0.1), strict=True):
            clean_pass = {"step": 9, "epoch": 5.0, "clean/top1_error": clean - 0.01 * seed}
            finished(study.config(arm, seed), [*ended(test + 0.001 * seed * ("without" in arm.name)), clean_pass])
    claim, overfitting, imagenet = read(study).rows
    assert claim.id == "dropout-digits" and claim.estimate.value == pytest.approx(2.25)
    assert overfitting.id == "dropout-digits/overfitting" and overfitting.estimate.value == pytest.approx(17.25)
    assert overfitting.verdict.word == "held" and len(overfitting.runs) == 8 and overfitting.p_adjusted is None
    assert overfitting.name == "It overfits (dropout without against with; test/top1_error less clean/top1_error)"
    told = imagenet.to_json()
    assert (told["id"], told["verdict"], told["reason"]) == (
        "dropout-digits/imagenet", "not testable here", "it would take a cluster"
    )  # fmt: skip
    assert (told["estimate"], told["interval"], told["n"], told["runs"]) == (None, None, 0, [])


def test_runs_that_did_not_measure_it_are_told(read, finished, ended):
    study = parse(DROPOUT + "measure: {metric: test/top5_error}\n")
    base, other = study.arms()
    finished(study.config(base, 1), ended(0.2))
    run = finished(study.config(other, 1), ended(0.3))
    found = read(study)
    assert found.rows[0].verdict.word == "not run yet" and found.outcomes == {}
    assert any(warning.startswith("2 of the runs that are done did not measure test/top5_error") and run.id in warning
               for warning in found.warnings)  # fmt: skip


@pytest.mark.parametrize("state", ["interrupted", "stopped", "paused"])
def test_runs_that_will_not_come_by_themselves_are_named_with_their_state(state, read, finished, ended):
    study = parse(DROPOUT)
    finished(study.config(study.arms()[1], 3), [], state=state, message="its process ended; it can be resumed")
    assert read(study).warnings == [
        f"dropout without, seed 3: {state} at epoch 5 of 5 (its process ended; it can be resumed); it is missing here"
    ]


def test_what_a_fraction_cannot_tell_apart_is_said(read):
    half = parse(TWO.replace("factors: {", "factors: {input: {a: {}, b: {data.scaling: '2012'}}, ").replace(
        "stop:", "design: fractional\ngenerators: {lrn: [input, dropout]}\nstop:"))  # fmt: skip
    warnings = read(half).warnings
    assert len(warnings) == 3 and any(said.startswith("lrn cannot be told from input × dropout") for said in warnings)
    four = parse(TWO.replace("factors: {", "factors: {input: {a: {}, b: {data.scaling: '2012'}}, weights: {a: {}, b: "
                 "{model.init: '2012'}}, ").replace(
        "stop:", "design: fractional\ngenerators: {lrn: [input, weights, dropout]}\nstop:"))  # fmt: skip
    assert len(read(four).warnings) == 3
    assert "dropout × lrn and input × weights cannot be told from one another" in " | ".join(read(four).warnings)
    assert read(parse(TWO)).warnings == []


def test_a_row_that_was_not_run_says_what_itself_lacks(read, finished, falling):
    study = parse(SPEED.replace("claim:", "hours: 6\nclaim:"))
    relu, *_ = study.arms()
    finished(study.config(relu, 1), falling(3))
    headline, other = read(study).rows
    assert headline.verdict.reason == (
        "no pair of runs is done; this row lacks 5 runs, 2.5 h of 2 cores at most, less as runs end where the error is "
        "reached"
    )
    assert "this row lacks 6 runs, 3 h of 2 cores" in other.verdict.reason


def test_pairs_of_which_neither_arrives_are_done_and_say_nothing(read, finished, falling):
    study = parse(SPEED)
    for arm in study.arms():
        for seed in study.seeds:
            finished(study.config(arm, seed), falling(100))
    headline = read(study).rows[0]
    assert headline.verdict.word == "open" and headline.estimate.n == 0 and headline.seeds == study.seeds
    assert headline.verdict.reason.startswith("not known how many times the epochs; 3 of them say nothing")


def test_a_reading_compares_within_each_run_and_what_was_not_read_is_told(read, finished, ended):
    study = parse("""
id: crops
base: {preset: alexnet-32, data: digits}
seeds: [1, 2, 3, 4]
stop: {epochs: 10}
measure: {reading: ten-crop}
claim: {says: Ten are better., direction: higher}
""")
    assert read(study).rows[0].verdict.reason == "no pair of runs is done; this row lacks 4 runs"
    for seed in study.seeds:
        run = finished(study.config(study.arms()[0], seed), ended(0.2))
        if seed < 4:
            (run.path / "readings.json").write_text(json.dumps({"ten-crop": [0.2, 0.21 + 0.01 * seed]}))
    found = read(study)
    (row,) = found.rows
    assert row.estimate.value == pytest.approx(3) and row.seeds == (1, 2, 3) and row.unit == "percentage points"
    assert found.warnings == [
        "the reading of 1 of the runs that are done was not taken yet; 'study run crops' takes it"
    ]
