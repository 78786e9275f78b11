"""The report of a study: all that someone needs who doubts it."""

import csv
import io
import json
import math
import sys
import zipfile

import numpy as np
import pytest
from scipy import stats

from alexnet_explorer import cli
from alexnet_explorer.document import Chart, Table
from alexnet_explorer.report import each_run, intervals, study
from alexnet_explorer.runs import list_runs
from alexnet_explorer.studies.results import results
from alexnet_explorer.studies.study import parse, write
from alexnet_explorer.studies.survey import Shelf, survey

STUDY = """
id: speed
title: Speed & <b>size</b>
base: {preset: alexnet-32, data: digits, set: {train.clean_passes: 2}}
factors: {activation: {relu: {}, tanh: {model.activation: tanh}}}
contrast: activation
seeds: [1, 2, 3]
stop: {epochs: 10}
sweep: {values: [0.01, 0.03], epochs: 2}
measure: {metric: clean/top1_error, to_reach: 0.25}
claim: {says: Twice as fast., section: "3.1", direction: higher, size: 2}
notes: On digits.
"""


@pytest.fixture
def found(finished, ended, falling, tmp_path):
    """ReLU arrives after 2.1, 2.2, 2.3 epochs, tanh after 4.2 and 4.5 and once not at all."""
    asked = parse(STUDY)
    for arm in asked.arms():
        for value in asked.sweep.values:
            finished(asked.config(arm, 1000, value, 2), ended(10 * value))
        for seed in asked.seeds:
            at = {1: 4.2, 2: 4.5, 3: 99}[seed] if "tanh" in arm.name else 2 + 0.1 * seed
            finished(asked.config(arm, seed, 0.01), falling(at))
    return results(survey(asked, Shelf(tmp_path / "runs").runs()))


def test_it_has_the_claim_the_verdict_every_run_the_sweep_and_the_file(found):
    text = study(found).to_markdown()
    parts = ("Twice as fast.", "On digits.", "activation tanh against relu", "10 of 10 runs are done", "4.20",
             "study run speed.yaml", "outermost", write(found.study))  # fmt: skip
    for part in parts:
        assert part in text, part
    assert "<b>" not in study(found).to_html().split("</title>")[0]


def test_a_run_that_did_not_arrive_is_told_as_longer(found):
    table = each_run(found)
    assert [column.title for column in table.columns] == ["arm", "seed 1", "seed 2", "seed 3"]
    assert [list(row) for row in table.rows] == [
        ["activation relu", "2.10", "2.20", "2.30"], ["activation tanh", "4.20", "4.50", "> 10"],
    ]  # fmt: skip


def test_the_chart_has_the_intervals_of_the_rows(found):
    chart = intervals(found)
    (row,) = found.rows
    assert list(chart.points.rows[0])[1:] == [row.estimate.value, row.estimate.low, row.estimate.high, row.claimed]
    assert row.verdict.reason in chart.alt


def rows_of(document, title):
    """The rows of a table or a chart's points, each with its titles, as the CSV file has them."""
    drawn = [part for section in document.sections for part in section.parts if isinstance(part, Table | Chart)]
    (part,) = [part for part in drawn if part.title == title]
    table = part.points if isinstance(part, Chart) else part
    return list(csv.DictReader(io.StringIO(table.to_csv(), newline="")))


def test_the_table_of_verdicts_has_the_numbers_that_they_rest_on(found):
    (row,), (told,) = found.rows, rows_of(study(found), "Verdicts")
    for column, value in (
        ("estimate", row.estimate.value), ("low", row.estimate.low), ("high", row.estimate.high), ("n", 3),
        ("p", row.estimate.p_value),
    ):  # fmt: skip
        assert float(told[column]) == pytest.approx(value)
    assert (told["unit"], told["verdict"]) == ("times the epochs", row.verdict.word)
    assert told["bootstrap low"] == ""  # one time ran out
    assert "no bootstrap: a time that ran out cannot be drawn" in study(found).to_markdown()


def test_the_bootstrap_stands_beside_students_interval(found, finished, falling, tmp_path):
    asked = parse(STUDY.replace("[1, 2, 3]", "[1, 2]"))
    again = results(survey(asked, Shelf(tmp_path / "runs").runs()))
    (told,) = rows_of(study(again), "Verdicts")
    ratios = (4.2 / 2.1, 4.5 / 2.2)
    assert min(ratios) - 1e-9 <= float(told["bootstrap low"]) <= float(told["estimate"])
    assert float(told["estimate"]) <= float(told["bootstrap high"]) <= max(ratios) + 1e-9
    assert f"bootstrap {float(told['bootstrap low']):.2f} to" in study(again).to_markdown()


