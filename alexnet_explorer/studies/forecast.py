"""What a study will take: its runs, those that are there, and the time of the others by a few measured steps."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..config import RunConfig
from ..launch import local
from ..words import duration
from .study import Arm, Study
from .survey import Job, Survey, experiment

MOST_MEASURED = 16  # arms of a study; the others cost what these do


class Cost(NamedTuple):
    """Seconds of a run: whatever its length, and for each epoch."""

    fixed: float  # to load PyTorch and the data, and to look at the test images
    epoch: float


def measurable(study: Study) -> dict[Arm, RunConfig]:
    """A training of one epoch of each arm, of many some: its steps tell what a run costs, of any seed and length."""
    arms = study.arms()
    some = arms[:: -(-len(arms) // MOST_MEASURED)]
    return {arm: study.config(arm, study.seeds[0], epochs=1) for arm in some}


def start_seconds(environment: Mapping[str, str]) -> float:
    """How long a process takes until it can train, measured by one that ends then."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "alexnet_explorer.ready", "60"], cwd=local.PROJECT, env={**os.environ, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return time.perf_counter() - begin


def cost_of(estimate: Mapping[str, Any], start_seconds: float) -> Cost:
    """Of a config of `measurable`, by the fields of its `training.probe.Estimate` and the start of its process."""
    epoch = float(estimate["epoch_seconds"])
    return Cost(start_seconds + float(estimate["total_seconds"]) - epoch, epoch)


@dataclass(frozen=True)
class Forecast:
    """How much of a study is left."""

    runs: int
    done: int
    seconds: float  # until the last run ends
    at_once: int  # runs at a time
    at_most: bool  # a run may end early, where it reaches an error
    budget_hours: float | None  # that will be spent before the last run

    def __str__(self) -> str:
        """'10 runs, 4 of them done; the others take about 20 min on this machine, one after another'."""
        there = f", {self.done} of them done" if self.done else ""
        if not self.seconds:
            return f"{self.runs} runs{there}; nothing is left to be trained"
        pace = "one after another" if self.at_once == 1 else f"{self.at_once} at a time"
        bound = "at most" if self.at_most else "about"
        what = "the others take" if self.done else "they take"
        early = ", less where a run reaches its error early" if self.at_most else ""
        budget = f"; the budget of {self.budget_hours:g} h of training ends it before" if self.budget_hours else ""
        return (
            f"{self.runs} runs{there}; {what} {bound} {duration(self.seconds)} on this machine, {pace}{early}{budget}"
        )


def forecast(found: Survey, costs: Mapping[Arm, Cost], at_once: int) -> Forecast:
    """What is left of a study with `at_once` runs at a time; an arm that was not measured costs what the others do.

    Of a study that is finished none needs to be measured.
    """
    study, ahead = found.study, list(_ahead(found))
    means = [statistics.mean(values) for values in zip(*costs.values(), strict=True)]
    usual = Cost(*means) if means else Cost(0.0, 0.0)
    alone = sum(
        costs.get(job.arm, usual).fixed + (_epochs(study, job) - passed) * costs.get(job.arm, usual).epoch
        for job, passed in ahead
    )
    hours = study.budget_hours
    too_long = hours is not None and bool(ahead) and found.seconds + alone > 3600 * hours
    at_a_time = min(at_once, max(1, len(ahead)))
    early = study.stop.until is not None and any(not job.trial for job, _ in ahead)
    return Forecast(
        study.count(), found.count("done"), alone / at_a_time, at_a_time, early, hours if too_long else None
    )


def ledger_hours(surveys: Iterable[Survey]) -> tuple[float, float]:
    """Hours that studies take together, by their files, and how many of these are done; a run of several counts once.

    Each run of a study has its part of the study's hours, by its number of epochs.
    """
    hours: dict[str, float] = {}
    done: set[str] = set()
    for found in surveys:
        study = found.study
        jobs = [(one.job, experiment(one.job.config(study)), one.done is not None) for one in found.found]
        jobs += [(job, f"{study.id}: {job.arm.name}, {job.seed}", False) for job in _waiting(found)]
        all_epochs = sum(_epochs(study, job) for job, *_ in jobs)
        for job, name, is_done in jobs:
            hours.setdefault(name, (study.hours or 0.0) * _epochs(study, job) / all_epochs)
            done |= {name} if is_done else set()
    return sum(hours.values()), sum(hours[name] for name in done)


def _ahead(found: Survey) -> Iterable[tuple[Job, float]]:
    """Jobs that are still to be done, and the epochs that their run has behind it."""
    for one in found.found:
        if not one.settled:
            yield one.job, one.statuses[one.begun].epoch if one.begun else 0.0
    for job in _waiting(found):
        yield job, 0.0


def _waiting(found: Survey) -> list[Job]:
    """Jobs whose rate the sweep has still to find."""
    study = found.study
    if study.sweep is None:
        return []
    arms = [arm for arm in study.arms() if arm not in found.chosen and arm not in found.hopeless]
    return [Job(arm, seed) for arm in arms for seed in study.seeds]


def _epochs(study: Study, job: Job) -> int:
    return study.sweep.epochs if job.trial and study.sweep else study.stop.epochs
