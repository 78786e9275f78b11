"""Runs as jobs of a real Slurm of one node: trained, limited in number, pre-empted, out of time, cancelled, lost."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from alexnet_explorer.config import ConfigError
from alexnet_explorer.launch import slurm
from alexnet_explorer.launch.cluster import Cluster, place
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.runs import Run, RunError, list_runs, new_run
from alexnet_explorer.studies.execute import Execution
from alexnet_explorer.studies.study import parse
from alexnet_explorer.training import loop
from alexnet_explorer.training.loop import train

from . import one_node_slurm

SECONDS = 90
LONG = {"train__epochs": 60}  # some seconds of training


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A Slurm of this machine, for the tests of this file."""
    try:
        with (
            one_node_slurm.running(tmp_path_factory.mktemp("slurm")) as variables,
            pytest.MonkeyPatch.context() as patch,
        ):
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setenv("OMP_NUM_THREADS", "1")
            yield
    except one_node_slurm.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def start(packed, small, root):
    """A new run, not trained yet."""
    root.mkdir()
    yield lambda **settings: new_run(small(**settings), packed, root)
    left = [status.job for run in list_runs(root, gallery=False) if (status := run.status()).job]
    if left and "SLURM_CONF" in os.environ:
        subprocess.run(["scancel", *left], capture_output=True)


@pytest.fixture
def cluster(root):
    return Cluster(root, poll_seconds=0.2)


def wait(true, what="it"):
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.1)


def gone(run):
    """Whether Slurm has forgotten a run's job."""
    return run.status().job not in slurm.jobs()


def weights(run):
    return safetensors.torch.load_file(run.weights_file())


def same_as_here(run, packed, tmp_path):
    """Whether a run has the weights of one that is trained here without a break."""
    here = new_run(run.config, packed, tmp_path / "here")
    assert train(here).state == "done"
    found, expected = weights(run), weights(here)
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def ends(run):
    """Whether a run is done; Slurm would let a job wait for two minutes that comes back into its queue.

    Some seconds it needs, as it does not start one job twice in a second.
    """
    status = run.status()
    if status.state == "queued" and time.time() > status.heartbeat + 4:
        subprocess.run(["scontrol", "update", f"JobId={status.job}", "StartTime=now"], capture_output=True)
    return status.state == "done"


def preempt():
    """A job that is more urgent wants the whole node for a moment."""
    command = ["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    subprocess.run(command, check=True, capture_output=True)


# With a real Slurm


def test_a_study_is_trained_on_slurm_with_no_more_jobs_than_may_be(node, packed, root, start, cluster):
    slurm.write_settings(root, {"cpus": 1, "at_once": 1})
    study = parse("""
id: tiny
base: {preset: alexnet-32, data: colours, set: {model.input_size: 16, model.widths: [4, 4, 4, 4, 4],
       model.fc_widths: [8], train.precision: fp32, train.threads: 1}}
factors: {activation: {relu: {}, tanh: {model.activation: tanh}}}
contrast: activation
seeds: [1]
stop: {epochs: 2}
measure: {metric: test/top1_error}
""")
    seen = []
    execution = Execution(study, packed, root, "", lambda found: seen.append(len(slurm.jobs())), place=cluster)
    found = execution.run()
    assert found.finished and found.count("done") == 2 and max(seen) == 1
    assert cluster.entries() == []
    assert all(one.done.status().job for one in found.found)


def test_a_controller_that_is_up_answers_and_one_that_is_not_there_does_not(node, monkeypatch, tmp_path):
    assert slurm.answers()
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none.conf"))
    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 3.0)  # it asks for longer than anyone waits
    assert not slurm.answers()


