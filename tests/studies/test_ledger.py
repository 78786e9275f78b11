"""The ledger as it ships."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_explorer import cli
from alexnet_explorer.config import ConfigError
from alexnet_explorer.report import study as study_document
from alexnet_explorer.studies import ledger
from alexnet_explorer.studies.ledger import find_study, own_folder, results_of, shipped
from alexnet_explorer.studies.study import Measure, write

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

# The ids of the table of the paper's claims.
CLAIMS = {
    "relu-speed",
    "lrn",
    "overlap",
    "towers",
    "tower-roles",
    "augment",
    "dropout",
    "depth",
    "ten-crop",
    "features",
}


def test_every_claim_of_the_paper_has_its_study():
    studies = shipped()
    assert set(studies) == CLAIMS
    assert all(study.claim and study.claim.section and study.title for study in studies.values())
    assert all(len(study.seeds) >= 5 and study.hours for study in studies.values())


def test_a_row_rests_on_runs_that_are_there():
    for results in results_of(list(shipped().values()), ledger.SHIPPED):  # a folder without runs of its own
        for row in results.rows:
            assert (row.verdict.word in ("not run yet", "not testable here")) == (row.estimate is None)
            assert bool(row.runs) == (row.estimate is not None)


def test_each_claim_has_one_row_of_its_own_id():
    for results in results_of(list(shipped().values()), ledger.SHIPPED):
        ids = [row.id for row in results.rows]
        assert ids[0] == results.study.id and len(set(ids)) == len(ids)
        assert all(name.startswith(f"{results.study.id}/") for name in ids[1:])


def test_the_readme_tells_what_the_runs_that_ship_say():
    (results,) = results_of([shipped()["relu-speed"]], ledger.SHIPPED)
    told = re.findall(r"^\| (\w+) \| (\w+) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \| (\w+) \|$", README, re.MULTILINE)
    assert len(told) >= 3
    for weights, scaling, *figures, verdict in told:
        row = next(row for row in results.rows if row.name.endswith(f"(weights {weights}, input {scaling})"))
        assert row.estimate and row.estimate.n == 5 and row.verdict.word == verdict
        assert figures == [f"{value:.2f}" for value in (row.estimate.value, row.estimate.low, row.estimate.high)]
    (bound,) = re.findall(
        r"^\| modern \| 2012 \| not reached with ReLU \| below ([\d.]+) \| contradicted \|$", README, re.M
    )
    row = next(row for row in results.rows if row.name.endswith("(weights modern, input 2012)"))
    assert row.estimate and row.estimate.n == 5 and row.verdict.word == "contradicted"
    assert (row.estimate.value, row.estimate.low, f"{row.estimate.high:.2f}") == (None, 0, bound)


def test_what_no_study_here_can_test_says_what_it_would_take():
    found = {row.id: row for results in results_of(list(shipped().values()), ledger.SHIPPED) for row in results.rows}
    beyond = {name: row for name, row in found.items() if row.verdict.word == "not testable here"}
    assert {name.partition("/")[0] for name in beyond} == CLAIMS
    assert {"dropout/iterations", "lrn/imagenet", "tower-roles/every-run"} <= beyond.keys()
    assert all(len(row.verdict.reason) > len("it would take ") and row.estimate is None for row in beyond.values())
    # Overfitting is measured: by the gap of test and training error.
    assert {"dropout/overfitting", "augment/overfitting", "overlap/overfitting"} <= found.keys() - beyond.keys()


def test_a_study_that_cannot_be_evaluated_says_why_and_hides_no_other(finished, ended, tmp_path):
    torn = shipped()["lrn"]
    run = finished(torn.config(torn.arms()[0], 1), ended(0.2))
    (run.path / "metrics.jsonl").write_text("{\n{}\n")
    other = shipped()["overlap"]
    for arm in other.arms():
        finished(other.config(arm, 1), ended(0.2))
    damaged, whole = results_of([torn, other], tmp_path / "runs")
    assert damaged.rows[0].verdict.word == "cannot be evaluated" and whole.rows[0].verdict.word == "open"
    assert damaged.rows[0].to_json()["reason"] == f"run {run.id}: its metrics.jsonl is damaged"
    assert study_document(damaged).to_html() and damaged.warnings == []


def test_values_that_are_no_numbers_are_told_and_hide_no_other(finished, tmp_path):
    lrn = shipped()["lrn"].model_copy(update={"measure": Measure(metric="test/loss")})
    for arm in lrn.arms():
        finished(lrn.config(arm, 1), [{"step": 1, "epoch": 1.0, "test/loss": math.inf}])
    damaged, other = results_of([lrn, shipped()["overlap"]], tmp_path / "runs")
    assert "not a finite number" in damaged.rows[0].verdict.reason and other.rows[0].verdict.word == "not run yet"


def test_the_ledger_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["alexnet_explorer", "study", "report", "ledger", "--json", "--runs", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    claims = json.loads(capsys.readouterr().out)["claims"]
    assert {claim["id"] for claim in claims} >= CLAIMS
    assert all({"id", "estimate", "interval", "n", "unit", "verdict", "runs"} <= claim.keys() for claim in claims)


def test_own_studies_are_found_by_name_or_file_and_a_damaged_one_hides_no_other(tmp_path):
    own = shipped()["lrn"].model_copy(update={"id": "mine"})
    folder = own_folder(tmp_path)
    folder.mkdir()
    (folder / "mine.yaml").write_text(write(own), encoding="utf-8")
    (folder / "broken.yaml").write_text("id: [")
    assert find_study("mine", tmp_path) == own == find_study(str(folder / "mine.yaml"), tmp_path)
    assert ledger.own(tmp_path)[0] == {"mine": own} and "broken.yaml, line 1" in ledger.own(tmp_path)[1][0]
    with pytest.raises(ConfigError, match=r"there is no study 'yours': write a file, or one of mine, .*lrn"):
        find_study("yours", tmp_path)


def test_reading_a_study_needs_no_pytorch():
    code = (
        "import sys; from alexnet_explorer.studies import ledger; ledger.shipped(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
