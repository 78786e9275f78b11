"""The queue of a runs folder: which runs wait, in which order, and how many may be at work at once on this machine.

    runs/.queue/  queue.json  lock  scheduler.lock  log.txt

What a run is doing stands in its own status; the queue adds the order, and how many at once. Whoever changes it
holds its lock, starts what has room, and, where runs are left to wait, sees that the scheduler's process is there
to start them later. So however many apps look at one folder, no run is started twice.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import Field, TypeAdapter, ValidationError

from ..config import MOST_THREADS
from ..files import write_json
from ..runs import Run, RunError, Status, list_runs, process_started
from . import local, slurm
from .cores import usable_cores

Action = Literal["start", "resume", "pause", "stop", "cancel", "move", "delete"]

MOST_AT_ONCE = 64
LOCK_SECONDS = 20.0  # starting a process is the longest for which anyone holds the lock
POLL_SECONDS = 1.0
AHEAD = 1  # runs of one study that wait, so that the next one starts as soon as there is room
LINGER_SECONDS = 3.0  # before a scheduler that has nothing to do ends

_DONE: dict[Action, str] = {"start": "added", "resume": "resumed", "pause": "paused", "stop": "stopped",
                            "cancel": "cancelled", "move": "moved", "delete": "deleted"}  # fmt: skip


@dataclass(frozen=True)
class Book:
    """What `queue.json` holds."""

    order: tuple[str, ...] = ()  # ids, those at work first
    at_once: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] | None = None  # None: one, or one for each GPU
    slots: dict[str, int] = field(default_factory=dict)  # which of the places at work a run has
    scheduler: tuple[int, float] = (0, 0.0)  # its process id and start time, from the moment that it was started


_BOOK = TypeAdapter(Book)


@dataclass(frozen=True)
class Entry:
    """One run of the queue. `place` is 0 where it is at work, else it counts from 1."""

    run: Run
    status: Status
    place: int


# What may happen to a run, told from its status and whether it stands in the queue


def allowed(status: Status, queued: bool) -> frozenset[Action]:
    """What can be done with a run of one's own."""
    if status.at_work:
        return frozenset({"pause", "stop"})
    if status.state == "done":
        return frozenset({"delete"})
    if status.state == "queued" and status.job:  # it waits in Slurm
        return frozenset({"stop" if status.step else "cancel"})
    can: set[Action] = {"delete"}
    if queued:
        can.add("move")
    if status.state == "queued":
        can.add("pause" if queued else "start")
    elif not status.diverged:
        can.add("resume")
    if queued or status.state in ("queued", "paused"):
        can.add("stop" if status.step else "cancel")
    return frozenset(can)


def belongs(status: Status) -> bool:
    """Whether a run keeps its place: one that is paused, or whose process died, does until someone decides on it."""
    return status.at_work or status.state in ("queued", "paused", "interrupted")


def tidy(book: Book, statuses: Mapping[str, Status]) -> Book:
    """Without the runs that are gone or have ended, those at work first, the order otherwise kept."""
    kept = [name for name in dict.fromkeys(book.order) if name in statuses and belongs(statuses[name])]
    kept.sort(key=lambda name: not statuses[name].at_work)
    slots = {name: slot for name, slot in book.slots.items() if name in statuses and statuses[name].at_work}
    return replace(book, order=tuple(kept), slots=slots)


def waiting(book: Book, statuses: Mapping[str, Status]) -> list[str]:
    """The runs that only wait for room, in order."""
    return [name for name in book.order if statuses[name].state == "queued" and not statuses[name].at_work]


def moved(book: Book, statuses: Mapping[str, Status], name: str, place: int) -> Book:
    """With one run at another place: 1 is the next to be started; beyond the end is the end."""
    order = [other for other in book.order if other != name]
    order.insert(sum(statuses[other].at_work for other in order) + max(place, 1) - 1, name)
    return replace(book, order=tuple(order))