def test_a_run_that_is_preempted_goes_back_into_slurms_queue_and_on_from_its_checkpoint(
    node, packed, start, cluster, tmp_path
):
    run = start(**LONG)
    cluster.add(run)
    assert run.status().state == "queued" and run.status().job and [e.run for e in cluster.entries()] == [run]
    with pytest.raises(RunError, match="waits in Slurm"):
        Queue(run.path.parent).add(run)  # and is not started here as well
    wait(lambda: run.status().epoch > 2, "two epochs")
    job = run.status().job
    preempt()
    wait(lambda: run.status().state == "queued", "the way back into the queue")
    step = run.status().step
    assert step > 0 and run.state_file.is_file()
    wait(lambda: ends(run), "the end")
    assert run.status().job == job and same_as_here(run, packed, tmp_path)
    steps = [row["step"] for row in run.metrics()[0]]
    assert steps == sorted(steps)


def test_a_job_whose_time_is_nearly_over_comes_back(node, packed, start, cluster, tmp_path):
    run = start(**LONG)
    cluster.add(run)
    wait(lambda: run.status().epoch > 2, "two epochs")
    subprocess.run(["scancel", "--signal=USR2", run.status().job], check=True)  # as Slurm does
    wait(lambda: run.status().state == "queued", "the way back into the queue")
    wait(lambda: ends(run), "the end")
    assert same_as_here(run, packed, tmp_path)


def test_a_job_that_is_killed_is_seen_to_wait_again_where_slurm_starts_it_anew(node, start, cluster):
    run = start(train__epochs=10_000)
    cluster.add(run)
    wait(lambda: run.status().epoch > 2, "two epochs")
    subprocess.run(["scontrol", "requeue", run.status().job], check=True)  # with no word to the training beforehand
    wait(lambda: not run.status().at_work, "the end of its process")
    wait(lambda: [entry.status.state for entry in cluster.entries()] == ["queued"], "its place in Slurm")
    wait(lambda: cluster.entries() and (ends(run) or run.status().state == "running"), "its second start")
    cluster.stop(run)
    wait(lambda: run.status().state == "stopped", "the stop")
    wait(lambda: gone(run), "the end of its job")
    assert cluster.entries() == []


def test_a_run_that_waits_in_slurm_is_cancelled_there(node, start, cluster, root, call):
    first, second = start(train__epochs=10_000), start()
    slurm.write_settings(root, {"cpus": os.cpu_count()})
    cluster.add(first)
    wait(lambda: first.status().state == "running", "the start")
    status, out, _ = call("queue", "add", second.id, "--on", "slurm", "--runs", root)
    assert status == 0 and f"job {second.status().job} of Slurm" in out
    listed = call("queue", "list", "--runs", root)[1].splitlines()
    assert [first.id in listed[0], second.id in listed[1]] == [True, True]
    assert call("queue", "cancel", second.id, "--runs", root)[0] == 0
    assert second.status().state == "stopped"
    wait(lambda: len(slurm.jobs()) == 1, "the cancelling")
    assert call("queue", "stop", first.id, "--runs", root)[0] == 0
    wait(lambda: first.status().state == "stopped" and gone(first), "the stop")


def test_jobs_that_are_lost_are_told_and_can_go_on(node, start, cluster, monkeypatch):
    run = start(train__epochs=10_000)
    cluster.add(run)
    wait(lambda: run.status().epoch > 2, "two epochs")
    subprocess.run(["scancel", run.status().job], check=True)  # somebody else
    wait(lambda: gone(run), "the end of its job")
    cluster.entries()
    status = run.status()
    assert status.state == "interrupted" and "resume" in Queue(run.path.parent).allowed(run)
    settings = slurm.SlurmSettings.to_submitit
    monkeypatch.setattr(
        slurm.SlurmSettings, "to_submitit", lambda self: {**settings(self), "setup": ["echo no module >&2", "exit 7"]}
    )
    broken = start()
    cluster.add(broken)
    wait(lambda: gone(broken), "the end of its job")
    assert cluster.entries() == []
    assert broken.status().state == "failed" and "ended before training began" in broken.status().message
    assert "resume" in Queue(run.path.parent).allowed(broken)


def test_what_slurm_refuses_is_said_in_its_words_and_the_run_stays_as_it_was(node, start, root, refused):
    run = start()
    slurm.write_settings(root, {"partition": "nowhere"})
    refused("invalid partition", "queue", "add", run.id, "--on", "slurm", "--runs", root)
    assert run.status().state == "queued" and not run.status().job
    assert "start" in Queue(root).allowed(run)


