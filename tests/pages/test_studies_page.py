"""The page Studies: the ledger, a study on its way, one with a verdict, one of the visitor's own."""

import json
import threading
from dataclasses import replace
from typing import get_args
from urllib.parse import parse_qsl

import pytest

from alexnet_explorer.config import ConfigError
from alexnet_explorer.files import write_json
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.runs import create_run, find_run, summarise
from alexnet_explorer.studies import process
from alexnet_explorer.studies.ledger import own, own_folder, shipped
from alexnet_explorer.studies.results import Word
from alexnet_explorer.studies.study import parse, read, write
from alexnet_explorer.training.code import code_digest
from alexnet_explorer.ui import demonstration, forecasting, studies, study_builder
from alexnet_explorer.ui.probing import Probe, Shared
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

TODAY = code_digest()
THREE_ARMS = """
id: three
title: Three
question: How much of it?
base: {preset: alexnet-32}
factors:
  dropout: {"0.5": {model.dropout: 0.5}, "0.2": {model.dropout: 0.2}, none: {model.dropout: 0}}
contrast: dropout
seeds: [1]
stop: {epochs: 2}
measure: {metric: val/top1_error}
"""


def done(config, root, error, code=TODAY):
    """A run that is done, with this error on all images; its id."""
    run = create_run(config, root)
    rows = [
        {"step": n, "epoch": 10.0 * n, "images": n, "seconds": n, "val/top1_error": error, "test/top1_error": error}
        for n in (1, 2)
    ]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(run.path / "env.json", {"device": "cpu", "precision": "fp32", "threads": 1, "code": code})
    run.write_status(replace(run.status(), state="done", epoch=20.0, seconds=9.0, summary=summarise(rows)))
    return run.id


def edited(row):
    """What a visitor has typed into the first row of a table."""
    return {"edited_rows": {"0": row}, "added_rows": [], "deleted_rows": []}


@pytest.fixture
def lrn_done(root):
    """Runs of the study lrn, done with a known outcome: without it 2, 3, 4, 3 and 3 points more."""
    study = shipped()["lrn"]
    ids = []
    for arm in study.arms():
        for seed, points in zip(study.seeds, (2, 3, 4, 3, 3), strict=True):
            error = 0.2 + 0.01 * seed + (0.01 * points if "without" in arm.name else 0)
            ids.append(done(study.config(arm, seed), root, error, "c0de"))
    return ids


@pytest.fixture
def no_process(monkeypatch):
    """What would have been started or ended."""
    calls = []
    monkeypatch.setattr(process, "begin", lambda name, root, on, any_code: calls.append(("begin", name, any_code)))
    monkeypatch.setattr(process, "end", lambda name, root: calls.append(("end", name)))
    return calls


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """The configs that were measured: each epoch takes 3 s, the test images 1 s, a start 2 s."""
    asked, kept = [], Shared()

    def measure(probe):
        asked.append(probe.config)
        probe.result = {"epoch_seconds": 3.0, "total_seconds": 4.0}

    monkeypatch.setattr(Probe, "_measure", measure)
    monkeypatch.setattr(forecasting, "start_seconds", lambda environment: 2.0)
    monkeypatch.setattr(forecasting, "shared", lambda: kept)
    return asked


def table(visitor):
    return visitor.dataframe[0].value


def first_of(found, study):
    """The first row of a study."""
    return found[found["study"] == study].iloc[0]


def build(visitor):
    """Open the builder, and let it come to the end of its measurement."""
    visitor.session_state["builder"] = True
    return settled(visitor.run())


def settled(visitor):
    for measurements in visitor.session_state["forecast_asked"].values():
        measurements.join(60)
    return visitor.run()


def test_the_ledger_before_anything_was_run_has_no_verdicts_but_those_that_ship(visit):
    visitor = visit("studies")
    found = table(visitor)
    lrn = found[found["study"] == "Local response normalisation"]
    assert len(set(lrn["claim"])) == len(lrn) == 3  # each part of the claim has a row
    names = list(dict.fromkeys(found["study"]))
    assert names[:3] == ["ReLU against tanh", "Two towers", "Local response normalisation"]
    assert len(names) == len(shipped())
    for verdict, runs in zip(found["verdict"], found["runs"], strict=True):
        assert verdict in ("not run yet", "not testable here") or not runs.startswith("0 of")


