"""Several processes on one training: `torchrun --nproc-per-node 2 -m alexnet_explorer train …`.

Each takes its rows of every global batch; the sum of their gradients is that of one process with the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class PeerLost(RuntimeError):
    """Another process of the group has ended."""


@dataclass(frozen=True)
class Group:
    """This process's place among those that train together; alone, it is the first of one."""

    rank: int = 0
    size: int = 1

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
        said = torch.tensor(float(flag), device="cuda" if dist.get_backend() == "nccl" else "cpu")
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
                dist.broadcast_object_list(message)
        if message[0] is None:
            raise SystemExit(1)  # the first process says why
        result: T = message[0][0]
        return result


ALONE = Group()


@contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost("another process of this training ended") from error


@contextmanager
def join() -> Iterator[Group]:
    """The group that torchrun started this process in, if it did: NCCL between GPUs, gloo between CPUs."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Group(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