# Without one


@pytest.fixture
def pretended(monkeypatch):
    """Jobs that only this dictionary knows of."""
    jobs = {}

    def submit(run, settings):
        job = str(len(jobs) + 1)
        jobs[job] = slurm.Job("PENDING", "Resources")
        return job

    monkeypatch.setattr(slurm, "jobs", lambda: jobs)
    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "cancel", jobs.pop)
    monkeypatch.setattr(slurm, "unavailable", lambda: "")
    return jobs


def test_no_more_jobs_than_the_settings_allow(pretended, start, cluster, root):
    slurm.write_settings(root, {"at_once": 2})
    first, second, third = start(), start(), start()
    cluster.add(first), cluster.add(second)
    assert cluster.room(0) == 0
    with pytest.raises(RunError, match="2 runs are in Slurm already"):
        cluster.add(third)
    cluster.stop(first)
    assert cluster.room(0) == 1 and list(pretended) == ["2"] and first.status().state == "stopped"
    (entry,) = cluster.entries()
    assert (entry.run, entry.place, entry.status.message) == (second, 1, "Resources")


@pytest.mark.parametrize("job", ["--me", "", "12 13", "-u"])
def test_only_the_id_of_a_job_is_handed_to_scancel(job, monkeypatch):
    monkeypatch.setattr(slurm, "_say", lambda command: pytest.fail(f"{command} was called"))
    with pytest.raises(RunError, match="not the id of a job"):
        slurm.cancel(job)


def test_a_slurm_that_does_not_answer_changes_nothing(pretended, start, cluster, monkeypatch):
    run = start()
    cluster.add(run)
    monkeypatch.setattr(slurm, "jobs", lambda: None)
    assert [entry.run for entry in cluster.entries()] == [run] and run.status().state == "queued"