def test_a_study_with_its_runs_has_a_verdict_a_chart_and_a_way_to_them(visit, lrn_done):
    visitor = visit("studies", study="lrn")
    line = first_of(table(visitor), "Local response normalisation")
    assert line["verdict"] == "held" and line["runs"] == "10 of 10" and line["n"] == 5
    assert line["claim"].startswith("A four-layer network on CIFAR-10 has 13 % test error without")
    assert line["data"] == "test/top1_error of convnet-2012 on CIFAR-10 (JPEG copy)"
    assert (line["estimate"], line["interval"]) == ("+3.00 points", "[2.12, 3.88]")
    assert line["command"] == "python -m alexnet_explorer study run lrn"
    address, _, query = line["link"].partition("?")
    asked = dict(parse_qsl(query))
    assert address == "compare" and set(asked.pop("compared").split(",")) == set(lrn_done)
    assert asked == {"metric": "val/top1_error", "group": "all but the seed"}
    assert visitor.says("lrn without against with")
    assert any("+3.00 points" in alt for alt in visitor.charts)
    visitor.button(key="studies_compare").click().run()
    assert visitor.title[0].value == "Compare" and set(visitor.link["compared"].split(",")) == set(lrn_done)
    assert visitor.selectbox(key="compare_metric").value == "val/top1_error"
    assert visitor.multiselect(key="compare_group").value == ["all but the seed"]
    assert any("(5 runs)" in alt for alt in visitor.charts), visitor.charts


def test_a_row_of_the_table_opens_its_study(visit, lrn_done):
    visitor = visit("studies")
    place = list(table(visitor)["study"]).index("Local response normalisation")
    visitor.session_state["studies_table"] = {"selection": {"rows": [place], "columns": [], "cells": []}}
    visitor.run()
    assert visitor.selectbox(key="studies_chosen").value == visitor.link["study"] == "lrn"


def test_each_comparison_of_a_study_that_has_runs_has_a_row(visit, root):
    """Three arms, one after another: the table grows by a row with each pair of arms that is done."""
    study = parse(THREE_ARMS)
    own_folder(root).mkdir(parents=True)
    (own_folder(root) / "three.yaml").write_text(THREE_ARMS)
    assert list(table(visit("studies"))["comparison"]).count("dropout 0.2 against 0.5") == 1
    for arm in study.arms():
        done(study.config(arm, 1), root, 0.1)
    found = table(visit("studies")).set_index("study").loc["Three"]
    assert list(found["comparison"]) == ["dropout 0.2 against 0.5", "dropout none against 0.5"]
    assert list(found["data"]) == 2 * ["val/top1_error of alexnet-32 on digits"]
    assert list(found["claim"]) == 2 * ["How much of it?"]


def test_what_the_ledger_takes_and_how_much_of_it_is_done_is_told(visit, lrn_done):
    assert visit("studies").says("of two cores at most; ")


def test_runs_of_older_code_are_told_and_count_where_the_visitor_says_so(visit, lrn_done, no_process):
    visitor = visit("studies", study="lrn")
    assert any("10 of 10 runs are done, 10 of them by older code" in bar.text for bar in visitor.get("progress"))
    assert visitor.button(key="studies_start").label == "Train with today's code"
    visitor.button(key="studies_start").click().run()
    visitor.toggle(key="studies_any_code_lrn").set_value(True).run()
    assert [button.key for button in visitor.button if button.key == "studies_start"] == []  # all of them count
    first = find_run(lrn_done[0], runs_folder())
    first.write_status(replace(first.status(), state="stopped"))
    visitor.run()
    visitor.button(key="studies_start").click().run()
    assert no_process == [("begin", "lrn", False), ("begin", "lrn", True)]


def test_the_demonstration_is_one_click_from_the_page_to_its_verdict(visit, root, no_process, monkeypatch):
    visitor = visit("studies")
    assert visitor.says("10 runs, which take about ")
    visitor.button(key="demonstration_start").click().run()
    study = own(root)[0]["try-dropout-on-digits"]
    assert no_process == [("begin", study.id, False)] and visitor.link["study"] == study.id
    assert (study.count(), study.base.data, len(study.arms())) == (10, "digits", 2)
    monkeypatch.setattr(process, "process_of", lambda name, root: 4711)
    for number, arm in enumerate(study.arms()):
        for seed in study.seeds:
            done(study.config(arm, seed), root, 0.05 + 0.001 * seed * (1 + number) - 0.023 * number)
        said = f"{5 * (number + 1)} of 10 runs are done"
        assert any(said in bar.text for bar in visit("studies").get("progress"))
    monkeypatch.setattr(process, "process_of", lambda name, root: 0)
    visitor = visit("studies")
    assert visitor.says(plain("-2.00 points (95 % interval"))
    (own_folder(root) / f"{study.id}.yaml").unlink()  # somebody deletes its file: its runs can still be looked at
    visitor.button(key="demonstration_look").click().run()
    assert visitor.selectbox(key="studies_chosen").value == study.id


