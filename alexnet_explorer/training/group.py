"""Several processes on one training: `torchrun --nproc-per-node 2 -m alexnet_explorer train …`.

Each takes its rows of every global batch; the sum of their gradients is that of one process with the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .engine import DeviceError

T = TypeVar("T")

STEP_TIME = timedelta(minutes=30)  # for which the others are waited for in a step
FIRST_TIME = timedelta(days=14)  # for which the first process may work alone: it may pack a million pictures


class PeerLost(RuntimeError):
    """Another process of the group has ended."""


@dataclass(frozen=True)
class Group:
    """This process's place among those that train together; alone, it is the first of one."""

    rank: int = 0
    size: int = 1
    patient: dist.ProcessGroup | None = None  # the same processes, who wait for the first one

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes the run's directory."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """This process's rows of a global batch of `count`; there may be none."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors of one type by their sums over the group. Raises PeerLost."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _peers():
            dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether any process of the group says so. Raises PeerLost."""
        if self.size == 1:
            return flag
        said = torch.tensor(float(flag))  # between CPUs, so that a GPU is not waited for
        self.add_up([said])
        return bool(said)

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of their ranks. Raises PeerLost."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _peers():
            dist.all_gather_object(values, value)
        return values

    def first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, in all of them. Where it raises, the others end.

        Raises PeerLost.
        """
        if self.size == 1:
            return make()
        message: list[Any] = [None]
        try:
            if self.leads:
                message = [(make(),)]
        finally:
            with _peers():
                dist.broadcast_object_list(message, group=self.patient)
        if message[0] is None:
            raise SystemExit(1)  # the first process says why
        result: T = message[0][0]
        return result

    def take_gpu(self) -> None:
        """Compute on a GPU of this process's own. Raises DeviceError, in all processes, where there are too few."""
        if self.size == 1:
            return
        local, here, gpus = int(os.environ["LOCAL_RANK"]), os.environ["LOCAL_WORLD_SIZE"], torch.cuda.device_count()
        fault = "" if local < gpus else (
            f"train.device: {here} processes for {gpus} GPU{'s' * (gpus != 1)} of one machine; start as many as there "
            "are GPUs (--nproc-per-node), or take train.device=cpu"
        )  # fmt: skip
        if faults := [said for said in self.gather(fault) if said]:
            raise DeviceError(faults[0])
        torch.cuda.set_device(local)


ALONE = Group()


@contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not _tells_of_a_loss(error):
            raise
        raise PeerLost("another process of this training ended") from error


def _tells_of_a_loss(error: RuntimeError) -> bool:
    """Whether a call failed for the connection to another process, and not for what was asked of it.

    gloo has no type for it: what its transport says comes as a RuntimeError, and tensors that do not fit as 'enforce'.
    """
    if isinstance(error, dist.DistError):
        return not any(word in str(error) for word in ("ncclInvalidUsage", "ncclInvalidArgument"))
    return "gloo/transport" in str(error) and "enforce fail" not in str(error)


def _backends() -> str:
    """gloo between CPUs, and NCCL between GPUs: which of them computes, the run's config says later."""
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    return "cpu:gloo,cuda:nccl" if gpus else "gloo"


@contextmanager
def join() -> Iterator[Group]:
    """The group that torchrun started this process in, if it did."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    dist.init_process_group(_backends(), timeout=STEP_TIME)
    try:
        patient = dist.new_group(backend="gloo", timeout=FIRST_TIME)
        assert isinstance(patient, dist.ProcessGroup)  # this process is in it
        yield Group(dist.get_rank(), size, patient)
    finally:
        dist.destroy_process_group()