def test_a_run_that_waited_here_waits_there_and_not_in_both(pretended, start, cluster, root):
    queue, run, other = Queue(root), start(), start(train__epochs=10_000)
    queue.set_at_once(1)
    queue.add(other)  # takes the room
    try:
        queue.add(run)
        queue.pause(run)
        cluster.add(run)
        assert [entry.run for entry in queue.entries()] == [other]
        assert [entry.run for entry in cluster.entries()] == [run]
    finally:
        queue.stop(other)
        wait(lambda: other.status().state == "stopped", "the stop")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"partition": "gpu\n#SBATCH --wrap=rm"}, "partition"),
        ({"account": "a; rm -r x"}, "account"),
        ({"minutes": 1}, "minutes"),
        ({"at_once": "many"}, "at_once"),
        ({"nodes": 2}, "nodes"),
    ],
)
def test_settings_that_are_none_are_refused_by_name(changes, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        slurm.write_settings(tmp_path, changes)
    assert not slurm.folder(tmp_path).exists()


def test_settings_are_kept_and_become_a_jobs_request(tmp_path, call, refused, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    root = tmp_path / "runs"
    status, out, err = call("queue", "slurm", "partition=gpu", "gpus=1", "minutes=30", "memory_gb=8", "--runs", root)
    assert status == 0 and "partition    gpu" in out and "no Slurm" in err
    asked = slurm.read_settings(root).to_submitit()
    assert (asked["partition"], asked["gpus_per_node"], asked["time"], asked["mem"]) == ("gpu", 1, 30, "8GB")
    assert "account" not in asked
    assert json.loads(call("queue", "slurm", "--json", "--runs", root)[1])["minutes"] == 30
    refused("gpus", "queue", "slurm", "gpus=9", "--runs", root)
    refused("FIELD=VALUE", "queue", "slurm", "gpus", "--runs", root)
    slurm.folder(root).joinpath("settings.json").write_text("{")
    refused("settings.json cannot be read", "queue", "slurm", "--runs", root)


def test_where_there_is_no_slurm_that_is_said(monkeypatch, tmp_path, refused):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RunError, match="this machine has no Slurm"):
        place("slurm", tmp_path)
    refused("no Slurm", "train", "--on", "slurm", "--runs", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(slurm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"requirements-slurm\.txt"):
        place("slurm", tmp_path)
    assert isinstance(place("here", tmp_path), Queue)


def test_a_job_trains_only_the_run_that_names_it(start, monkeypatch):
    monkeypatch.setattr(slurm, "NOTED_SECONDS", 0.0)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    run = start()
    with pytest.raises(RunError, match="handed elsewhere"):
        slurm.TrainJob(str(run.path))()
    assert run.status().state == "queued"


@pytest.fixture
def job(start, monkeypatch):
    """Job 7 and its run, whose training was broken off after 5 steps; and what Slurm is asked, to which `said` answers.

    An answer is what squeue prints; None stands for silence.
    """

    def broken_off(run, at_signal):
        run.write_status(replace(run.status(), state=at_signal, step=5))
        return run.status()

    def say(command):
        asked.append(command)
        if command[0] == "squeue" and (answer := said.pop(0)) is not None:
            return answer
        if command[0] == "squeue":
            raise RunError("squeue does not answer")
        return ""

    asked, said = [], []
    run = start()
    run.write_status(replace(run.status(), job="7"))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(loop, "train", broken_off)
    monkeypatch.setattr(slurm, "_say", say)
    monkeypatch.setattr(slurm, "KILLED_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "ASK_AGAIN_SECONDS", 0.0)
    handler = signal.getsignal(signal.SIGUSR2)
    yield SimpleNamespace(run=run, train=slurm.TrainJob(str(run.path)), asked=asked, said=said)
    signal.signal(signal.SIGUSR2, handler)


@pytest.mark.parametrize("silences", [0, 2])
def test_a_job_whose_machine_others_want_asks_for_another_one(job, silences):
    job.said += [None] * silences + ["6|PENDING|Priority\n7|RUNNING|None\n"]
    job.train()
    assert (job.run.status().state, job.run.status().job) == ("queued", "7")
    assert job.asked[-1] == ["scontrol", "requeue", "7"] and len(job.asked) == silences + 2


@pytest.mark.parametrize("said", [["7|COMPLETING|None\n"], ["8|RUNNING|None\n"], [None, None, None]])
def test_a_job_that_was_cancelled_does_not_come_back(job, said):
    job.said += said
    job.train()
    assert job.run.status().state == "interrupted" and job.said == [] and job.asked[-1][0] == "squeue"


def test_a_job_that_trains_nothing_in_its_time_does_not_come_back(job):
    job.run.write_status(replace(job.run.status(), step=5))
    job.said.append("7|RUNNING|None\n")
    job.train()
    assert job.run.status().state == "failed" and "more minutes" in job.run.status().message


def test_a_slurm_that_is_silent_is_not_one_without_jobs(monkeypatch):
    monkeypatch.setattr(slurm, "_say", lambda command: "7|PENDING|Resources\n\n")
    assert slurm.jobs() == {"7": slurm.Job("PENDING", "Resources")}

    def silent(command):
        raise RunError("squeue does not answer")

    monkeypatch.setattr(slurm, "_say", silent)
    assert slurm.jobs() is None


def test_runs_that_others_wrote_without_a_job_are_read(start):
    run = start()
    status = json.loads((run.path / "status.json").read_bytes())
    del status["job"]
    (run.path / "status.json").write_text(json.dumps(status))
    assert Run(run.path).status().job == ""


def test_no_two_threads_hand_over_one_run(pretended, start, cluster):
    run, faults = start(), []

    def add():
        try:
            cluster.add(run)
        except RunError as error:
            faults.append(str(error))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pretended) == 1 and len(faults) == 3


def test_a_slurm_without_a_controller_takes_no_run(pretended, start, cluster, monkeypatch):
    run = start()
    monkeypatch.setattr(slurm, "jobs", lambda: None)
    with pytest.raises(RunError, match="Slurm does not answer"):
        cluster.add(run)
    assert pretended == {}
