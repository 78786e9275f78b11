"""The page Studies: the ledger, a study on its way, one with a verdict, one of the visitor's own."""

import json
from dataclasses import replace
from typing import get_args

import pytest

from alexnet_explorer.config import ConfigError
from alexnet_explorer.files import write_json
from alexnet_explorer.runs import create_run, summarise
from alexnet_explorer.studies import process
from alexnet_explorer.studies.ledger import own, own_folder, shipped
from alexnet_explorer.studies.results import Word
from alexnet_explorer.studies.study import parse, write
from alexnet_explorer.ui import studies, study_builder
from alexnet_explorer.ui.text import plain


@pytest.fixture
def lrn_done(root):
    """Runs of the study lrn, done with a known outcome: without it 2, 3, 4, 3 and 3 points more."""
    study = shipped()["lrn"]
    ids = []
    for arm in study.arms():
        for seed, points in zip(study.seeds, (2, 3, 4, 3, 3), strict=True):
            error = 0.2 + 0.01 * seed + (0.01 * points if "without" in arm.name else 0)
            run = create_run(study.config(arm, seed), root)
            row = {"step": 1, "epoch": 20.0, "images": 9, "seconds": 1.0, "test/top1_error": error}
            (run.path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
            write_json(run.path / "env.json", {"device": "cpu", "precision": "fp32", "threads": 1, "code": "c0de"})
            run.write_status(replace(run.status(), state="done", epoch=20.0, summary=summarise([row])))
            ids.append(run.id)
    return ids


@pytest.fixture
def no_process(monkeypatch):
    """What would have been started or ended."""
    calls = []
    monkeypatch.setattr(process, "begin", lambda name, root: calls.append(("begin", name)))
    monkeypatch.setattr(process, "end", lambda name, root: calls.append(("end", name)))
    return calls


def table(visitor):
    return visitor.dataframe[0].value


def test_the_ledger_before_anything_was_run_has_no_verdicts_but_those_that_ship(visit):
    visitor = visit("studies")
    found = table(visitor)
    assert list(found["study"][:3]) == ["ReLU against tanh", "Two towers", "Local response normalisation"]
    assert len(found) == len(shipped())
    for verdict, runs in zip(found["verdict"], found["runs"], strict=True):
        assert verdict == "not run yet" or not runs.startswith("0 of")


def test_a_study_with_its_runs_has_a_verdict_a_chart_and_a_way_to_them(visit, lrn_done):
    visitor = visit("studies", study="lrn")
    line = table(visitor).set_index("study").loc["Local response normalisation"]
    assert line["verdict"] == "held" and line["runs"] == "10 of 10"
    assert line["measured"] == "+3.00 points (95 % interval +2.12 to +3.88, n = 5)"
    assert visitor.says("lrn without against with")
    assert any("+3.00 points" in alt for alt in visitor.charts)
    assert [button.key for button in visitor.button if button.key == "studies_start"] == []
    visitor.button(key="studies_compare").click().run()
    assert visitor.title[0].value == "Compare" and set(visitor.link["compared"].split(",")) <= set(lrn_done)


def test_what_is_beside_the_interval_and_what_cannot_be_tested_here_is_told(visit, lrn_done):
    visitor = visit("studies", study="lrn")
    assert visitor.says(plain("n = 5); bootstrap +2."))
    assert visitor.says(plain("it would take the 1.2 million pictures of ILSVRC-2010 and ten runs"))


def test_a_study_that_cannot_be_evaluated_says_why_and_the_others_are_there(visit, lrn_done, root):
    (root / lrn_done[3] / "metrics.jsonl").write_text("{\n{}\n")
    visitor = visit("studies", study="lrn")
    found = table(visitor).set_index("study")
    assert len(found) == len(shipped()) and found.loc["Overlapping pooling"]["verdict"] == "not run yet"
    assert found.loc["Local response normalisation"]["verdict"] == "cannot be evaluated"
    assert visitor.says(plain("metrics.jsonl is damaged")) and not visitor.exception


def test_a_factorial_study_of_times_is_shown(visit, root):
    asked = study_builder.made(
        "Arrive", "alexnet-32", "digits", ["dropout", "activation"], "full", 2, 30, study_builder.ARRIVAL, 0, 0.3
    )
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
    assert no_process == [("begin", "overlap")]
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


def test_a_study_is_built_told_its_size_and_kept(visit, root):
    visitor = visit("studies")
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


def test_a_study_file_is_brought_and_deleted_after_a_question(visit, root):
    visitor = visit("studies")
    mine = shipped()["lrn"].model_copy(update={"id": "mine", "title": "Mine"})
    visitor.file_uploader(key="builder_file").set_value(("mine.yaml", write(mine).encode(), "")).run()
    assert visitor.link["study"] == "mine" and own(root)[0] == {"mine": mine} and visitor.complaints == []
    visitor.button(key="builder_delete_yes").click().run()
    assert own(root)[0] == {} and visitor.selectbox(key="studies_chosen").value == "relu-speed"


@pytest.mark.parametrize(("text", "said"), [("id: [", "line 1"), (write(shipped()["lrn"]), "is a study of the ledger")])
def test_a_file_that_cannot_be_taken_is_told(visit, root, text, said):
    visitor = visit("studies")
    visitor.file_uploader(key="builder_file").set_value(("x.yaml", text.encode(), "")).run()
    assert any(said in complaint for complaint in visitor.complaints) and own(root)[0] == {}


def test_a_study_may_end_its_runs_at_an_error_and_measure_the_way_there():
    made = study_builder.made("x", "alexnet-32", "digits", ["dropout"], "full", 2, 30, study_builder.ARRIVAL, 0, 0.1)
    assert made.stop.until.at == made.measure.to_reach == 0.1 and made.measure.unit == "times the epochs"
    with pytest.raises(ConfigError, match="at which error a run ends"):
        study_builder.made("x", "alexnet-32", "digits", ["dropout"], "full", 2, 30, study_builder.ARRIVAL)


def test_nothing_to_change_is_no_study(visit):
    visitor = visit("studies")
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
    made = study_builder.made("x", "convnet-2012", "digits", [factor], "full", 2, 3, "test/top1_error", 0)
    assert made.count() == 4 and len(made.contrasts()) == 1


def test_a_fraction_of_all_factors_is_a_study_and_its_name_never_one_of_the_ledger():
    names = list(study_builder.FACTORS)
    made = study_builder.made("LRN", "alexnet-32", "digits", names, "fractional", 1, 3, "val/top1_error", 0)
    assert len(made.arms()) == 2 ** (len(names) - 1) and made.id == "own-lrn"
    assert parse(json.dumps(json.loads(made.model_dump_json()))) == made


def test_every_verdict_has_a_badge():
    assert set(studies.BADGES) == set(get_args(Word))
