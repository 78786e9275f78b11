"""Where a study stands, read from the runs alone: which of its runs are there, which are still to be trained.

A study keeps no books. A run belongs to it by its config: whoever trained it, on the page, by hand or for another
study, it counts.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..config import RunConfig
from ..runs import EVIDENCE, Run, RunError, Status, list_runs
from ..words import duration
from .study import Arm, Study

TRIES = 2  # a run that failed is tried once more

JobState = Literal["to do", "under way", "done", "failed", "waits for the sweep"]


def experiment(config: RunConfig) -> str:
    """What a run's config says of the experiment, as a digest: the data count by their name, not by their pixels."""
    model = config.model.model_copy(update={"num_classes": 2})
    data = config.data.model_copy(update={"digest": ""})
    return config.model_copy(update={"model": model, "data": data}).digest()


class Shelf:
    """All runs by what they compute. A config never changes, so that each is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[Path, str] = {}
        self.outcomes: dict[Any, Any] = {}  # what was read of runs that are done, which never change

    def runs(self) -> dict[str, list[Run]]:
        """The runs of each experiment: those of the folder first, the newest first, then those that ship."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in [*list_runs(self.root), *list_runs(EVIDENCE, gallery=False)]:
            if run.path not in self._known:
                try:
                    self._known[run.path] = experiment(run.config)
                except RunError:
                    continue  # a damaged one is nobody's
            found[self._known[run.path]].append(run)
        return found


def code_of(run: Run) -> str:
    """The digest of the code that computed a run, or those of its parts; empty before it began, or was noted."""
    return ", then ".join(run.codes())


def readings_file(run: Run) -> Path:
    """Where what was read off the trained network is kept: {"ten-crop": [baseline, other], …}."""
    return run.path / "readings.json"


