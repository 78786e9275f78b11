"""The page Runs: the table, and what can be done with the runs chosen in it."""

import json
import os
import re
import shutil
from dataclasses import replace

import pytest

from alexnet_explorer.launch import local
from alexnet_explorer.notes import Notes, write_notes
from alexnet_explorer.runs import EVIDENCE, list_runs, this_process
from alexnet_explorer.ui import lens, run_table, run_transfer

GALLERY = ["alexnet-32-relu", "alexnet-32-tanh", "alexnet-64", "alexnet-64-first"]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """All runs are read before the page is drawn, however slow the machine is."""
    monkeypatch.setattr(run_table, "READ_SECONDS", 60)


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


@pytest.mark.parametrize(("count", "can"), [(0, False), (1, False), (2, True), (6, True)])
def test_two_runs_or_more_can_be_compared(visit, make_run, count, can):
    runs = [make_run() for _ in range(count)]
    assert ("Compare" in enabled(choose(visit("runs"), *runs))) == can


def test_the_runs_of_the_ledger_are_listed_when_asked_for_and_can_be_compared(visit):
    evidence = sorted(run.id for run in list_runs(EVIDENCE, gallery=False))
    visitor = visit("runs")
    assert not set(evidence) & set(table(visitor).index)
    visitor.toggle(key="runs_shipped").set_value(True).run()
    assert set(evidence) <= set(table(visitor).index) and visitor.link["shipped"] == "1"
    assert set(table(visitor).loc[evidence, "from"]) == {"study"}
    visitor = choose(visitor, *evidence[:2])
    assert not visitor.exception and not {"Resume", "Delete", "Archive"} & enabled(visitor)
    assert press(visitor, "Compare").link["compared"] == ",".join(evidence[:2])


def test_more_runs_than_can_be_compared_say_so(visit, make_run, monkeypatch):
    monkeypatch.setattr(lens, "MOST_COMPARED", 2)
    runs = [make_run(train__seed=seed) for seed in range(3)]
    visitor = choose(visit("runs"), *runs)
    assert "Compare" not in enabled(visitor) and visitor.says("3 runs are chosen. The page Compare takes")
    visitor = choose(visit("runs"), *runs[:2])
    assert "Compare" in enabled(visitor) and not visitor.says("runs are chosen.")


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
    press(visitor, "Move to the trash")
    assert sorted(run.id for run in list_runs(root, gallery=False)) == sorted([kept.id, busy.id])
    assert {path.name for path in root.iterdir() if not path.name.startswith(".")} == {kept.id, busy.id}
    assert not visitor.warning and not visitor.exception
    assert [box.label for box in visitor.expander if "Trash" in box.label] == ["Trash: 1 run"]
    press(visitor, "Undo")
    assert gone.exists() and "Undo" not in enabled(visitor) and not visitor.exception
    assert not [box.label for box in visitor.expander if "Trash" in box.label]


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


# The filter, the order, the groups, and the link


def ids(visitor):
    return list(table(visitor).index)


def test_a_link_reopens_the_filter_the_order_and_the_columns(visit, make_run):
    slow, fast = make_run(model__activation="tanh"), make_run(model__activation="tanh")
    slow.write_status(replace(slow.status(), summary={"best/val_top1_error": 0.5}))
    fast.write_status(replace(fast.status(), summary={"best/val_top1_error": 0.1}))
    visitor = visit("runs", filter="activation=tanh from=here", sort="best", down="1", columns="seed,nonsense")
    assert ids(visitor) == [slow.id, fast.id]
    assert visitor.text_input(key="runs_filter").value == "activation=tanh from=here"
    assert "train.seed" in table(visitor).columns and "model.pooling" not in table(visitor).columns
    assert visitor.link["columns"] == "seed"


def test_what_a_link_says_wrongly_counts_as_not_said(visit, make_run):
    make_run()
    visitor = visit("runs", sort="nonsense", group="best", metric="nothing", down="yes", archived="?")
    assert not visitor.exception and len(ids(visitor)) == 5
    assert not {"sort", "group", "metric", "down", "archived"} & visitor.link.keys()


