"""Where a run is trained, chosen on the page: this machine, or Slurm where there is one."""

import os

import pytest

from alexnet_explorer.launch import local, slurm
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.runs import list_runs
from alexnet_explorer.ui import placing, preparing, queueing


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Small data are ready within the click that asks for them, however slow the machine is."""
    monkeypatch.setattr(preparing, "PATIENCE", 60)


@pytest.fixture
def jobs(monkeypatch):
    """A Slurm that only this dictionary knows of."""
    known = {}

    def submit(run, settings):
        known[str(len(known) + 1)] = slurm.Job("PENDING", "Resources")
        return str(len(known))

    monkeypatch.setattr(slurm, "unavailable", lambda: "")
    monkeypatch.setattr(slurm, "answers", lambda: True)
    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "jobs", lambda: dict(known))
    monkeypatch.setattr(slurm, "cancel", known.pop)
    queueing._in_slurm.clear()
    placing._answers.clear()
    yield known
    placing._answers.clear()


def start(visitor):
    return next(button for button in visitor.button if button.label == "Start training").click().run()


@pytest.mark.parametrize("programs", [False, True])
def test_without_a_slurm_nothing_is_said_of_one(visit, monkeypatch, jobs, programs):
    monkeypatch.setattr(slurm, "unavailable", lambda: "" if programs else "there is none")
    monkeypatch.setattr(slurm, "answers", lambda: not programs)
    visitor = visit("train")
    assert not any(control.label == "Where" for control in visitor.segmented_control)


def test_a_run_becomes_a_job_is_listed_with_the_reason_for_which_it_waits_and_can_be_cancelled(
    visit, root, jobs, started
):
    visitor = visit("train")
    visitor.segmented_control(key="train_where").set_value("slurm").run()
    assert visitor.says("It becomes a job of Slurm")
    start(visitor)
    (run,) = list_runs(root, gallery=False)
    assert started == [] and run.status().job == "1" and Queue(root).entries() == []
    start(visitor)
    queueing._in_slurm.clear()  # instead of waiting for its seconds
    visitor.run()
    listed = visitor.button(key=f"queue_watch_{run.id}")
    assert "Resources" in listed.proto.help
    assert f"queue_up_{run.id}" not in {button.key for button in visitor.button}  # Slurm has an order of its own
    visitor.button(key=f"queue_{run.id}_cancel").click().run()
    assert list(jobs) == ["2"] and run.status().state == "stopped" and not visitor.exception


def test_what_a_job_asks_for_is_kept_and_what_cannot_be_is_told(visit, root, jobs):
    visitor = visit("train")
    visitor.segmented_control(key="train_where").set_value("slurm").run()
    visitor.text_input(key="slurm_partition").set_value("gpu").run()
    visitor.number_input(key="slurm_minutes").set_value(90).run()
    assert (slurm.read_settings(root).partition, slurm.read_settings(root).minutes) == ("gpu", 90)
    assert type(visitor.number_input(key="slurm_cpus").value) is int
    visitor.text_input(key="slurm_account").set_value("a b; rm").run()
    assert visitor.complaints and "account" in visitor.complaints[0]
    assert slurm.read_settings(root).account == ""


def test_a_slurm_that_refuses_is_quoted_and_the_run_can_be_started_here(visit, root, jobs, monkeypatch):
    def refuse(run, settings):
        raise slurm.RunError("Slurm did not take run x: invalid partition")

    monkeypatch.setattr(slurm, "submit", refuse)
    visitor = visit("train")
    visitor.segmented_control(key="train_where").set_value("slurm").run()
    start(visitor)
    assert any("invalid partition" in words for words in visitor.complaints)
    (run,) = list_runs(root, gallery=False)
    assert "start" in Queue(root).allowed(run)


def test_a_study_is_trained_where_one_chooses(visit, root, jobs, monkeypatch):
    commands = []
    monkeypatch.setattr(local, "detach", lambda command, log: commands.append(command) or os.getpid())
    visitor = visit("studies", study="lrn")
    visitor.segmented_control(key="studies_where").set_value("slurm").run()
    visitor.button(key="studies_start").click().run()
    assert commands == [["alexnet_explorer", "study", "run", "lrn", "--on", "slurm", "--runs", str(root)]]
