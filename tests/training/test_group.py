"""Two processes under torchrun train as one does, and lose nothing when one is killed."""

import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import psutil
import pytest
import torch

from alexnet_explorer.model import Dropout
from alexnet_explorer.runs import list_runs
from alexnet_explorer.training.group import Group

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = [
    "--set", "train.precision=fp32", "--set", "train.threads=1", "--set", "model.widths=8,12,12,12,8",
    "--set", "model.fc_widths=32,32", "--set", "model.dropout=0.5", "--set", "train.batch_size=99",
]  # fmt: skip
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def train(root, *arguments, processes=1, wait=True):
    """`train` of the command line, alone or under torchrun; its process."""
    module = ["alexnet_explorer"] if processes == 1 else [*TORCHRUN, "alexnet_explorer"]
    command = [sys.executable, "-m", *module, "train", "--runs", str(root), *arguments]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if wait:
        process.out, process.err = process.communicate(timeout=120)
    return process


def losses(run):
    return [row["train/loss"] for row in run.metrics()[0] if "train/loss" in row]


def test_rows_part_a_batch_without_a_gap():
    for size in (1, 2, 3, 8):
        for count in (0, 1, 7, 8, 128):
            parts = [list(range(count))[Group(rank, size).rows(count)] for rank in range(size)]
            assert list(chain(*parts)) == list(range(count))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_masks_of_two_processes_are_the_halves_of_one():
    dropout, x = Dropout(0.4), torch.randn(12, 5)
    torch.manual_seed(3)
    whole = dropout(x)
    parts = []
    for first, last in ((0, 7), (7, 12)):
        torch.manual_seed(3)
        dropout.share = first, 12
        parts.append(dropout(x[first:last]))
    torch.testing.assert_close(torch.cat(parts), whole)
    dropout.eval()
    assert torch.equal(dropout(x), x)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    process = train(root, "--epochs", "2", *SETTINGS)
    assert process.returncode == 0, process.err
    return list_runs(root, gallery=False)[0]


def test_two_processes_have_the_loss_curve_of_one(alone, tmp_path):
    process = train(tmp_path, "--epochs", "2", *SETTINGS, processes=2)
    assert process.returncode == 0, process.err
    (run,) = list_runs(tmp_path, gallery=False)
    assert process.out.split() == [run.id]  # said once
    assert run.status().state == "done"
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5) and len(losses(run)) >= 20
    ours, theirs = run.status().summary, alone.status().summary
    assert ours["test/loss"] == pytest.approx(theirs["test/loss"], abs=1e-5)
    assert ours["val/top1_error"] == theirs["val/top1_error"]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_interrupts_the_run_and_it_goes_on(alone, tmp_path, victim):
    process = train(tmp_path, "--epochs", "2", *SETTINGS, processes=2, wait=False)
    workers = _workers(process.pid)
    deadline = time.monotonic() + 60
    while not (runs := list_runs(tmp_path, gallery=False)) or runs[0].status().epoch < 1:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
        workers = workers or _workers(process.pid)
    os.kill(workers[victim], signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    (run,) = runs
    assert run.status().state == "interrupted"
    resumed = train(tmp_path, "--resume", run.id, processes=2)
    assert resumed.returncode == 0, resumed.err
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5)


def _workers(launcher):
    """The pids of the training processes in the order of their ranks."""
    found = {}
    for child in psutil.Process(launcher).children():
        rank = child.environ().get("RANK")
        if rank is not None:
            found[int(rank)] = child.pid
    return [found[rank] for rank in sorted(found)] if len(found) == 2 else []


def test_what_the_first_process_refuses_ends_all_of_them(tmp_path):
    process = train(tmp_path, "--set", "model.activation=swish", processes=2)
    assert process.returncode != 0
    assert process.err.count("model.activation='swish'") == 1
    assert list_runs(tmp_path, gallery=False) == []