def test_the_link_follows_and_the_choice_outlives_a_walk(visit, make_run):
    run = make_run(model__activation="tanh")
    visitor = visit("runs")
    assert not {"filter", "sort", "columns"} & visitor.link.keys()
    visitor.text_input(key="runs_filter").set_value("activation=tanh").run()
    visitor.selectbox(key="runs_sort").set_value("best").run()
    assert (visitor.link["filter"], visitor.link["sort"]) == ("activation=tanh", "best")
    visitor.query_params.clear()  # as the browser does on the way to another page
    assert "filter" not in visitor.go("home").link
    visitor.go("runs")
    assert ids(visitor) == [GALLERY[1], run.id] and visitor.link["filter"] == "activation=tanh"


def test_a_slip_in_a_fields_name_is_told(visit):
    visitor = visit("runs", filter="activaton=tanh")
    assert "no one field called activaton" in visitor.info[-1].value


def test_a_condition_is_added_by_choice(visit, make_run):
    run = make_run(model__activation="tanh")
    visitor = visit("runs", filter="small")
    assert set(visitor.selectbox(key="runs_condition_model.activation").options) == {"relu", "tanh"}
    visitor.selectbox(key="runs_condition_model.activation").set_value("tanh").run()
    press(visitor, "Add to the filter")
    assert visitor.text_input(key="runs_filter").value == "small activation=tanh" and ids(visitor) == [run.id]


def test_groups_tell_how_a_metric_is_spread(visit, make_run):
    for activation, error in (("relu", 0.1), ("relu", 0.2), ("tanh", 0.4)):
        run = make_run(model__activation=activation)
        run.write_status(replace(run.status(), summary={"best/val_top1_error": error}))
    visitor = visit("runs", group="activation", filter="from=here")
    groups = visitor.dataframe[0].value.set_index("value")
    assert list(groups.index) == ["relu", "tanh"] and list(groups["runs"]) == [2, 1]
    assert groups.loc["relu"]["mean"] == pytest.approx(15) and groups.loc["relu"]["best"] == pytest.approx(10)


def test_a_click_on_a_group_narrows_the_filter(monkeypatch):
    state = {"runs_groups": {"selection": {"rows": [1]}}, "runs_filter": "small", "runs_group": "data.name"}
    monkeypatch.setattr(run_table.st, "session_state", state)
    run_table._take_group("data.name", ["a", "my digits"])
    assert state["runs_filter"] == 'small data.name="my digits"' and state["runs_group"] == ""


def test_settings_that_differ_are_columns_and_many_rows_are_cut(visit, make_run, monkeypatch):
    for seed in range(3):
        make_run(train__seed=seed)
    visitor = visit("runs", filter="from=here")
    assert set(table(visitor)["train.seed"]) == {"0", "1", "2"} and "train.epochs" not in table(visitor).columns
    assert [len(curve) for curve in table(visitor)["curve"]] == [15] * 3
    monkeypatch.setattr(run_table, "MOST_ROWS", 2)
    visitor.run()
    assert len(ids(visitor)) == 2 and any("The first 2 of 3 runs" in text for text in visitor.captions)


def test_runs_that_were_not_read_yet_are_told(visit, make_run, monkeypatch):
    make_run()
    monkeypatch.setattr(run_table, "READ_SECONDS", -1)
    visitor = visit("runs")
    assert any(re.search(r"[1-9]\d* to go", text) for text in visitor.captions)
    assert not visitor.info and not visitor.exception


# Notes


def test_a_run_is_named_tagged_and_noted(visit, make_run, root):
    run = make_run()
    visitor = choose(visit("runs"), run)
    visitor.text_input(key=f"notes_name_{run.id}").set_value("The *first*")
    visitor.text_area(key=f"notes_note_{run.id}").set_value("Began well.")
    press(visitor, "Save")
    assert run.notes() == Notes("The *first*", (), "Began well.")
    row = table(visitor).loc[run.id]
    assert (row["run"], row["note"]) == ("The *first*", "Began well.")
    visitor.text_input(key="runs_filter").set_value("*first* small").run()
    assert ids(visitor) == [run.id] and not visitor.exception


def test_several_runs_get_and_lose_tags(visit, make_run):
    runs = [make_run(), make_run()]
    runs[0].write_notes(Notes("kept", ("old", "both")))
    visitor = choose(visit("runs"), *runs)
    visitor.multiselect(key="notes_taken").set_value(["old"])
    visitor.multiselect(key="notes_added").set_value(["both"])
    press(visitor, "Save for 2 runs")
    assert [run.notes().tags for run in runs] == [("both",), ("both",)] and runs[0].notes().name == "kept"


