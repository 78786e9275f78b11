"""The page Runs: the table, and what can be done with the runs chosen in it."""

import json
import os
from dataclasses import replace

import pytest

from alexnet_explorer.launch import local
from alexnet_explorer.runs import list_runs, this_process
from alexnet_explorer.ui import run_table

GALLERY = ["alexnet-32-relu", "alexnet-32-tanh", "alexnet-64", "alexnet-64-first"]


def table(visitor):
    return visitor.dataframe[0].value.set_index("id")


def choose(visitor, *runs):
    """AppTest cannot click into a table: what a click leaves in the session."""
    visitor.session_state["runs_chosen"] = [getattr(run, "id", run) for run in runs]
    return visitor.run()


def enabled(visitor):
    return {button.label for button in visitor.main.button if not button.disabled}


def press(visitor, label):
    return next(button for button in visitor.main.button if button.label == label).click().run()


def at_work(run):
    run.write_status(replace(run.status(), state="running", **this_process()))
    return run


def test_before_the_first_run_it_says_how_to_start_one(visit):
    visitor = visit("runs")
    assert "no runs of your own" in visitor.info[0].value
    assert list(table(visitor).index) == GALLERY
    assert press(visitor, "Train a network").title[0].value == "Train"


def test_every_run_has_a_row_with_its_numbers(visit, make_run):
    run = make_run(model__activation="tanh")
    visitor = visit("runs")
    row = table(visitor).loc[run.id]
    assert list(table(visitor).index) == [run.id, *GALLERY]
    assert (row["run"], row["status"], row["epochs"]) == (run.title, "done", "3 of 3")
    assert (row["validation"], row["test"]) == (pytest.approx(100 / 15), 25.0)
    assert row["started"].strftime("%Y%m%d-%H%M%S") == run.id[:15]
    assert (row["from"], table(visitor).loc[GALLERY[0]]["from"]) == ("here", "gallery")
    assert not visitor.info


def test_a_damaged_run_is_listed_with_its_fault(visit, make_run, root):
    good, bad = make_run(), make_run()
    (bad.path / "config.json").write_text("{")
    visitor = choose(visit("runs"), bad)
    assert not visitor.exception
    rows = table(visitor)
    assert "config.json" in rows.loc[bad.id]["note"] and rows.loc[good.id]["note"] == ""
    assert "config" in visitor.error[0].value
    assert len(rows) == len(list_runs(root))


@pytest.mark.parametrize(
    ("words", "found"),
    [("SMALL", 1), ("tanh gallery", 1), ("here", 1), ("done alexnet", 4), ("small alexnet", 0), ("  ", 5)],
)
def test_the_filter_finds_rows_that_have_all_words(visit, make_run, words, found):
    make_run()
    visitor = visit("runs")
    visitor.text_input(key="runs_filter").set_value(words).run()
    assert len(visitor.dataframe[0].value) == found
    assert bool([info for info in visitor.info if "No run has" in info.value]) == (found == 0)


def test_a_click_in_the_table_chooses_runs_by_their_ids(monkeypatch):
    state = {"runs_shown": ["a", "b", "c"], "runs_table": {"selection": {"rows": [2, 0]}}}
    monkeypatch.setattr(run_table.st, "session_state", state)
    run_table.take_choice()
    assert state["runs_chosen"] == ["c", "a"]


def test_chosen_runs_stay_chosen_when_another_one_comes(visit, make_run):
    run = make_run()
    visitor = choose(visit("runs"), run)
    make_run()
    assert "Look inside" in enabled(visitor.run())
    place = list(table(visitor).index).index(run.id)
    assert visitor.session_state["runs_table"]["selection"]["rows"] == [place]


@pytest.mark.parametrize(("count", "can"), [(0, False), (1, False), (2, True), (5, True)])
def test_two_runs_or_more_can_be_compared(visit, make_run, count, can):
    runs = [make_run() for _ in range(count)]
    assert ("Compare" in enabled(choose(visit("runs"), *runs))) == can