def test_a_demonstration_that_was_stopped_goes_on(visit, root, no_process):
    study = read(demonstration.FILE)
    done(study.config(study.arms()[0], 1), root, 0.1)
    visitor = visit("studies")
    assert visitor.button(key="demonstration_start").label == "Go on with it"


def test_what_is_beside_the_interval_and_what_cannot_be_tested_here_is_told(visit, lrn_done):
    visitor = visit("studies", study="lrn")
    assert visitor.says(plain("n = 5); bootstrap +2."))
    assert visitor.says(plain("it would take the 1.2 million pictures of ILSVRC-2010 and ten runs"))


def test_a_study_that_cannot_be_evaluated_says_why_and_the_others_are_there(visit, lrn_done, root):
    (root / lrn_done[3] / "metrics.jsonl").write_text("{\n{}\n")
    visitor = visit("studies", study="lrn")
    found = table(visitor)
    assert first_of(found, "Overlapping pooling")["verdict"] == "not run yet"
    assert first_of(found, "Local response normalisation")["verdict"] == "cannot be evaluated"
    assert visitor.says(plain("metrics.jsonl is damaged")) and not visitor.exception


def test_a_factorial_study_of_times_is_shown(visit, root):
    plan = study_builder.Plan("Arrive", factors=["dropout", "activation"], seeds=2, epochs=30, until=0.3)
    asked = study_builder.made(replace(plan, measure=study_builder.ARRIVAL))
    own_folder(root).mkdir(parents=True)
    (own_folder(root) / "arrive.yaml").write_text(write(asked))
    for place, arm in enumerate(asked.arms()):
        for seed in asked.seeds:
            run = create_run(asked.config(arm, seed), root)
            rows = [
                {
                    "step": n,
                    "epoch": float(n),
                    "images": n,
                    "seconds": n,
                    "val/top1_error": 0.9 - n / (10 + seed * place),
                }
                for n in range(9)
            ]
            (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            run.write_status(replace(run.status(), state="done", epoch=8.0, summary=summarise(rows)))
    visitor = visit("studies", study="arrive")
    assert visitor.says("times the epochs") and visitor.says("times the ratio of epochs") and not visitor.exception


def test_a_study_is_started_seen_at_work_and_stopped(visit, no_process, monkeypatch):
    visitor = visit("studies", study="overlap")
    assert visitor.says("Pooling over windows of 3")
    visitor.button(key="studies_start").click().run()
    assert no_process == [("begin", "overlap", False)]
    monkeypatch.setattr(process, "process_of", lambda name, root: 4711)
    visitor = visit("studies", study="overlap")
    assert [button.key for button in visitor.button if button.key == "studies_start"] == []
    visitor.button(key="studies_stop").click().run()
    assert no_process[-1] == ("end", "overlap")


def test_what_the_last_process_said_is_there_where_it_ended_too_early(visit, root):
    own_folder(root).mkdir(parents=True)
    (own_folder(root) / "overlap.log").write_text("There is no data set of this name.")
    visitor = visit("studies", study="overlap")
    assert any("There is no data set" in code.value for code in visitor.code)


def test_the_builder_measures_nothing_before_it_is_opened(visit, measured):
    assert not [button for button in visit("studies").button if button.key == "builder_keep"] and measured == []


def test_the_builder_tells_by_itself_what_a_study_takes(visit, root, measured):
    visitor = build(visit("studies"))
    # Ten runs of ten epochs.
    assert visitor.says("10 runs; they take about 5 min 30 s on this machine, one after another.")
    assert [config.model.dropout for config in measured] == [0.5, 0.0]  # each arm
    assert {config.train.epochs for config in measured} == {1}
    visitor.number_input(key="builder_seeds").set_value(2).run()
    visitor.number_input(key="builder_epochs").set_value(5).run()
    assert visitor.says("4 runs; they take about 1 min 12 s") and len(measured) == 2  # what was measured is kept
    study = study_builder.made(study_builder.Plan(seeds=2, epochs=5))
    done(study.config(study.arms()[0], 1), root, 0.1)
    visitor.number_input(key="builder_until").set_value(5.0).run()
    assert visitor.says("4 runs; they take at most 1 min 12 s")
    visitor.number_input(key="builder_until").set_value(0.0).run()
    assert visitor.says("4 runs, 1 of them done; the others take about 54 s")
    Queue(root).set_at_once(3)
    assert visitor.run().says("the others take about 18 s on this machine, 3 at a time")
    visitor.number_input(key="builder_budget").set_value(0.01).run()
    assert visitor.says("the budget of 0.01 h of training ends it before")


def test_a_measurement_that_is_under_way_is_stopped(visit, measured, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(Probe, "_measure", lambda probe: go_on.wait(60) and None)
    visitor = visit("studies")
    visitor.session_state["builder"] = True
    visitor.run()
    assert any("0 of 2 arms are measured" in bar.text for bar in visitor.get("progress"))
    visitor.button(key="forecast_builder_stop").click().run()
    go_on.set()
    assert settled(visitor).button(key="forecast_builder")  # it is not begun anew by itself
    assert not visitor.says("they take")


def test_why_a_study_could_not_be_measured_is_told(visit, monkeypatch):
    def fail(probe):
        probe.message = "There is no room."

    monkeypatch.setattr(Probe, "_measure", fail)
    visitor = build(visit("studies"))
    assert visitor.complaints == ["There is no room."]
    visitor.button(key="forecast_builder").click().run()
    assert settled(visitor).complaints == ["There is no room."]


def test_data_that_are_still_to_be_fetched_are_not_fetched_for_an_estimate(visit, measured):
    visitor = build(visit("studies"))
    measured.clear()
    visitor.selectbox(key="builder_data").set_value("cifar10").run()
    assert settled(visitor).button(key="forecast_builder") and measured == []


def test_any_setting_can_be_changed_or_be_a_factor(visit, root):
    visitor = build(visit("studies"))
    visitor.session_state["builder_own"] = edited({"field": "train.learning_rate", "levels": "0.03; 0.01 ;0.1"})
    visitor.session_state["builder_base"] = edited({"field": "model.lrn", "value": "off"})
    visitor.number_input(key="builder_budget").set_value(1.5)
    visitor.text_input(key="builder_title").set_value("Rates").run()
    assert visitor.says("**30 runs**: 6 arms")
    visitor.button(key="builder_keep").click().run()
    study = own(root)[0]["rates"]
    assert study.factors["learning_rate"] == {
        text: {"train.learning_rate": float(text)} for text in ("0.03", "0.01", "0.1")
    }
    assert study.config(study.arms()[0], 1).model.lrn is False and study.budget_hours == 1.5


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"base": [("model.dropout", "2")], "factors": ["lrn"]}, "model.dropout=2: "),
        ({"base": [("model.droput", "0")]}, "model.droput: there is no such field"),
        ({"own": [("model.init_std", "0.1")]}, "model.init_std: write two levels or more"),
        ({"own": [("model.init_std", "0.1;0.1")]}, "a level stands twice"),
        ({"own": [("model.dropout", "0.1;0.2")]}, "dropout and model.dropout both set model.dropout"),
        ({"sweep_epochs": 3, "rates": "fast, slow"}, "Write the rates as numbers"),
        ({"sweep_epochs": 3, "rates": "0.1"}, "sweep.values"),
        ({"measure": study_builder.ARRIVAL}, "at which error a run ends"),
    ],
)
def test_what_does_not_fit_is_told_in_the_words_of_the_config(plan, said):
    with pytest.raises(ConfigError) as error:
        study_builder.made(study_builder.Plan(**plan))
    assert said in str(error.value)


