"""Reports of runs: what they say is what the runs say, and their commands repeat them."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import pytest

from alexnet_explorer.commands import repeat_command
from alexnet_explorer.config import RunConfig
from alexnet_explorer.document import Chart, Code, Table, Text
from alexnet_explorer.notes import Notes, write_notes
from alexnet_explorer.report import comparison, default_names
from alexnet_explorer.runs import Run, create_run
from alexnet_explorer.weights_file import digest_of


@pytest.fixture(scope="module")
def runs(trained):
    return [trained.relu, trained.tanh]


@pytest.fixture(scope="module")
def report(runs):
    return comparison(runs)


def parts(document, kind):
    return [part for section in document.sections for part in section.parts if isinstance(part, kind)]


def table(document, title):
    """The rows of a table, each with its titles, as the CSV file has them."""
    (found,) = [part for part in parts(document, Table) if part.title.startswith(title)]
    return list(csv.DictReader(io.StringIO(found.to_csv(), newline="")))


def test_it_says_what_differs(report):
    assert [row["model.activation"] for row in table(report, "Settings that differ")] == ["relu", "tanh"]


def test_metrics_are_those_of_the_runs_and_differences_have_the_sign_of_the_later_run(report, runs):
    relu, tanh = (run.status().summary for run in runs)
    first, second = table(report, "Last metrics")
    assert float(first["test error (%)"]) == pytest.approx(100 * relu["test/top1_error"])
    assert float(second["validation loss"]) == pytest.approx(tanh["val/loss"])
    (difference,) = table(report, "Difference from")
    assert float(difference["test error (points)"]) == pytest.approx(
        100 * (tanh["test/top1_error"] - relu["test/top1_error"])
    )
    assert float(difference["test loss"]) == pytest.approx(tanh["test/loss"] - relu["test/loss"])


def test_the_curves_are_every_point_of_the_metrics(report, runs):
    loss, error = parts(report, Chart)
    rows = runs[1].metrics()[0]
    name = default_names(runs)[runs[1].id]
    points = [tuple(row[2:]) for row in error.points.rows if row[0] == name and row[1] == "val"]
    assert points == [(row["epoch"], 100 * row["val/top1_error"]) for row in rows if "val/top1_error" in row] != []
    assert {row[1] for row in loss.points.rows} == {"val", "train"}
    assert len({trace.line.color for trace in loss.figure.data}) == 2


def test_it_names_seeds_data_weights_and_the_machine(report, runs):
    row, _ = table(report, "Seeds, data")
    assert row["id"] == runs[0].id and row["seed"] == "0" and row["state"] == "done" and row["data"] == "colours"
    assert row["digest of the data"] == runs[0].config.data.digest
    assert row["digest of the weights"] == digest_of(runs[0].weights_file().read_bytes())
    machine, _ = table(report, "Hardware")
    env = json.loads((runs[0].path / "env.json").read_bytes())
    assert machine["hardware"] == env["hardware"] and machine["versions.torch"] == env["versions"]["torch"]


def test_each_part_of_a_run_is_told_and_that_other_code_went_on(runs, monkeypatch):
    env = runs[0].env()
    sessions = [{**env["sessions"][0], "hardware": "abacus"}, {**env["sessions"][0], "code": "d1ff", "from_step": 9}]
    whole = {**env, "sessions": sessions}
    monkeypatch.setattr(Run, "env", lambda run: whole if run.id == runs[0].id else env)
    report = comparison(runs)
    machines = table(report, "Hardware")
    assert [(row["hardware"], row["from_step"]) for row in machines[:2]] == [("abacus", "0"), (env["hardware"], "9")]
    assert len(machines) == len(runs) + 1
    (told,) = (text.words for text in parts(report, Text) if "other code" in text.words)
    assert told.endswith(f"went on with {machines[0]['run']}.")


def test_it_has_the_command_and_every_setting_of_each_run(report, runs):
    codes = parts(report, Code)
    assert [code.text for code in codes[:2]] == [repeat_command(run.config) for run in runs]
    told = [dict(line.split(" = ", 1) for line in code.text.splitlines()) for code in codes[2:]]
    assert [{name: json.loads(value) for name, value in lines.items()} for lines in told] == [
        run.config.flat() for run in runs
    ]


def test_the_configs_in_the_zip_are_the_runs_own(report, runs):
    archive = zipfile.ZipFile(io.BytesIO(report.to_zip()))
    for run in runs:
        assert RunConfig.from_json(archive.read(f"configs/{run.id}.json")).digest() == run.config.digest()


def test_runs_that_have_not_begun_are_told_as_far_as_they_are_known(tmp_path, small, runs):
    waiting = [create_run(small(train__seed=seed), tmp_path) for seed in (0, 1)]
    report = comparison([runs[0], *waiting])
    last = table(report, "Last metrics")
    assert [row["test error (%)"] == "" for row in last] == [False, True, True]
    assert [row["state"] for row in table(report, "Seeds")] == ["done", "queued", "queued"]
    assert len(set(default_names(waiting).values())) == 2
    assert comparison(waiting).to_file(".html") and comparison(waiting).to_file(".md")


def test_a_name_and_notes_of_a_person_are_told(tmp_path, small, runs):
    named, other = (create_run(small(train__seed=seed), tmp_path) for seed in (0, 1))
    write_notes(named.path, Notes("the good one", ("first", "slow"), "line | one\nline two"))
    report = comparison([named, other])
    assert report.title.startswith("the good one and ")
    assert [list(row.values())[1:] for row in table(report, "Notes")] == [
        ["first, slow", "line | one\nline two"],
        ["", ""],
    ]
    assert "line \\| one line two" in report.to_markdown()
    assert not [part for part in parts(comparison(runs), Table) if part.title == "Notes"]


def test_equal_settings_are_said_to_be(runs):
    report = comparison([runs[0], runs[0]])
    assert "are the same" in report.to_markdown()


def test_a_name_of_the_page_is_used(runs):
    named = {runs[0].id: "<first>", runs[1].id: "*second*"}
    assert comparison(runs, named).title == "<first> and *second*"


def test_a_name_cannot_end_the_script_it_is_drawn_by(runs):
    named = {runs[0].id: "</script><b>", runs[1].id: "tanh"}
    text = comparison(runs, named).to_html()
    assert "</script><b>" not in text and "\\u003c" in text
    assert replace(comparison(runs, named), sections=[]).to_html().count("&lt;/script&gt;&lt;b&gt;") == 2