def test_compare_shows_the_chosen_runs_the_first_as_baseline(visit, make_run):
    run = make_run()
    visitor = press(choose(visit("runs"), run, "alexnet-32-tanh"), "Compare")
    assert not visitor.exception and visitor.title[0].value == "Compare"
    assert visitor.link["compared"] == f"{run.id},alexnet-32-tanh"


def test_look_inside_and_watch(visit, make_run):
    run = make_run()
    visitor = press(choose(visit("runs"), run), "Look inside")
    assert visitor.title[0].value == "Predict" and visitor.link["models"] == run.id
    visitor = press(choose(visit("runs"), run), "Watch")
    assert visitor.title[0].value == "Train" and visitor.link["run"] == run.id


def test_a_run_at_work_can_be_stopped(visit, make_run):
    run = at_work(make_run())
    visitor = choose(visit("runs"), run)
    assert {"Stop", "Watch"} <= enabled(visitor) and "Resume" not in enabled(visitor)
    press(visitor, "Stop")
    assert run.stop_file.exists() and table(visitor).loc[run.id]["status"] == "stopping …"


def test_a_click_counts_also_where_the_pace_of_drawing_changes_with_it(visit, make_run, monkeypatch):
    run = at_work(make_run())
    visitor = choose(visit("runs"), run)
    paces = iter([1.0, 2.0])
    monkeypatch.setattr(run_table, "_interval", lambda statuses, places: next(paces, None))
    press(visitor, "Stop")
    assert run.stop_file.exists()


def test_stopped_runs_can_be_resumed(visit, make_run, monkeypatch):
    started, schedulers = [], []
    monkeypatch.setattr(local, "start", lambda run, environment, quick, standby: started.append(at_work(run).id))
    monkeypatch.setattr(local, "detach", lambda command, log: schedulers.append(command) or os.getpid())
    runs = [make_run(), make_run()]
    for run in runs:
        run.write_status(replace(run.status(), state="stopped"))
    visitor = choose(visit("runs"), *runs)
    assert not {"Stop", "Pause"} & enabled(visitor)
    press(visitor, "Resume")
    assert started == [runs[0].id] and len(schedulers) == 1 and not visitor.exception
    assert list(table(visitor).loc[[run.id for run in runs]]["status"]) == ["running", "first in the queue"]


def test_runs_are_deleted_after_a_question(visit, make_run, root):
    gone, kept, busy = make_run(), make_run(), at_work(make_run())
    visitor = press(choose(visit("runs"), gone, busy), "Delete")
    assert gone.id in visitor.warning[0].value.replace("\\", "")  # not the one at work
    assert gone.exists()
    press(visitor, "Delete for good")
    assert sorted(run.id for run in list_runs(root, gallery=False)) == sorted([kept.id, busy.id])
    assert {path.name for path in root.iterdir() if path.name != ".queue"} == {kept.id, busy.id}
    assert not visitor.warning and not visitor.exception


def test_clone_takes_the_settings_to_the_page_train(visit):
    visitor = press(choose(visit("runs"), "alexnet-32-tanh"), "Clone")
    assert visitor.title[0].value == "Train"
    assert visitor.segmented_control(key="train_model.activation").value == "tanh"


def test_the_gallery_is_read_only_and_says_so(visit):
    visitor = choose(visit("runs"), GALLERY[0])
    assert not {"Stop", "Pause", "Resume", "Delete"} & enabled(visitor) and "Look inside" in enabled(visitor)
    assert visitor.says("ship with the project")


def test_the_settings_of_the_chosen_runs_can_be_read(visit, make_run):
    run = make_run()
    visitor = choose(visit("runs"), run, GALLERY[1])
    shown = [json.loads(block.value) for block in visitor.json]
    assert shown[0]["model"]["widths"] == [6, 8, 8] and shown[1]["model"]["activation"] == "tanh"
