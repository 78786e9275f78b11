"""The list of runs: the same rows from the index and from the files, whatever becomes of the index."""

import json
import math
import shutil
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from alexnet_explorer import listing
from alexnet_explorer.config import preset_config
from alexnet_explorer.listing import CURVE_POINTS, INDEX, Listing, read_row
from alexnet_explorer.notes import Notes
from alexnet_explorer.runs import EVIDENCE, Status, create_run, list_runs, this_process


@pytest.fixture
def root(tmp_path, small):
    """A folder with three runs, one of them damaged."""
    runs = [create_run(small(model__activation=name), tmp_path) for name in ("relu", "tanh", "sigmoid")]
    runs[0].write_status(Status(state="done", epoch=3, epochs=3, summary={"val/top1_error": 0.25}))
    (runs[2].path / "config.json").write_text("{")
    return tmp_path


def as_files_say(root):
    return [read_row(run) for run in list_runs(root)]


def reads(monkeypatch):
    """The ids of the runs whose files are read from here on."""
    read = []
    monkeypatch.setattr(listing, "read_row", lambda run: read.append(run.id) or read_row(run))
    return read


def own(rows):
    return [row for row in rows if not row.in_gallery]


def test_a_row_says_what_the_files_say(tmp_path):
    config = preset_config("alexnet-32", "digits").with_settings({"model.activation": "tanh", "train.seed": 7})
    run = create_run(config, tmp_path)
    run.write_notes(Notes("Mine", ("a",)))
    lines = [json.dumps({"step": n, "val/top1_error": 1 / n}) for n in range(1, 101)]
    (run.path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 101, "train/loss": 1}', '{"val/top1_er']))
    row = own(Listing(tmp_path).rows())[0]
    assert (row.id, row.title, row.notes.tags, row.fault) == (run.id, "Mine", ("a",), "")
    assert row.config == json.loads(config.to_json()) and row.value("train.seed") == 7 and row.status == run.status()
    assert row.changed == ("model.activation", "train.seed")
    assert len(row.curve) <= CURVE_POINTS and row.curve[-1] == 0.01 and sorted(row.curve, reverse=True) == [*row.curve]
    assert row.bytes == sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())


def test_the_ledgers_runs_are_there_where_they_are_asked_for_and_come_last(root):
    rows, more = (Listing(root, evidence=evidence).rows() for evidence in (False, True))
    evidence = list_runs(EVIDENCE, gallery=False)
    assert more[: len(rows)] == rows and {row.origin for row in rows} == {"here", "gallery"}
    assert {row.id for row in more[len(rows) :]} == {run.id for run in evidence}
    assert {row.origin for row in more[len(rows) :]} == {"study"} and all(row.in_gallery for row in more[len(rows) :])


def test_the_order_is_that_of_the_runs_and_damaged_ones_say_so(root):
    rows = Listing(root).rows()
    assert [row.id for row in rows] == [run.id for run in list_runs(root)]
    assert [row.title for row in own(rows)].count("(damaged)") == 1
    assert [bool(row.fault) for row in rows] == [row.config == {} for row in rows]


def test_only_what_changed_is_read_again(root, monkeypatch):
    first, runs = Listing(root), list_runs(root, gallery=False)
    first.rows()
    read = reads(monkeypatch)
    assert own(first.rows()) == own(as_files_say(root)) and read == []
    assert own(Listing(root).rows()) == own(as_files_say(root))
    assert not set(read) & {run.id for run in runs}  # another process: all from the index
    read.clear()
    runs[0].write_notes(Notes("Renamed"))
    runs[1].write_status(replace(runs[1].status(), epoch=2.0))
    shutil.rmtree(runs[2].path)
    rows = own(first.rows())
    assert sorted(read) == sorted([runs[0].id, runs[1].id]) and rows == own(as_files_say(root))
    with sqlite3.connect(root / INDEX) as index:
        assert {name for (name,) in index.execute("SELECT id FROM runs")} == {runs[0].id, runs[1].id}


