"""Where a study stands, told from runs that look trained."""

import time
from dataclasses import replace

import pytest

from alexnet_explorer import runs
from alexnet_explorer.runs import Run
from alexnet_explorer.studies import survey as module_of_survey
from alexnet_explorer.studies.study import parse
from alexnet_explorer.studies.survey import Shelf, survey

STUDY = """
id: sweep
base: {preset: alexnet-32, data: digits}
factors: {dropout: {with: {}, without: {model.dropout: 0}}}
contrast: dropout
seeds: [1, 2]
stop: {epochs: 6}
sweep: {values: [0.01, 0.03, 0.1], epochs: 2}
"""


@pytest.fixture
def look(tmp_path):
    shelf = Shelf(tmp_path / "runs")
    return lambda study, **only: survey(study, shelf.runs(), **only)


def test_counted_runs_wait_for_their_arms_sweep(look, finished, ended):
    study = parse(STUDY)
    base, other = study.arms()
    found = look(study)
    assert (found.count("to do"), found.count("waits for the sweep"), found.seconds_left()) == (6, 4, None)
    for value, error in ((0.01, 0.3), (0.03, 0.2), (0.1, 0.4)):
        finished(study.config(base, 1000, value, 2), ended(error), seconds=20)
    found = look(study)
    assert found.chosen[base].value == 0.03 and not found.chosen[base].at_edge and other not in found.chosen
    assert [(one.job.seed, one.job.swept) for one in found.counted] == [(1, 0.03), (2, 0.03)]
    # Three trials of 20 s, and four runs of three times the epochs.
    assert found.seconds_left() == pytest.approx(3 * 20 + 4 * 60)
    assert not found.finished and found.seconds == 60
    assert found.time_left(1) == "about 5 min 00 s left" and found.time_left(2) == "about 2 min 30 s left"
    until = parse(STUDY.replace("{epochs: 6}", "{epochs: 6, until: {metric: val/top1_error, at: 0.1}}"))
    assert look(until).time_left(1) == "at most 5 min 00 s left" and look(parse(STUDY)).time_left(1)


def test_a_value_of_which_a_run_fails_is_not_chosen_and_a_failure_is_tried_once_more(look, finished, ended):
    study = parse(STUDY)
    base = study.arms()[0]
    finished(study.config(base, 1000, 0.01, 2), ended(0.3))
    finished(study.config(base, 1000, 0.03, 2), ended(0.4))
    finished(study.config(base, 1000, 0.1, 2), ended(0.1), state="failed")
    assert base not in look(study).chosen  # it may yet come through
    finished(study.config(base, 1000, 0.1, 2), ended(0.1), state="failed")
    found = look(study)
    assert found.chosen[base].value == 0.01 and found.chosen[base].at_edge
    assert found.chosen[base].scores == {0.01: 0.3, 0.03: 0.4, 0.1: None}
    assert found.count("failed") == 1


def test_an_arm_of_which_nothing_trains_is_hopeless_and_the_study_can_end(look, finished):
    study = parse(STUDY)
    for arm in study.arms():
        for value in study.sweep.values:
            for _ in range(2):
                finished(study.config(arm, 1000, value, 2), [], state="failed")
    found = look(study)
    assert found.hopeless == study.arms() and found.finished


def test_runs_count_whoever_trained_them_but_for_training_on_only_those_of_this_code_and_data(look, finished, ended):
    study = parse(STUDY.replace("sweep:", "notes: none\n# "))
    base = study.arms()[0]
    config = study.config(base, 1)
    pixels = config.model_copy(update={"data": config.data.model_copy(update={"digest": "abc"})})
    run = finished(pixels, ended(0.2), code="old")
    assert look(study).counted[0].done == run
    assert look(study, data_digest="abc", code="old").counted[0].done == run
    assert look(study, data_digest="abd", code="old").counted[0].done is None
    assert look(study, data_digest="abc", code="new").counted[0].done is None
    assert [one.job.seed for one in look(study).counted] == [1, 1, 2, 2]  # whole pairs first


def test_what_was_begun_is_gone_on_with(look, finished, ended):
    study = parse(STUDY.replace("sweep:", "notes: none\n# "))
    base = study.arms()[0]
    run = finished(study.config(base, 1), [], state="interrupted", seconds=4)
    found = look(study)
    assert (found.counted[0].begun, found.counted[0].state, found.count("to do")) == (run, "under way", 3)
    done = finished(study.config(base, 1), ended(0.1), seconds=9)
    assert look(study).counted[0].done == done


def test_a_run_at_work_comes_before_a_newer_one_at_rest(look, finished):
    study = parse(STUDY.replace("sweep:", "notes: none\n# "))
    first, second, third = (finished(study.config(study.arms()[0], 1), [], state="stopped") for _ in range(3))
    newest = max(first, second, third, key=lambda run: run.id)
    assert look(study).counted[0].begun == newest
    other = second if newest == first else first
    other.write_status(replace(other.status(), state="running", heartbeat=time.time(), **runs.this_process()))
    assert look(study).counted[0].begun == other


def test_runs_that_ship_count_where_there_are_no_own_and_cost_nothing(look, finished, ended, tmp_path, monkeypatch):
    study = parse(STUDY.replace("sweep:", "notes: none\n# "))
    run = finished(study.config(study.arms()[0], 1), ended(0.2), seconds=9)
    shipped = tmp_path / "shipped"
    run.path.parent.rename(shipped)
    for module in (runs, module_of_survey):
        monkeypatch.setattr(module, "EVIDENCE", shipped)
    found = look(study)
    assert found.counted[0].done == Run(shipped / run.id) and found.seconds == 0
    assert runs.find_run(run.id, tmp_path / "runs").in_gallery
    own = finished(study.config(study.arms()[0], 1), ended(0.2))
    assert look(study).counted[0].done == own