def test_the_arms_curves_are_means_with_bands(found):
    points = rows_of(study(found), "training error, clean passes (%)")
    relu = [point for point in points if point["arm"] == "activation relu"]
    seen = [run.metrics()[0] for (arm, _), (run, _) in found.outcomes.items() if "relu" in arm.name]
    assert len(relu) == len(seen[0]) and {point["runs"] for point in points} == {"3"}
    second = [100 * rows[1]["clean/top1_error"] for rows in seen]
    spread = stats.t.ppf(0.975, 2) * np.std(second, ddof=1) / math.sqrt(3)
    assert float(relu[1]["epoch"]) == 0.5 and float(relu[1]["training error, clean passes (%)"]) == pytest.approx(
        np.mean(second)
    )
    assert float(relu[1]["low"]) == pytest.approx(np.mean(second) - spread)
    assert float(relu[1]["high"]) == pytest.approx(np.mean(second) + spread)


def test_runs_of_the_sweep_are_told_with_their_machine_and_their_config(found, tmp_path):
    document = study(found)
    machines = {row["run"]: row for row in rows_of(document, "Hardware and versions")}
    assert len(machines) == 10 and machines["activation tanh, seed 1000, 0.03 in the sweep"]["device"] == "cpu"
    ids = {row["id"] for row in rows_of(document, "Seeds, data, weights, time")}
    assert ids == {run.id for run in list_runs(tmp_path / "runs", gallery=False)}
    assert {f"configs/{run_id}.json" for run_id in ids} <= document.files.keys()
    assert 'model.activation = "tanh"' in document.to_markdown()


def test_the_zip_repeats_the_study(found):
    with zipfile.ZipFile(io.BytesIO(study(found).to_zip())) as archive:
        names = archive.namelist()
        kept = parse(archive.read(next(name for name in names if name.endswith("speed.yaml"))))
        verdicts = next(name for name in names if "verdict" in name.lower() and name.endswith(".csv"))
        rows = list(csv.reader(io.StringIO(archive.read(verdicts).decode())))
    assert kept == found.study
    assert rows[1][1] == found.rows[0].verdict.word
    assert sum(name.startswith("configs/") for name in names) == 10


def test_before_any_run_there_is_a_report_without_a_chart(tmp_path):
    empty = results(survey(parse(STUDY), Shelf(tmp_path).runs()))
    assert intervals(empty) is None and "0 of 10 runs are done" in study(empty).to_markdown()


def test_the_command_writes_it_and_names_the_endings_it_knows(found, tmp_path, monkeypatch, capsys):
    (tmp_path / "speed.yaml").write_text(STUDY)

    def report(*arguments):
        given = ["alexnet_explorer", "study", "report", str(tmp_path / "speed.yaml"), *arguments]
        monkeypatch.setattr(sys, "argv", [*given, "--runs", str(tmp_path / "runs")])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0

    assert report("--json", "--out", str(tmp_path / "r.html")) == 0
    (claim,) = json.loads(capsys.readouterr().out)["claims"]
    assert claim["n"] == 3 and "</html>" in (tmp_path / "r.html").read_text()
    assert report("--out", str(tmp_path / "r.pdf")) == 2
    assert "ends in .html, .md or .zip" in capsys.readouterr().err
    monkeypatch.setattr(
        sys, "argv", ["alexnet_explorer", "study", "report", "ledger", "--out", str(tmp_path / "l.html")]
    )
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "a report is of one study" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_command_names_runs_that_are_missing(form, finished, tmp_path, monkeypatch, capsys):
    asked = parse(STUDY)
    finished(asked.config(asked.arms()[1], 1000, 0.03, 2), [], state="stopped")
    (tmp_path / "speed.yaml").write_text(STUDY)
    given = ["alexnet_explorer", "study", "report", str(tmp_path / "speed.yaml"), *form]
    monkeypatch.setattr(sys, "argv", [*given, "--runs", str(tmp_path / "runs")])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert "activation tanh, seed 1000, 0.03 in the sweep: stopped at epoch 2 of 2; it is missing here" in said