def test_a_run_at_work_is_judged_when_it_is_asked_for(root):
    run, listed = list_runs(root, gallery=False)[0], Listing(root)
    run.write_status(Status(state="running", **this_process()))
    assert next(row for row in listed.rows() if row.id == run.id).status.state == "running"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    run.write_status(Status(state="running", **{**this_process(), "pid": dead.pid, "pid_started": 1.0}))
    for rows in (listed.rows(), Listing(root).rows()):
        assert next(row for row in rows if row.id == run.id).status.state == "interrupted"


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_index_is_made_anew(root, damage):
    (root / INDEX).write_bytes(damage)
    assert own(Listing(root).rows()) == own(as_files_say(root))
    assert own(Listing(root).rows()) == own(as_files_say(root))
    with sqlite3.connect(root / INDEX) as index:
        assert index.execute("SELECT count(*) FROM runs").fetchone() == (3,)


def test_damaged_rows_and_those_of_another_version_are_read_again(root, monkeypatch):
    Listing(root).rows()
    with sqlite3.connect(root / INDEX) as index:
        index.execute("UPDATE runs SET row = '{}'")
    assert own(Listing(root).rows()) == own(as_files_say(root))
    monkeypatch.setattr(listing, "FORMAT", "2")
    read = reads(monkeypatch)
    assert own(Listing(root).rows()) == own(as_files_say(root))
    assert {run.id for run in list_runs(root, gallery=False)} <= set(read)


def test_a_run_whose_metrics_are_no_numbers_is_kept_in_the_index(root, small, monkeypatch):
    run = create_run(small(), root)
    run.write_status(Status(state="failed", summary={"clean/loss": float("nan"), "val/loss": float("inf")}))
    Listing(root).rows()
    read = reads(monkeypatch)
    found = next(row for row in Listing(root).rows() if row.id == run.id)
    assert (
        run.id not in read
        and math.isnan(found.status.summary["clean/loss"])
        and found.status.summary["val/loss"] == math.inf
    )


def test_a_folder_that_cannot_be_written_is_listed(root, monkeypatch):
    monkeypatch.setattr(listing, "INDEX", "no/such/folder.sqlite")
    assert own(Listing(root).rows()) == own(as_files_say(root))
    assert not list(root.glob("*.sqlite"))


def test_an_index_that_another_process_holds_is_done_without(root, monkeypatch):
    monkeypatch.setattr(listing, "_LOCK_SECONDS", 0.01)
    Listing(root).rows()
    held = sqlite3.connect(root / INDEX, isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    list_runs(root)[0].write_notes(Notes("Renamed"))
    assert own(Listing(root).rows()) == own(as_files_say(root))
    held.execute("ROLLBACK")
    held.close()
    assert own(Listing(root).rows()) == own(as_files_say(root))


def test_two_apps_may_look_at_one_folder(root, small):
    listings, wrong = [Listing(root), Listing(root)], []

    def look(listed):
        for _ in range(15):
            seen = {row.id for row in listed.rows()}
            wrong.extend(run.id for run in runs if run.id not in seen)

    runs = [create_run(small(train__seed=seed), root) for seed in range(10)]
    threads = [threading.Thread(target=look, args=(listed,)) for listed in listings]
    for thread in threads:
        thread.start()
    for seed in range(10, 15):
        create_run(small(train__seed=seed), root)
    for thread in threads:
        thread.join()
    assert wrong == []
    assert own(Listing(root).rows()) == own(as_files_say(root))


def test_what_there_was_no_time_for_comes_next_time(root):
    listed = Listing(root)
    assert listed.rows(seconds=-1) == [] and listed.unread == 3 + 4
    assert len(listed.rows()) == 7 and listed.unread == 0


def test_no_folder_yet_is_the_gallery_alone(tmp_path):
    rows = Listing(tmp_path / "none").rows()
    assert rows and all(row.in_gallery for row in rows)
    assert not list(tmp_path.iterdir())