def free_slot(slots: Mapping[str, int]) -> int:
    """The lowest number that no run at work has."""
    return next(number for number in range(len(slots) + 1) if number not in slots.values())


def share(slot: int, at_once: int, gpus: Sequence[str], cores: int) -> dict[str, str]:
    """The environment that gives a run its share of the machine: a GPU of its own, and of the cores its part."""
    environment = {}
    if len(gpus) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    threads = str(max(1, (cores - 1) // at_once))  # one core stays with the page
    return environment | {"OMP_NUM_THREADS": threads, MOST_THREADS: threads}


def gpus_of(environment: Mapping[str, str], driver: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them, without asking PyTorch; by Linux's driver."""
    own = environment.get("CUDA_VISIBLE_DEVICES")
    if own is not None:
        return [name.strip() for name in own.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(driver.iterdir())))] if driver.is_dir() else []


def refusal(run: Run, status: Status, queued: bool, action: Action) -> str:
    """Why an action is not possible, in one sentence."""
    if status.at_work:
        state = "is at work"
    elif status.state == "queued" and status.job:
        state = f"waits in Slurm, as job {status.job}"
    elif status.state == "queued":
        state = "waits in the queue already" if queued else "does not wait in the queue"
    elif status.diverged and action in ("start", "resume"):
        return f"run {run.id} would diverge again: clone it with a lower learning rate"
    else:
        state = f"is {status.state}"
    return f"run {run.id} {state}: it cannot be {_DONE[action]}"


# The queue on the disk


@dataclass(frozen=True)
class Queue:
    """The queue of one runs folder. Whatever cannot be done raises RunError, in words."""

    root: Path
    standby: local.Standby | None = None
    poll_seconds: float = POLL_SECONDS  # of whoever waits for its runs

    @property
    def folder(self) -> Path:
        return self.root / ".queue"

    def entries(self) -> list[Entry]:
        """The runs at work, then those that wait or are put aside, in order."""
        book = self._read()
        statuses = self._statuses(book.order)
        order = tidy(book, statuses).order
        before = sum(statuses[name].at_work for name in order)
        return [
            Entry(Run(self.root / name), statuses[name], max(0, number - before))
            for number, name in enumerate(order, start=1)
        ]

    def at_once(self) -> int:
        """How many runs may be at work at once on this machine."""
        return _at_once(self._read())

    def room(self, ours: int) -> int:
        """How many more runs someone may add who has `ours` here: more only wait, and keep others from passing."""
        return self.at_once() + AHEAD - ours

    def environment(self) -> dict[str, str]:
        """What a run that is started next gets of this machine, as `share` has it."""
        return _environment(self._seen()[0])

    def next_place(self) -> int:
        """The place that a run would have if it were added now; 0 where it would start."""
        book, statuses = self._seen()
        if _room(book, statuses) > len(waiting(book, statuses)):
            return 0
        return 1 + sum(not statuses[name].at_work for name in book.order)

    def prepare(self) -> None:
        """Where a run that is added now would start: have a process on standby for it."""
        book, statuses = self._seen()
        if self.standby and _room(book, statuses) > len(waiting(book, statuses)):
            self.standby.prepare(_environment(book))

    def allowed(self, run: Run) -> frozenset[Action]:
        """What can be done with this run now."""
        return frozenset() if run.in_gallery else allowed(run.status(), run.id in self._read().order)

    def add(self, run: Run, quick: bool = False) -> None:
        """Let a run wait at the end, or at the place that it kept, and start it where there is room.

        `quick`: someone waits for its first curves.
        """
        with self._changing() as book:
            if self._require(run, book, "start", "resume").state != "queued":
                run.settle("queued")
            self._write(replace(book, order=tuple(dict.fromkeys([*book.order, run.id]))))
            self._go_on(quick)

    def hand_over(self, run: Run, submit: Callable[[Run], str]) -> None:
        """Give a run to Slurm: it leaves the queue. `submit` returns its job's id."""
        with self._changing() as book:
            self._require(run, book, "start", "resume")
            with run.held():  # its process cannot begin before the status names its job
                job = submit(run)
                nobody: dict[str, Any] = {"host": "", "pid": 0, "pid_started": 0.0}
                run.write_status(replace(run.status(), state="queued", message="", job=job, **nobody))
            self._write(replace(book, order=tuple(name for name in book.order if name != run.id)))

    def pause(self, run: Run) -> None:
        """Put a run aside: it keeps its checkpoint and its place, and lets others pass."""
        self._put_aside(run, "paused", "pause")

    def stop(self, run: Run) -> None:
        """End a run: it keeps its checkpoint and leaves the queue."""
        self._put_aside(run, "stopped", "stop", "cancel")

    def cancel(self, run: Run) -> None:
        """Take a run that has not begun out of the queue. It stays among the runs, as stopped."""
        self._put_aside(run, "stopped", "cancel")

    def move(self, run: Run, place: int) -> None:
        """Give a run another place among those that are not at work: 1 comes next."""
        with self._changing() as book:
            self._require(run, book, "move")
            self._write(moved(book, self._statuses(book.order), run.id, place))

    def delete(self, run: Run) -> Run:
        """Move a run that is not at work to the trash; returns it as it lies there."""
        with self._changing() as book:
            self._require(run, book, "delete")
            deleted = run.delete()
            self._write(replace(book, order=tuple(name for name in book.order if name != run.id)))
        return deleted

    def set_at_once(self, number: int | None) -> None:
        """Change how many runs may be at work at once; None: one, or one for each GPU. No run is stopped for it."""
        if number is not None and not 1 <= number <= MOST_AT_ONCE:
            raise RunError(f"{number} runs at once: allowed are 1 to {MOST_AT_ONCE}")
        with self._changing() as book:
            self._write(replace(book, at_once=number))
            self._go_on()

    def wake(self) -> None:
        """Look after what waits, where the scheduler was killed or the machine was started again."""
        book = self._read()  # the statuses of its own runs will do: there may be thousands of others
        statuses = self._statuses(book.order)
        if waiting(tidy(book, statuses), statuses):
            with self._changing():
                self._go_on()

    def work(self) -> None:
        """Be the scheduler, if there is none: start runs as room comes, until nothing waits any more.

        What is refused meanwhile, by a full disk say, is told once and tried again: nobody else may be there to do it.
        """
        lock = FileLock(self.folder / "scheduler.lock", blocking=False)
        needed, said = time.monotonic(), ""
        while self.folder.is_dir():
            try:
                with self._locked():
                    if not self._appointed(lock):
                        return
                    if self._advance():
                        needed = time.monotonic()
                    elif time.monotonic() - needed > LINGER_SECONDS:
                        # While nobody can add a run, and rely on this scheduler.
                        self._write(replace(self._read(), scheduler=(0, 0.0)))
                        lock.release()
                        return
            except RunError as error:
                if str(error) != said:
                    said = str(error)
                    print(said, file=sys.stderr, flush=True)
            time.sleep(POLL_SECONDS)

    def _put_aside(self, run: Run, state: Literal["paused", "stopped"], *actions: Action) -> None:
        status = self._require(run, self._read(), *actions)
        if status.state == "queued" and status.job and not status.at_work:
            # It stands in no queue here, which need not wait for Slurm's answer. Without a Slurm the run is a copy.
            if not slurm.unavailable():
                slurm.cancel(status.job)
            with self._locked():
                run.settle(state)
            return
        with self._changing() as book:
            if self._require(run, book, *actions).at_work:
                run.request_stop(state)
            else:
                run.settle(state)
            self._go_on()

    def _require(self, run: Run, book: Book, *actions: Action) -> Status:
        """The status of a run with which one of the actions is possible."""
        if run.in_gallery:
            raise RunError(f"run {run.id} ships with the project and stays as it is")
        status, queued = run.status(), run.id in book.order
        if allowed(status, queued).isdisjoint(actions):
            raise RunError(refusal(run, status, queued, actions[0]))
        return status

    # With the lock held

    def _go_on(self, quick: bool = False) -> None:
        """Start what has room; where more waits, see that there is a scheduler for it."""
        if not self._advance(quick):
            return
        book = self._read()
        number, started = book.scheduler
        if number == 0 or process_started(number) != started:
            command = ["alexnet_explorer.launch.scheduler", str(self.root.resolve())]
            number = local.detach(command, self.folder / "log.txt")
            self._write(replace(book, scheduler=(number, process_started(number))))

    def _appointed(self, lock: FileLock) -> bool:
        """Whether this process is the scheduler, or becomes it now; not where another one is."""
        try:
            if not lock.is_locked:
                lock.acquire()
        except Timeout:
            return False
        # Each time anew, as setting the clock moves the start that the system reports.
        self._write(replace(self._read(), scheduler=(os.getpid(), process_started(os.getpid()))))
        return True

    def _advance(self, quick: bool = False) -> bool:
        """Start what has room. Whether others are left to wait."""
        book, statuses = self._seen()
        wait = waiting(book, statuses)
        room = max(0, _room(book, statuses))
        left = len(wait) > room
        for name in wait[:room]:
            run, slot = Run(self.root / name), free_slot(book.slots)
            try:
                local.start(run, _environment(book), quick, self.standby)
            except RunError as error:
                if local.passing(error):  # the others would be refused as well: all wait for the next look
                    if statuses[name].message != str(error):
                        with suppress(RunError, OSError):
                            run.settle("queued", str(error))
                    left = True
                    break
                book = replace(book, order=tuple(other for other in book.order if other != name))
                with suppress(RunError):  # another process has it
                    run.settle("failed", str(error))
            else:
                book = replace(book, slots={**book.slots, name: slot})
        self._write(book)
        return left

    def _write(self, book: Book) -> None:
        if book != self._read():
            write_json(self.folder / "queue.json", asdict(book))

    # Reading and locking

    def _read(self) -> Book:
        file = self.folder / "queue.json"
        try:
            return _BOOK.validate_json(file.read_bytes())
        except FileNotFoundError:
            return Book()
        except OSError as error:
            raise RunError(f"the queue cannot be read: {error.strerror} ({file})") from error
        except ValidationError:
            raise RunError(f"the queue is damaged: delete {file} and add the runs again") from None

    def _statuses(self, names: Iterable[str]) -> dict[str, Status]:
        """The statuses of those that are there."""
        return {name: run.status() for name in names if (run := Run(self.root / name)).exists()}

    def _seen(self) -> tuple[Book, dict[str, Status]]:
        """The queue as it is now, and the statuses of all runs of the folder: some train without it."""
        statuses = {run.id: run.status() for run in list_runs(self.root, gallery=False)}
        return tidy(self._read(), statuses), statuses

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "lock", timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise RunError("another process is changing the queue: try again in a moment") from None
        except OSError as error:
            raise RunError(f"the queue cannot be changed: {error.strerror} ({self.folder})") from error

    @contextmanager
    def _changing(self) -> Iterator[Book]:
        """The queue as it is now, which nobody else changes meanwhile."""
        with self._locked():
            book = self._read()
            yield tidy(book, self._statuses(book.order))


def _environment(book: Book) -> dict[str, str]:
    return share(free_slot(book.slots), _at_once(book), gpus_of(os.environ), usable_cores())


def _at_once(book: Book) -> int:
    return book.at_once or max(1, len(gpus_of(os.environ)))


def _room(book: Book, statuses: Mapping[str, Status]) -> int:
    """How many more may start here; a run that trains without the queue takes room, too."""
    here = [status.at_work and status.host == gethostname() and not status.job for status in statuses.values()]
    return _at_once(book) - sum(here)