def test_a_field_of_text_takes_numbers_for_words():
    plan = study_builder.Plan(own=[("model.init", "2012; modern")], base=[("model.widths", "16,32,48,48,32")])
    study = study_builder.made(plan)
    assert study.factors["model.init"]["2012"] == {"model.init": "2012"}
    assert study.config(study.arms()[0], 1).model.widths == (16, 32, 48, 48, 32)


def test_what_half_of_the_combinations_cannot_tell_apart_is_told(visit):
    visitor = build(visit("studies"))
    visitor.button_group(key="builder_factors").set_value(["dropout", "lrn", "pooling"]).run()
    visitor.selectbox(key="builder_design").set_value("fractional").run()
    assert visitor.says("**20 runs**: 4 arms") and visitor.says(
        "pooling cannot be told from dropout × lrn in this design"
    )


def test_a_study_is_built_told_its_size_and_kept(visit, root):
    visitor = build(visit("studies"))
    visitor.button_group(key="builder_factors").set_value(["dropout", "lrn"]).run()
    visitor.number_input(key="builder_seeds").set_value(3).run()
    assert visitor.says("**12 runs**: 4 arms")
    assert visitor.button(key="builder_keep").disabled
    visitor.text_input(key="builder_title").set_value("Mine *and* yours").run()
    visitor.toggle(key="builder_sweep").set_value(True).run()
    assert visitor.says("**28 runs**: 4 arms")
    visitor.button(key="builder_keep").click().run()
    assert visitor.link["study"] == "mine-and-yours" and not visitor.complaints
    kept, faults = own(root)
    assert faults == [] and kept["mine-and-yours"].count() == 28
    assert "Mine *and* yours" in list(table(visitor)["study"])
    visitor.number_input(key="builder_seeds").set_value(4).run()
    visitor.button(key="builder_keep").click().run()
    assert any("another study of the name mine-and-yours" in said for said in visitor.complaints)


