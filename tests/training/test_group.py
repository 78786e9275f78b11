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
import torch.distributed as dist

from alexnet_explorer.model import Dropout
from alexnet_explorer.runs import list_runs
from alexnet_explorer.training import group as groups
from alexnet_explorer.training.engine import DeviceError
from alexnet_explorer.training.group import Group, PeerLost

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


class OnGpu(torch.Tensor):
    """A tensor that says that it lies on a GPU."""

    is_cuda = property(lambda self: True)  # type: ignore[assignment]


def test_one_process_with_a_gpu_draws_the_masks_of_a_group_with_gpus(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, p, on, inplace: pytest.fail("fused") if on else x)
    dropout, x = Dropout(0.4), torch.randn(12, 5).as_subclass(OnGpu)
    torch.manual_seed(3)
    whole = dropout(x)
    assert 0.1 < (whole == 0).float().mean() < 0.7
    kept = whole != 0
    torch.testing.assert_close(torch.Tensor(whole[kept]), torch.Tensor(x[kept] / 0.6))
    torch.manual_seed(3)
    dropout.share = 7, 12
    assert torch.equal(dropout(x[7:]), whole[7:])
    dropout.eval()
    assert torch.equal(dropout(x), x)


def fails(error):
    with groups._peers():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [::1]:16524"),
        dist.DistBackendError("NCCL error: ncclRemoteError: A call failed possibly due to a network error"),
        dist.DistNetworkError("The client socket has timed out"),
    ],
)
def test_a_lost_connection_means_that_another_process_has_ended(error):
    with pytest.raises(PeerLost, match="another process"):
        fails(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x9 and 8x8)"),
        RuntimeError("[enforce fail at third_party/gloo/gloo/transport/tcp/pair.cc:446] op.nbytes. 24 vs 4"),
        dist.DistBackendError("NCCL error: ncclInvalidUsage: Duplicate GPU detected"),
    ],
)
def test_any_other_fault_is_told_as_what_it_is(error):
    with pytest.raises(type(error)) as raised:
        fails(error)
    assert raised.value is error


@pytest.mark.parametrize(("gpus", "local", "refused"), [(1, 1, True), (2, 1, False), (1, 0, True), (0, 0, True)])
def test_each_process_has_a_gpu_of_its_own_or_none_begins(monkeypatch, gpus, local, refused):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")

    def others_too(self, said):
        said_by = []
        for rank in (0, 1):
            monkeypatch.setenv("LOCAL_RANK", str(rank))
            monkeypatch.setattr(Group, "gather", lambda self, said: said_by.append(said) or [])
            self.take_gpu()
        monkeypatch.setenv("LOCAL_RANK", str(local))
        taken.clear()
        return said_by

    monkeypatch.setattr(Group, "gather", others_too)
    monkeypatch.setenv("LOCAL_RANK", str(local))
    if refused:
        with pytest.raises(DeviceError, match=rf"2 processes for {gpus} GPUs? of one machine.*--nproc-per-node"):
            Group(local, 2).take_gpu()
        assert taken == []
    else:
        Group(local, 2).take_gpu()
        assert taken == [local]


def test_alone_a_process_computes_on_the_gpu_that_it_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: pytest.fail("nobody asked for another one"))
    groups.ALONE.take_gpu()


@pytest.mark.parametrize(("gpu", "backends"), [(True, "cpu:gloo,cuda:nccl"), (False, "gloo")])
def test_processors_talk_by_gloo_also_where_there_are_gpus(monkeypatch, gpu, backends):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    assert groups._backends() == backends


PATIENT = r"""
import os, sys, time
from datetime import timedelta
import torch
from alexnet_explorer.training import group as groups

groups.STEP_TIME = timedelta(seconds=2)
with groups.join() as group:
    packed = group.first(lambda: time.sleep(5) or "packed")
    ones = torch.ones(3)
    group.add_up([ones])
    # In one piece: two processes write to one pipe.
    os.write(1, f"{packed} {ones.tolist()} {group.any(group.rank == 1)} {group.gather(group.rank)}\n".encode())
    if group.rank == 1:
        os._exit(0)
    try:
        for _ in range(100):
            group.add_up([ones])
    except groups.PeerLost as error:
        os.write(1, f"{error}\n".encode())
"""


def test_the_others_wait_while_the_first_process_packs_and_hear_of_a_loss_in_a_step(tmp_path):
    script = tmp_path / "patient.py"
    script.write_text(PATIENT, encoding="utf-8")
    command = [sys.executable, "-m", *TORCHRUN[:-1], str(script)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    both = "packed [2.0, 2.0, 2.0] True [0, 1]"
    assert sorted(done.stdout.splitlines()) == ["another process of this training ended", both, both], done.stderr


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
    assert (run.env()["processes"], alone.env()["processes"]) == (2, 1)


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
