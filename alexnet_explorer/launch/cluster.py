"""Slurm as a place where runs are executed: the same calls as the local queue's, one job a run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ..runs import LIVE, Run, RunError, Status, list_runs
from . import slurm
from .queue import Entry, Queue

PlaceName = Literal["here", "slurm"]


class Place(Protocol):
    """Where runs are executed. What cannot be done raises RunError."""

    @property
    def poll_seconds(self) -> float:
        """How long to wait between two looks."""

    def entries(self) -> list[Entry]:
        """The runs at work, then those that wait, in order."""

    def at_once(self) -> int:
        """How many may be at work at once."""

    def room(self, ours: int) -> int:
        """How many more runs someone may add who has `ours` there."""

    def add(self, run: Run) -> None:
        """Let a run wait, and be trained when there is room."""

    def stop(self, run: Run) -> None:
        """End a run; it keeps its checkpoint."""

    def wake(self) -> None:
        """See that what waits is looked after, whoever died meanwhile."""


def place(name: PlaceName, root: Path) -> Place:
    """The place of this name, for the runs of a folder. Raises RunError where it cannot be had."""
    if name == "slurm":
        slurm.require()
        return Cluster(root)
    return Queue(root)


@dataclass(frozen=True)
class Cluster:
    """The runs of one folder in Slurm. A run's status names its job for as long as it is there."""

    root: Path
    poll_seconds: float = 5.0  # Slurm's controller serves a whole cluster

    def entries(self) -> list[Entry]:
        """The runs at work, then those that wait. A run whose job is gone is told so in its status."""
        before = self._handed_over()
        if not before:
            return []
        jobs = slurm.jobs()
        after = self._handed_over()
        there = []
        for run, status in after.items():
            if jobs is None or status.job in jobs:
                there.append((run, _as_slurm_sees(run, status, (jobs or {}).get(status.job))))
            elif run in before and before[run].job == status.job:  # not one that was handed over since
                _settle_lost(run, status)
        there.sort(key=lambda pair: (not pair[1].at_work, pair[0].id))
        working = sum(status.at_work for _, status in there)
        return [Entry(run, status, max(0, n - working)) for n, (run, status) in enumerate(there, start=1)]

    def at_once(self) -> int:
        """How many jobs of this folder may wait or run at once."""
        return slurm.read_settings(self.root).at_once

    def room(self, ours: int) -> int:
        """How many more jobs there may be: those of other studies take room, too, and one that is about to end."""
        jobs = slurm.jobs()
        if jobs is None:
            return 0
        own = {run.status().job for run in list_runs(self.root, gallery=False)}
        return self.at_once() - len(own & jobs.keys())

    def add(self, run: Run) -> None:
        """Hand a run over to Slurm. Raises RunError where there are as many as may be."""
        settings = slurm.read_settings(self.root)
        if slurm.jobs() is None:
            raise RunError("Slurm does not answer: ask `scontrol ping` whether its controller is up")
        if self.room(0) <= 0:
            raise RunError(f"{settings.at_once} runs are in Slurm already, as many as `at_once` allows")
        Queue(self.root).hand_over(run, lambda one: slurm.submit(one, settings))

    def stop(self, run: Run) -> None:
        """End a run: it keeps its checkpoint."""
        Queue(self.root).stop(run)

    def wake(self) -> None:
        """Nothing: Slurm itself looks after what waits."""

    def _handed_over(self) -> dict[Run, Status]:
        """The runs that a job is to train, or was training when it was last heard of."""
        found = {run: run.status() for run in list_runs(self.root, gallery=False)}
        return {run: s for run, s in found.items() if s.job and s.state in (*LIVE, "interrupted")}


def _as_slurm_sees(run: Run, status: Status, job: slurm.Job | None) -> Status:
    """The status of a run whose job is in Slurm's queue, with the reason for which it waits.

    A process that is silent was killed, and its job waits once more.
    """
    waits = job is not None and job.state == "PENDING"
    if status.state == "interrupted":
        if waits:
            with suppress(RunError):
                run.settle("queued", job=status.job)
        status = replace(status, state="queued", message="", pid=0)
    return replace(status, message=job.reason) if job and waits and job.reason != "None" else status


def _settle_lost(run: Run, status: Status) -> None:
    """Of a run whose job is gone without a last word."""
    with suppress(RunError):  # someone else has it
        if status.state == "queued" and not status.step:
            hint = slurm.log(run.path, status.job).name
            run.settle("failed", f"its Slurm job {status.job} ended before training began; see .slurm/{hint}")
        else:
            run.settle("interrupted", f"its Slurm job {status.job} is gone; it can be resumed")