def test_a_study_file_is_brought_and_deleted_after_a_question(visit, root, no_process):
    visitor = build(visit("studies"))
    mine = shipped()["lrn"].model_copy(update={"id": "mine", "title": "Mine"})
    visitor.file_uploader(key="builder_file").set_value(("mine.yaml", write(mine).encode(), "")).run()
    assert visitor.link["study"] == "mine" and own(root)[0] == {"mine": mine} and visitor.complaints == []
    visitor.button(key="builder_delete_yes").click().run()
    assert ("end", "mine") in no_process  # or it would train for hours, and nobody could stop it
    assert own(root)[0] == {} and visitor.selectbox(key="studies_chosen").value == "relu-speed"


@pytest.mark.parametrize(("text", "said"), [("id: [", "line 1"), (write(shipped()["lrn"]), "is a study of the ledger")])
def test_a_file_that_cannot_be_taken_is_told(visit, root, text, said):
    visitor = build(visit("studies"))
    visitor.file_uploader(key="builder_file").set_value(("x.yaml", text.encode(), "")).run()
    assert any(said in complaint for complaint in visitor.complaints) and own(root)[0] == {}


@pytest.mark.parametrize("metric", study_builder.UNTIL)
def test_a_study_may_end_its_runs_at_an_error_and_measure_the_way_there(metric):
    plan = study_builder.Plan(measure=study_builder.ARRIVAL, until=0.1, until_metric=metric, epochs=30)
    made = study_builder.made(plan)
    assert made.stop.until.at == made.measure.to_reach == 0.1 and made.measure.unit == "times the epochs"
    assert made.stop.until.metric == made.measure.metric == metric


def test_nothing_to_change_is_no_study(visit):
    visitor = build(visit("studies"))
    visitor.button_group(key="builder_factors").set_value([]).run()
    assert any("Choose at least one thing" in info.value for info in visitor.info)


def test_a_damaged_file_is_told_and_hides_nothing(visit, root):
    own_folder(root).mkdir(parents=True)
    (own_folder(root) / "broken.yaml").write_text("id: [")
    visitor = visit("studies", study="nothing-of-this-name")
    assert any("line 1" in warning.value and "broken" in warning.value for warning in visitor.warning)
    assert visitor.selectbox(key="studies_chosen").value == "relu-speed"


@pytest.mark.parametrize("factor", study_builder.FACTORS)
def test_every_factor_of_the_builder_makes_a_study(factor):
    made = study_builder.made(study_builder.Plan(preset="alexnet-32", factors=[factor], seeds=2))
    assert made.count() == 4 and len(made.contrasts()) == 1


def test_a_fraction_of_all_factors_is_a_study_and_its_name_never_one_of_the_ledger():
    names = list(study_builder.FACTORS)
    made = study_builder.made(study_builder.Plan(title="LRN", factors=names, design="fractional", seeds=1))
    assert len(made.arms()) == 2 ** (len(names) - 1) and made.id == "own-lrn"
    assert parse(json.dumps(json.loads(made.model_dump_json()))) == made


def test_every_verdict_has_a_badge():
    assert set(studies.BADGES) == set(get_args(Word))