def reading_of(run: Run, name: str) -> tuple[float, float] | None:
    """A reading that was taken; None where it was not, or its file is damaged."""
    try:
        baseline, other = json.loads(readings_file(run).read_bytes())[name]
        return float(baseline), float(other)
    except (OSError, ValueError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class Job:
    """One run of a study."""

    arm: Arm
    seed: int
    swept: float | None = None  # the value of the sweep's field
    trial: bool = False  # of the sweep: it finds the arm's value, and is not counted

    def config(self, study: Study) -> RunConfig:
        """What is to be trained."""
        epochs = study.sweep.epochs if self.trial and study.sweep else None
        return study.config(self.arm, self.seed, self.swept, epochs)


@dataclass(frozen=True)
class Found:
    """A job and the runs that are there for it, the newest first."""

    job: Job
    runs: tuple[Run, ...] = ()

    @cached_property
    def statuses(self) -> dict[Run, Status]:
        return {run: run.status() for run in self.runs}

    @property
    def done(self) -> Run | None:
        """The run whose result counts."""
        return next((run for run, status in self.statuses.items() if status.state == "done"), None)

    @property
    def begun(self) -> Run | None:
        """A run that waits, is at work, or can be gone on with; one at work before those at rest."""
        begun = [run for run, status in self.statuses.items() if status.state not in ("done", "failed")]
        return min(begun, key=lambda run: not self.statuses[run].at_work, default=None)  # of equals the newest

    @property
    def failures(self) -> list[Run]:
        return [run for run, status in self.statuses.items() if status.state == "failed"]

    @property
    def state(self) -> JobState:
        if self.done:
            return "done"
        if self.begun:
            return "under way"
        return "failed" if len(self.failures) >= TRIES else "to do"

    @property
    def settled(self) -> bool:
        return self.state in ("done", "failed")

    @property
    def seconds(self) -> float:
        """Spent on it so far, failures included."""
        return sum(status.seconds for run, status in self.statuses.items() if not run.in_gallery)


@dataclass(frozen=True)
class Chosen:
    """What the sweep found for one arm."""

    value: float
    at_edge: bool  # the best one is the lowest or the highest that was tried, so a better one may lie beyond
    scores: Mapping[float, float | None]  # of each value; None where its runs failed


@dataclass(frozen=True)
class Survey:
    """A study at one moment. `waiting` are arms whose counted runs have to wait for their sweep."""

    study: Study
    trials: tuple[Found, ...] = ()
    counted: tuple[Found, ...] = ()
    chosen: Mapping[Arm, Chosen] = field(default_factory=dict)

    @property
    def found(self) -> tuple[Found, ...]:
        return (*self.trials, *self.counted)

    @property
    def unread(self) -> list[Run]:
        """Runs that are done and of which the study's reading was not taken yet."""
        name = self.study.measure.reading
        return [one.done for one in self.counted if name and one.done and reading_of(one.done, name) is None]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be trained."""
        return all(one.settled for one in self.found) and self.count("waits for the sweep") == 0

    def count(self, state: JobState) -> int:
        """How many of the study's runs are in a state."""
        if state == "waits for the sweep":
            return self.study.count() - len(self.found) - len(self.study.seeds) * len(self.hopeless)
        return sum(one.state == state for one in self.found)

    @cached_property
    def hopeless(self) -> list[Arm]:
        """Arms of whose sweep every run failed: they cannot be trained."""
        return [arm for arm in self.study.arms() if self.study.sweep and arm not in self.chosen and self._swept(arm)]

    def _swept(self, arm: Arm) -> bool:
        trials = [one for one in self.trials if one.job.arm == arm]
        return bool(trials) and all(one.settled for one in trials)

    @property
    def seconds(self) -> float:
        """Spent on the study's runs in this folder."""
        return sum(one.seconds for one in self.found)

    def time_left(self, at_once: int) -> str:
        """'about 3 h 20 min left', with so many runs at a time; empty where nothing is left, or nothing known."""
        left = self.seconds_left()
        if not left or self.finished:
            return ""
        # Only runs that are done say how early the others may end.
        bound = "at most" if self.study.stop.until and not any(one.done for one in self.counted) else "about"
        return f"{bound} {duration(left / at_once)} left"

    def seconds_left(self) -> float | None:
        """What the runs so far let one expect of the others, one after another; None before the first one is done."""
        spent: dict[bool, list[float]] = {True: [], False: []}
        per_arm: dict[tuple[Arm, bool], list[float]] = defaultdict(list)
        for one in self.found:
            if one.done:
                seconds = one.statuses[one.done].seconds
                spent[one.job.trial].append(seconds)
                per_arm[one.job.arm, one.job.trial].append(seconds)
        left = 0.0
        for job, done_already in self._ahead():
            known = per_arm[job.arm, job.trial] or spent[job.trial]
            if not known and not spent[not job.trial]:
                return None
            left += max(0.0, (statistics.mean(known) if known else self._by_epochs(job, spent)) - done_already)
        return left

    def _by_epochs(self, job: Job, spent: Mapping[bool, list[float]]) -> float:
        """Seconds of a kind of run that was never done, by those of the other kind."""
        other = replace(job, trial=not job.trial)
        return statistics.mean(spent[other.trial]) * self._epochs(job) / self._epochs(other)

    def epochs_ahead(self) -> int:
        """Passes over the training images that are still to be made, at most."""
        return sum(self._epochs(job) for job, _ in self._ahead())

    def lacking(self, arms: Collection[Arm]) -> tuple[int, int]:
        """How many runs of these arms, sweep included, are still to be trained, and their epochs at most."""
        jobs = [job for job, _ in self._ahead() if job.arm in arms]
        return len(jobs), sum(map(self._epochs, jobs))

    def _epochs(self, job: Job) -> int:
        return self.study.sweep.epochs if job.trial and self.study.sweep else self.study.stop.epochs

    def _ahead(self) -> Iterable[tuple[Job, float]]:
        """Jobs that are not settled, and the seconds already spent on their run."""
        for one in self.found:
            if not one.settled:
                yield one.job, one.statuses[one.begun].seconds if one.begun else 0.0
        for arm in self.study.arms():
            if self.study.sweep and arm not in self.chosen and arm not in self.hopeless:
                for seed in self.study.seeds:
                    yield Job(arm, seed), 0.0


def survey(study: Study, there: Mapping[str, Sequence[Run]], data_digest: str = "", code: str = "") -> Survey:
    """Look for the study's runs among those of `Shelf.runs`.

    `data_digest`: only runs on exactly these pixels; `code`: only runs that this code computed, or that have not
    begun. Both are for training on; a report takes what is there, and says what differs.
    """

    def find(job: Job) -> Found:
        runs = list(there.get(experiment(job.config(study)), ()))
        if data_digest:
            runs = [run for run in runs if run.config.data.digest == data_digest]
        if code:
            runs = [run for run in runs if code_of(run) == code or not (run.path / "env.json").is_file()]
        return Found(job, tuple(runs))

    if study.sweep is None:
        return Survey(study, counted=tuple(find(Job(arm, seed)) for seed in study.seeds for arm in study.arms()))
    trials: list[Found] = []
    chosen = {}
    for arm in study.arms():
        mine = [find(Job(arm, seed, value, True)) for value in study.sweep.values for seed in study.sweep.seeds]
        trials += mine
        if all(one.settled for one in mine) and (best := _best(study, mine)):
            chosen[arm] = best
    # Seed by seed, so that a study that is broken off has whole pairs.
    counted = [find(Job(arm, seed, chosen[arm].value)) for seed in study.seeds for arm in study.arms() if arm in chosen]
    return Survey(study, tuple(trials), tuple(counted), chosen)


def _best(study: Study, trials: Iterable[Found]) -> Chosen | None:
    """The value with the lowest mean score among those of which every run came to its end."""
    assert study.sweep is not None
    found: dict[float, list[float]] = defaultdict(list)
    for one in trials:
        assert one.job.swept is not None
        score = one.statuses[one.done].summary.get(study.sweep.choose, math.inf) if one.done else math.inf
        found[one.job.swept].append(score)
    scores = {value: mean if math.isfinite(mean := statistics.mean(all_)) else None for value, all_ in found.items()}
    known = {value: score for value, score in scores.items() if score is not None}
    if not known:
        return None
    value = min(known, key=lambda one: known[one])
    return Chosen(value, value in (study.sweep.values[0], study.sweep.values[-1]), scores)
