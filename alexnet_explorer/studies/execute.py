"""Train what a study still lacks, through the queue or on a cluster, until nothing is left or someone stops it.

It can be ended at any moment, by a signal or a power cut: the next call sees by the runs where it was.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..data.packed import PackedSet
from ..files import write_json
from ..inspection.readings import READINGS
from ..launch import slurm
from ..launch.cluster import Place
from ..launch.queue import Queue
from ..runs import LIVE, Run, RunError, Status, new_run
from ..weights import load_weights
from .ledger import own_folder
from .study import Study
from .survey import TRIES, Found, Shelf, Survey, readings_file, survey

Report = Callable[[Survey], None]

LOCK_SECONDS = 0.5  # between two looks whether it is to stop
MOST_REFUSALS = 5  # of the place, in a row: a disk that is full, or a Slurm that is silent, may be so for a moment


class Execution:
    """One process's work on a study.

    `code`: only runs of this code count as done (empty: of any). `place`: where runs are trained, the queue of this
    machine if it is left out. Runs that it has started, and that somebody
    pauses or stops meanwhile, are left alone until the next call.
    """

    def __init__(
        self, study: Study, packed: PackedSet, root: Path, code: str, report: Report = lambda found: None,
        stopping: Callable[[], bool] = lambda: False, place: Place | None = None,
    ) -> None:  # fmt: skip
        self.study, self.packed, self.root, self.code = study, packed, root, code
        self.report, self.stopping = report, stopping
        self.place, self.shelf = place or Queue(root), Shelf(root)
        self.started: Counter[Run] = Counter()  # how often by this call

    def look(self) -> Survey:
        """Where the study stands."""
        return survey(self.study, self.shelf.runs(), self.packed.digest, self.code)

    def run(self) -> Survey:
        """Train until everything is done, the budget is spent, or `stopping` says so. Raises RunError."""
        refusals = 0
        while True:
            with suppress(RunError):
                self.place.wake()  # where its scheduler died, nobody else may look after the runs that wait
            try:
                with self._alone():
                    # The queue first: a run that ends between the two looks is then seen as done, not as gone.
                    queued = {entry.run for entry in self.place.entries() if entry.status.state in LIVE}
                    found = self.look()
                    waits = not self.stopping() and self._start_some(found, queued)
                refusals = 0
            except RunError:
                refusals += 1
                if refusals > MOST_REFUSALS:
                    raise
                found, waits = self.look(), True
            self.report(found)
            if self.stopping():
                self._put_down(self.look())
                return self.look()
            for run in found.unread:
                self._read(run)
            if not waits:
                return self.look()
            time.sleep(self.place.poll_seconds)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for other studies: two may need the same run, which is to be trained once. Raises RunError."""
        lock = FileLock(own_folder(self.root) / ".start.lock")  # which is the name of no study's own lock
        try:
            own_folder(self.root).mkdir(parents=True, exist_ok=True)
            while not lock.is_locked and not self.stopping():
                with suppress(Timeout):
                    lock.acquire(timeout=LOCK_SECONDS)
        except OSError as error:
            raise RunError(f"{own_folder(self.root)} cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()

    def _start_some(self, found: Survey, queued: Set[Run]) -> bool:
        """Start what there is room for. Returns whether anything is to be waited for."""
        busy = {one.begun for one in found.found if one.begun and (one.begun in queued or _elsewhere(one))}
        startable = [] if self.spent(found) else self._startable(found, busy)
        room = max(0, self.place.room(len(busy & queued))) if startable else 0
        for one in startable[:room]:
            self._start(one)
        return bool(busy or startable)

    def _read(self, run: Run) -> None:
        """Take the study's reading of a run that is done, beside those of other studies, which may read it as well."""
        assert self.study.measure.reading is not None
        if (weights := run.weights_file()) is None:
            raise RunError(f"run {run.id} has kept no weights that could be looked at: delete it, to train it anew")
        file = readings_file(run)
        found = READINGS[self.study.measure.reading](load_weights(weights), self.packed)
        with self._alone():
            readings: object = {}
            with suppress(OSError, ValueError):
                readings = json.loads(file.read_bytes())
            kept = readings if isinstance(readings, dict) else {}  # a damaged file is read anew
            write_json(file, {**kept, self.study.measure.reading: list(found)})

    def spent(self, found: Survey) -> bool:
        """Whether the study's budget of training time is used up."""
        hours = self.study.budget_hours
        return hours is not None and found.seconds >= 3600 * hours

    def _startable(self, found: Survey, busy: Set[Run]) -> list[Found]:
        """Jobs without a run, with one that failed once, was broken off before this call, or died."""

        def may(run: Run, status: Status) -> bool:
            return run not in busy and self.started[run] < (TRIES if status.state == "interrupted" else 1)

        return [
            one for one in found.found
            if not one.settled and (one.begun is None or may(one.begun, one.statuses[one.begun]))
        ]  # fmt: skip

    def _start(self, one: Found) -> None:
        run = one.begun or new_run(one.job.config(self.study), self.packed, self.root)
        self.place.add(run)
        self.started[run] += 1

    def _put_down(self, found: Survey) -> None:
        """Stop what this call has started; each run keeps its checkpoint."""
        for run in [one.begun for one in found.found if one.begun and one.begun in self.started]:
            with suppress(RunError):  # it has ended this moment
                self.place.stop(run)


def _elsewhere(one: Found) -> bool:
    """Whether its run is at work, or waits in the Slurm of this machine, whoever has started it."""
    status = one.statuses[one.begun] if one.begun else None
    return status is not None and (
        status.at_work or (status.state == "queued" and bool(status.job) and not slurm.unavailable())
    )
