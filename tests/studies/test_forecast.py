"""What a study will take, by the cost of its arms and the runs that are there."""

from dataclasses import replace

import pytest

from alexnet_explorer.studies.forecast import MOST_MEASURED, Cost, cost_of, forecast, ledger_hours, measurable
from alexnet_explorer.studies.study import parse
from alexnet_explorer.studies.survey import Shelf, survey

STUDY = """
id: mine
base: {preset: alexnet-32, data: digits}
factors: {dropout: {with: {}, without: {model.dropout: 0}}}
contrast: dropout
seeds: [1, 2]
stop: {epochs: 6}
hours: 4
"""
SWEEP = STUDY + "sweep: {values: [0.01, 0.03, 0.1], epochs: 2}\n"
UNTIL = STUDY.replace("{epochs: 6}", "{epochs: 6, until: {metric: val/top1_error, at: 0.1}}")


@pytest.fixture
def look(tmp_path):
    shelf = Shelf(tmp_path / "runs")
    return lambda study: survey(study, shelf.runs())


@pytest.fixture
def costs():
    """Of the arms of STUDY: 5 s and 10 s an epoch, and 3 s for each run."""
    return dict(zip(parse(STUDY).arms(), (Cost(3.0, 5.0), Cost(3.0, 10.0)), strict=True))


def test_each_arm_counts_with_its_own_cost(look, costs):
    found = forecast(look(parse(STUDY)), costs, 1)
    assert found.seconds == pytest.approx(2 * (3 + 6 * 5) + 2 * (3 + 6 * 10))
    assert str(found) == "4 runs; they take about 3 min 12 s on this machine, one after another"


def test_runs_at_once_share_the_time_and_are_never_more_than_there_are_runs(look, costs):
    assert str(forecast(look(parse(STUDY)), costs, 2)).endswith("about 1 min 36 s on this machine, 2 at a time")
    assert forecast(look(parse(STUDY)), costs, 9).at_once == 4


def test_what_is_done_is_left_out_and_what_was_begun_counts_from_where_it_is(look, costs, finished, ended):
    study = parse(STUDY)
    base, other = study.arms()
    finished(study.config(base, 1), ended(0.1))
    stopped = finished(study.config(other, 1), ended(0.1), state="stopped")
    stopped.write_status(replace(stopped.status(), epoch=4.0))
    found = forecast(look(study), costs, 1)
    assert found.done == 1 and found.seconds == pytest.approx((3 + 2 * 10) + (3 + 6 * 5) + (3 + 6 * 10))
    assert str(found).startswith("4 runs, 1 of them done; the others take about")
    for arm, seed in ((other, 1), (base, 2), (other, 2)):
        finished(study.config(arm, seed), ended(0.1))
    assert str(forecast(look(study), costs, 1)) == "4 runs, 4 of them done; nothing is left to be trained"


def test_a_sweep_counts_its_trials_and_the_runs_that_wait_for_it(look, costs):
    found = forecast(look(parse(SWEEP)), costs, 1)
    trials = 3 * (3 + 2 * 5) + 3 * (3 + 2 * 10)
    assert found.runs == 10 and found.seconds == pytest.approx(trials + 2 * (3 + 6 * 5) + 2 * (3 + 6 * 10))


def test_where_a_run_may_end_early_the_time_is_a_bound(look, costs):
    said = str(forecast(look(parse(UNTIL)), costs, 1))
    assert "at most 3 min 12 s" in said and said.endswith("less where a run reaches its error early")


def test_a_budget_that_will_not_do_is_told(look, costs, finished, ended):
    study = parse(STUDY + "budget_hours: 0.05\n")  # 180 s of 192
    assert str(forecast(look(study), costs, 1)).endswith("the budget of 0.05 h of training ends it before")
    assert forecast(look(parse(STUDY + "budget_hours: 0.06\n")), costs, 1).budget_hours is None
    finished(study.config(study.arms()[0], 1), ended(0.1), seconds=5.0)  # 5 s spent, 159 s to come
    assert forecast(look(study), costs, 1).budget_hours is None
    finished(study.config(study.arms()[0], 2), ended(0.1), seconds=50.0)  # 55 s spent, 126 s to come
    assert forecast(look(study), costs, 1).budget_hours == 0.05


def test_an_arm_that_was_not_measured_costs_what_the_others_do(look, costs):
    study = parse(STUDY)
    assert forecast(look(study), {study.arms()[0]: Cost(3.0, 5.0)}, 1).seconds == pytest.approx(4 * (3 + 6 * 5))


def test_an_arm_is_measured_by_one_config_whatever_its_seeds_and_length():
    study = parse(SWEEP)
    same = measurable(study.model_copy(update={"stop": study.stop.model_copy(update={"epochs": 99})}))
    assert list(same.values()) == list(measurable(study).values())
    assert [config.model.dropout for config in same.values()] == [0.2, 0.0]
    levels = ", ".join(f"'{n}': {{train.batch_size: {n}}}" for n in range(1, 41))
    many = parse(STUDY.replace("{with: {}, without: {model.dropout: 0}}", f"{{{levels}}}"))
    assert len(measurable(many)) <= MOST_MEASURED and set(measurable(many)) < set(many.arms())


def test_the_cost_of_a_run_is_that_of_its_epochs_and_all_the_rest():
    assert cost_of({"epoch_seconds": 7.0, "total_seconds": 9.5}, 4.0) == Cost(6.5, 7.0)


def test_the_hours_of_the_ledger_count_a_run_of_several_studies_once(look, finished, ended):
    study, other = parse(STUDY), parse(STUDY.replace("id: mine", "id: other").replace("[1, 2]", "[2, 3]"))
    assert ledger_hours([look(study)]) == (pytest.approx(4), 0)
    assert ledger_hours([look(study), look(other)]) == (pytest.approx(6), 0)  # seed 2 is in both
    finished(study.config(study.arms()[0], 2), ended(0.1))
    assert ledger_hours([look(study), look(other)]) == (pytest.approx(6), pytest.approx(1))


def test_a_swept_study_has_all_of_its_hours_before_its_rates_are_known(look, finished, ended):
    study = parse(SWEEP)
    finished(study.config(study.arms()[0], 1000, 0.03, 2), ended(0.1))
    total, done = ledger_hours([look(study)])
    assert total == pytest.approx(4) and done == pytest.approx(4 * 2 / (6 * 2 + 4 * 6))