def test_the_gallery_cannot_be_named_or_archived(visit):
    visitor = choose(visit("runs"), GALLERY[0])
    assert not {"Save", "Archive"} & enabled(visitor) and "Export" in enabled(visitor)


def test_archived_runs_are_shown_when_asked_for(visit, make_run):
    run, other = make_run(), make_run()
    visitor = press(choose(visit("runs"), run), "Archive")
    assert run.notes().archived and run.id not in ids(visitor) and other.id in ids(visitor)
    visitor.toggle(key="runs_archived").set_value(True).run()
    assert run.id in ids(visitor) and visitor.link["archived"] == "1"
    press(choose(visitor, run), "Unarchive")
    assert not run.notes().archived


# The trash


def test_the_trash_is_listed_and_restored_from(visit, make_run):
    run = make_run()
    run.delete()
    visitor = visit("runs")
    assert visitor.says("small") and any("Trash: 1 run" in box.label for box in visitor.expander)
    press(visitor, "Restore")
    assert run.exists() and run.id in ids(visitor) and "Restore" not in enabled(visitor)


@pytest.mark.parametrize("answer", ["Remove for good", "Keep them"])
def test_the_trash_is_emptied_after_a_question_that_says_what_it_frees(visit, make_run, root, answer):
    deleted = make_run().delete()
    size = sum(file.stat().st_size for file in deleted.path.rglob("*") if file.is_file())
    visitor = press(visit("runs"), "Empty the trash")
    assert f"frees {size / 1e6:.1f} MB" in visitor.warning[0].value and deleted.exists()
    press(visitor, answer)
    assert deleted.exists() == (answer == "Keep them") and not visitor.exception
    assert [f"{size / 1e6:.1f} MB freed" in said.value for said in visitor.success] == [True] * (not deleted.exists())


def test_what_was_removed_for_good_is_not_offered_back(visit, make_run):
    visitor = press(choose(visit("runs"), make_run()), "Delete")
    press(visitor, "Move to the trash")
    assert "Undo" in enabled(visitor)
    press(press(visitor, "Empty the trash"), "Remove for good")
    assert "Undo" not in enabled(visitor) and visitor.complaints == []


def test_what_others_delete_after_the_question_stays(visit, make_run):
    asked, later = make_run().delete(), make_run()
    visitor = press(visit("runs"), "Empty the trash")
    later = later.delete()
    press(visitor, "Remove for good")
    assert not asked.exists() and later.exists() and not visitor.exception


# Zip files


def test_an_exported_run_is_imported_as_it_was(visit, make_run, root):
    run = make_run()
    visitor = press(choose(visit("runs"), run), "Export")
    (save,) = visitor.get("download_button")
    assert save.label.startswith("Save the zip file")
    with run_transfer.Zipped(run, lambda share, text: None).open() as file:
        zipped = file.read()
    shutil.rmtree(run.path)
    visitor.file_uploader(key="runs_upload").set_value(("run.zip", zipped, "application/zip")).run()
    assert f"Imported as {run.id}" in visitor.success[0].value.replace("\\", "")
    assert run.id in ids(visitor) and run.whole_snapshots() and not visitor.exception


def test_a_zip_that_is_no_run_is_refused_in_words(visit, make_run, root):
    visitor = visit("runs")
    visitor.file_uploader(key="runs_upload").set_value(("run.zip", b"no zip", "application/zip")).run()
    assert "not a zip file" in visitor.error[0].value and not visitor.exception
    assert not root.exists() or list(root.iterdir()) == []


def test_an_archived_network_is_not_offered_but_a_link_to_it_opens(visit, make_run):
    put_away, other = make_run(), make_run()
    write_notes(put_away.path, Notes(archived=True))
    offered = visit("predict").multiselect(key="lens_models").options
    assert any(other.id[-4:] in title for title in offered)
    assert not any(put_away.id[-4:] in title for title in offered)
    opened = visit("predict", models=put_away.id)
    assert opened.multiselect(key="lens_models").value == [put_away.id]
    assert opened.says("It says **red**")
