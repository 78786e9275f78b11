"""The run directory: the only truth about a run.

    runs/<id>/  config.json  env.json  status.json  metrics.jsonl  mistakes.json  checkpoints/
                notes.json  readings.json

One writer, who holds the run's lease: the training process, or, while there is none, who starts the run or puts
it aside. Everyone else reads, and may drop a `stop` file, the mailbox that the training process empties, and write
`notes.json`, which is a person's, and `readings.json`, a study's. Torch is not needed to read a run.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from .config import MODEL_PRESETS, ConfigError, RunConfig, explain
from .files import slug, write_atomic, write_json
from .notes import Notes, NotesError, read_notes, write_notes
from .weights_file import is_whole

if TYPE_CHECKING:
    from .data.packed import PackedSet

State = Literal["queued", "running", "paused", "stopped", "failed", "interrupted", "done"]
LIVE: tuple[State, ...] = ("queued", "running")

GALLERY = Path(__file__).parent / "gallery"
EVIDENCE = Path(__file__).parent / "studies" / "runs"  # what the ledger's verdicts rest on; without weights

# A live process writes its status far more often than this; on another host it is all we can see of it.
STALE_AFTER_SECONDS = 120.0

# A process that has said its last word still holds the lease while it ends.
LEASE_SECONDS = 3.0

# A status that cannot be read may be so for a moment: a file server lags, or Windows keeps readers out of a file.
STATUS_TRIES = 4
STATUS_PAUSE_SECONDS = 0.05

NOT_A_NUMBER = "the loss is not a number"

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
SUMMARISED = ("train/", "clean/", "val/", "epoch/", "test/")  # what each layer does stays in the metrics


class RunError(ValueError):
    """A run that is not there, or cannot do what was asked; the message is for humans."""


@dataclass(frozen=True)
class Status:
    """What `status.json` holds."""

    state: State = "queued"
    message: str = ""  # why it failed, in words
    epoch: float = 0.0  # epochs done, fractions included
    epochs: int = 0
    step: int = 0
    seconds: float = 0.0  # spent in training so far, over all its processes
    seconds_left: float | None = None
    img_per_s: float | None = None
    host: str = ""
    pid: int = 0
    pid_started: float = 0.0
    heartbeat: float = 0.0  # seconds since 1970
    job: str = ""  # its id in Slurm, where it was handed over to it
    summary: dict[str, float] = field(default_factory=dict)  # the last value of each metric, and the best val error

    @property
    def diverged(self) -> bool:
        """Whether its loss was no number any more: from its checkpoint it would take the same steps again."""
        return self.state == "failed" and NOT_A_NUMBER in self.message

    @property
    def at_work(self) -> bool:
        """Whether a process is training it, or loading PyTorch to do so."""
        return self.state in LIVE and self.pid > 0

    def seen_from_here(self) -> Status:
        """Interrupted, where it says running but its process is dead (same host) or silent (another host)."""
        if not self.at_work:
            return self
        alive = time.time() - self.heartbeat < STALE_AFTER_SECONDS
        if self.host == socket.gethostname():
            started = process_started(self.pid)
            # Setting the clock moves the start that the system reports: then the heartbeat tells it from another.
            alive = started > 0 and (alive or started == self.pid_started)
        if alive:
            return self
        if self.state == "queued":
            return replace(self, state="failed", message="its process ended before training began; see its log.txt")
        return replace(self, state="interrupted", message="its process ended; it can be resumed")


_STATUS = TypeAdapter(Status)


@dataclass(frozen=True)
class Mistake:
    """A validation image that was taken for another class."""

    image: int  # its place among the training images of the packed set
    true: int
    predicted: int
    probability: float  # of the predicted class
    probability_of_true: float


@dataclass(frozen=True)
class Mistakes:
    """What `mistakes.json` holds of the last validation."""

    epoch: int
    confusion: list[tuple[int, int, int]]  # true class, predicted class, how many images; right ones included
    worst: list[Mistake]
    # The classes of every validation image, in the order of their places; empty where they were not kept.
    true: list[int] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)

    def fits(self, classes: int) -> bool:
        """Whether it can be of a network with so many classes."""
        named = {*self.true, *self.predicted, *(number for pair in self.confusion for number in pair[:2])}
        named |= {number for one in self.worst for number in (one.true, one.predicted)}
        return named <= set(range(classes)) and len(self.true) == len(self.predicted)


_MISTAKES = TypeAdapter(Mistakes)


def process_started(pid: int) -> float:
    """When the process of this number started, in seconds since 1970; 0.0 where it is dead."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return 0.0


def this_process() -> dict[str, Any]:
    """The fields of a status that say which process writes it."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": process_started(os.getpid())}


@dataclass(frozen=True)
class Run:
    """One run directory, read from disk whenever it is asked."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def in_gallery(self) -> bool:
        """Whether it ships with the project and is read-only."""
        return self.path.parent in (GALLERY, EVIDENCE)

    @property
    def is_evidence(self) -> bool:
        """Whether it ships as one of the runs on which the ledger's verdicts rest."""
        return self.path.parent == EVIDENCE

    def exists(self) -> bool:
        """Whether the directory is there and a run's."""
        return (self.path / "config.json").is_file()

    @cached_property
    def config(self) -> RunConfig:
        """Raises RunError where the file is missing or not valid."""
        try:
            return RunConfig.from_json((self.path / "config.json").read_bytes())
        except (OSError, ConfigError) as error:
            raise RunError(f"run {self.id}: its config.json cannot be read ({error})") from error

    def as_computed(self) -> RunConfig:
        """The config with what this machine settled where it says `auto`, once the run has begun. Raises RunError."""
        env = self.env()
        if env is None:
            return self.config
        try:
            settled = {f"train.{name}": env[name] for name in ("device", "precision", "threads")}
            return self.config.with_settings(settled | ({"train.compile": "on"} if env.get("compiled") else {}))
        except (ValueError, LookupError, TypeError) as error:
            raise RunError(f"run {self.id}: its env.json cannot be read ({error})") from error

    def env(self) -> dict[str, Any] | None:
        """What `env.json` says of the machine and the versions; None before the run has begun. Raises RunError."""
        try:
            env = json.loads((self.path / "env.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"run {self.id}: its env.json cannot be read ({error})") from error
        if not isinstance(env, dict):
            raise RunError(f"run {self.id}: its env.json cannot be read (it is no object)")
        return env

    def sessions(self) -> list[dict[str, Any]]:
        """What env.json says of each part of the training that another machine, version or code computed, in order.

        Each has the step `from_step` that it began at. Empty before the run has begun. Raises RunError.
        """
        env = self.env()
        if env is None:
            return []
        parts = env.get("sessions", [])
        known = isinstance(parts, list) and all(
            isinstance(part, dict) and isinstance(part.get("from_step"), int) for part in parts
        )
        return parts if parts and known else [{"processes": 1, **env, "from_step": 0}]

    def codes(self) -> list[str]:
        """The digests of the code of its parts, each once, as far as they were noted and can be read."""
        try:
            return list(dict.fromkeys(str(part["code"]) for part in self.sessions() if part.get("code")))
        except RunError:
            return []

    @property
    def title(self) -> str:
        """The name that a person gave it, else preset, data, and the toggles that differ from the preset."""
        return self.notes().name or run_title(self.config)

    def notes(self) -> Notes:
        """What a person says of it; empty where nobody did."""
        return read_notes(self.path)

    def write_notes(self, notes: Notes) -> None:
        """Keep what a person says of it, also while it is at work. Raises RunError."""
        if self.in_gallery:
            raise RunError(f"run {self.id} ships with the project and stays as it is")
        try:
            write_notes(self.path, notes)
        except NotesError as error:
            raise RunError(f"run {self.id}: {error}") from None
        except OSError as error:
            raise RunError(f"run {self.id} cannot be written: {error.strerror}") from error

    def card(self) -> str:
        """The model card of a network that ships, as Markdown; empty where there is none."""
        file = self.path / "CARD.md"
        return file.read_text(encoding="utf-8") if self.in_gallery and file.is_file() else ""

    def status(self) -> Status:
        """The state as seen from this machine: a dead process's run is interrupted, not running."""
        try:
            return self.recorded_status().seen_from_here()
        except RunError as error:
            return Status(state="failed", message=str(error))

    def recorded_status(self) -> Status:
        """The status as its file says. Raises RunError where that cannot be read."""
        try:
            return _STATUS.validate_json(_read_patiently(self.path / "status.json"))
        except OSError as error:
            raise RunError(f"status.json cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise RunError(f"status.json is damaged ({explain(error)})") from None

    def write_status(self, status: Status) -> None:
        """Only for the process that holds the lease."""
        write_json(self.path / "status.json", asdict(status))

    def metrics(self, offset: int = 0, holding: str = "") -> tuple[list[dict[str, float]], int]:
        """The rows of metrics.jsonl from byte `offset` on, and the offset to go on from.

        `holding`: only the rows with this metric, which is quicker by far where they are few. A torn last line is
        left for the next call. Raises RunError where a line is damaged, or `offset` is inside one.
        """
        try:
            with (self.path / "metrics.jsonl").open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        whole = data[: data.rfind(b"\n") + 1]
        try:
            lines = [line for line in whole.splitlines() if line.strip() and holding.encode() in line]
            return from_json(b"[" + b",".join(lines) + b"]"), offset + len(whole)  # twice as fast as line by line
        except ValueError:
            raise RunError(f"run {self.id}: its metrics.jsonl is damaged") from None

    def metrics_since(self, offset: int, step: float) -> tuple[list[dict[str, float]], int, bool]:
        """The rows after those that were read; all rows, and True, where a resumed run has cut its file back since.

        `offset`: where they ended; `step`: that of the last one. Also returns the offset to go on from. Raises RunError
        where a line is damaged.
        """
        try:
            cut = (self.path / "metrics.jsonl").stat().st_size < offset
        except FileNotFoundError:
            cut = offset > 0
        if not cut:
            try:
                rows, end = self.metrics(offset)
                cut = bool(rows) and rows[0]["step"] < step
            except RunError:  # the middle of a line
                if not offset:
                    raise
                cut = True
        if cut:
            rows, end = self.metrics()
        return rows, end, cut

    def mistakes(self) -> Mistakes | None:
        """Those of the last validation; None where there was none. Raises RunError where the file is damaged."""
        try:
            found = _MISTAKES.validate_json((self.path / "mistakes.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise RunError(f"run {self.id}: its mistakes.json cannot be read") from error
        if not found.fits(self.config.model.num_classes):
            raise RunError(f"run {self.id}: its mistakes.json is not of this network")
        return found

    def snapshots(self) -> dict[int, Path]:
        """The weights kept of each epoch, in order. Some may hold a few layers only."""
        files = (self.path / "checkpoints").glob("epoch-*.safetensors")
        kept = {int(number): file for file in files if (number := file.stem.removeprefix("epoch-")).isdecimal()}
        return dict(sorted(kept.items()))

    @property
    def state_file(self) -> Path:
        """The checkpoint that a resumed run goes on from."""
        return self.path / "checkpoints" / "state.safetensors"

    @property
    def init_file(self) -> Path:
        """The weights that a fine-tuned run begins from, so that it can be repeated from its directory alone."""
        return self.path / "checkpoints" / "init.safetensors"

    @property
    def last_file(self) -> Path:
        """The weights as they are at the checkpoint, while the run has not come to its end."""
        return self.path / "checkpoints" / "last.safetensors"

    def whole_snapshots(self) -> dict[int, Path]:
        """The snapshots that hold every layer, in order."""
        return {epoch: file for epoch, file in self.snapshots().items() if is_whole(file)}

    def weights_file(self) -> Path | None:
        """The newest weights that can predict: the checkpoint's, else the last whole snapshot, or None."""
        if self.last_file.is_file():
            return self.last_file
        return next((file for file in reversed(self.snapshots().values()) if is_whole(file)), None)

    def lease(self) -> FileLock:
        """The lock that its one writer holds; the system releases it when the process dies."""
        return FileLock(self.path / ".lease", blocking=False)

    @contextmanager
    def held(self, seconds: float = LEASE_SECONDS) -> Iterator[None]:
        """Hold the lease, to write what no process works on. Raises RunError where one does, or nothing can be written.

        A process that is about to end is waited for, `seconds` at most.
        """
        if self.in_gallery:
            raise RunError(f"run {self.id} ships with the project and stays as it is")
        try:
            lease = self.lease().acquire(timeout=seconds, blocking=seconds > 0)
        except Timeout:
            raise RunError(f"run {self.id} is at work already") from None
        except OSError as error:
            raise RunError(f"run {self.id} cannot be written: {error.strerror}") from error
        with lease:
            if self.status().at_work:
                raise RunError(f"run {self.id} is at work already")
            yield

    def settle(self, state: State, message: str = "", job: str = "") -> None:
        """Write the state of a run that no process works on. Raises RunError as `held` does."""
        with self.held():
            nobody: dict[str, Any] = {"host": "", "pid": 0, "pid_started": 0.0, "job": job}
            self.write_status(replace(self.status(), state=state, message=message, seconds_left=None, **nobody))

    def delete(self) -> Run:
        """Move the directory to the trash, from where `trash.restore` brings it back. Raises RunError as `held` does.

        Returns the run as it lies there; it has another id where the trash held its own already.
        """
        with self.held():
            pass  # an open lease would keep the directory in its place under Windows
        trash = trash_folder(self.path.parent)
        try:
            trash.mkdir(exist_ok=True)
            # It is there as a whole, or not at all.
            return Run(self.path.rename(trash / free_id(self.id, trash)))
        except OSError as error:
            raise RunError(f"run {self.id} cannot be deleted: {error.strerror}") from error

    def request_stop(self, state: Literal["stopped", "paused"] = "stopped") -> None:
        """Ask the training process to end after the batch under way, in this state, and keep its checkpoint."""
        if self.in_gallery:
            raise RunError(f"run {self.id} ships with the project and is not training")
        try:
            write_atomic(self.stop_file, state.encode())
        except OSError as error:
            raise RunError(f"run {self.id} cannot be written: {error.strerror}") from error

    def stop_requested(self) -> Literal["stopped", "paused"] | None:
        """The state in which the training process is to end, or None where nobody asked. `touch stop` asks, too."""
        try:
            return "paused" if self.stop_file.read_bytes().strip() == b"paused" else "stopped"
        except FileNotFoundError:
            return None

    @property
    def stop_file(self) -> Path:
        return self.path / "stop"


def _read_patiently(file: Path) -> bytes:
    """What a file holds; where it is there and cannot be read, it is tried again a few times. Raises OSError."""
    for _ in range(STATUS_TRIES - 1):
        try:
            return file.read_bytes()
        except FileNotFoundError:
            raise
        except OSError:
            time.sleep(STATUS_PAUSE_SECONDS)
    return file.read_bytes()


def run_title(config: RunConfig, most: int | None = None) -> str:
    """Preset, data and the model's fields that differ from the preset, in a few words.

    With `most` characters as many of the fields as fit, and how many more there are.
    """
    preset = MODEL_PRESETS.get(config.model.preset)
    changes = []
    for name, value in config.model if preset else ():
        if value == getattr(preset, name) or name in ("num_classes", "preset"):
            continue
        if isinstance(value, bool):
            changes.append(name if value else f"no {name}")
        elif isinstance(value, str):
            changes.append(value)
        else:
            changes.append(f"{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}")
    titles = []
    for count in range(len(changes), -1, -1):
        rest = [f"{len(changes) - count} more"] if count < len(changes) else []
        titles.append(" · ".join([config.model.preset, *changes[:count], *rest, config.data.name]))
    return titles[0] if most is None else next((title for title in titles if len(title) <= most), titles[-1])


def create_run(config: RunConfig, root: Path, init: bytes = b"") -> Run:
    """A new run directory with its config, waiting to be trained; `init` is the weights file that it begins from.

    Raises RunError where it cannot be written.
    """
    of = f"{slug(config.model.preset)}-{slug(config.data.name)[:24]}"
    name = ""
    while not name or (root / name).exists():  # another run of this second
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{of}-{secrets.token_hex(2)}"
    part = root / f".{name}.part"
    try:
        (part / "checkpoints").mkdir(parents=True)
        write_atomic(part / "config.json", (config.to_json() + "\n").encode())
        write_json(part / "status.json", asdict(Status(epochs=config.train.epochs)))
        if init:
            write_atomic(Run(part).init_file, init)
        part.rename(root / name)  # a run is there with its config, or not at all
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RunError(f"a run cannot be created in {root}: {error.strerror}; choose another --runs folder") from error
    return Run(root / name)


def new_run(config: RunConfig, packed: PackedSet, root: Path, init: bytes = b"") -> Run:
    """A run of `config` on a packed set, not started."""
    return create_run(config_on(config, packed), root, init)


def config_on(config: RunConfig, packed: PackedSet) -> RunConfig:
    """The config with the classes, the label and the digest of a packed set."""
    model = config.model.model_copy(update={"num_classes": len(packed.classes)})
    data = config.data.model_copy(update={"name": packed.name, "digest": packed.digest})
    return config.model_copy(update={"model": model, "data": data})


def trash_folder(root: Path) -> Path:
    """Where deleted runs lie until the trash is emptied: a hidden folder of the runs folder."""
    return root / ".trash"


def free_id(wanted: str, *folders: Path) -> str:
    """A name that no run and no weights file in these folders has: the wanted one, else with a number after it."""
    taken = {
        path.name.removesuffix(".safetensors").casefold()
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
    }
    names = (wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name.casefold() not in taken)


def list_runs(root: Path, gallery: bool = True) -> list[Run]:
    """Runs of the folder, newest first, then the gallery's."""
    found = [Run(path) for path in _run_directories(root)]
    found.sort(key=lambda run: run.id, reverse=True)
    return found + ([Run(path) for path in sorted(_run_directories(GALLERY))] if gallery else [])


def _run_directories(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [path for path in root.iterdir() if not path.name.startswith(".") and (path / "config.json").is_file()]


def find_run(run_id: str, root: Path) -> Run:
    """The run of this id, of the folder or of those that ship. Raises RunError; an id is a name, never a path."""
    if RUN_ID.fullmatch(run_id):
        for parent in (root, GALLERY, EVIDENCE):
            if (parent / run_id / "config.json").is_file():
                return Run(parent / run_id)
    raise RunError(f"there is no run {run_id!r}; `python -m alexnet_explorer runs` lists those that are there")


def summarise(rows: Sequence[dict[str, float]], so_far: Mapping[str, float] | None = None) -> dict[str, float]:
    """The last loss and errors of the rows, and the lowest validation error as `best/val_top1_error`."""
    summary = dict(so_far or {})
    for row in rows:
        summary |= {name: value for name, value in row.items() if name.startswith(SUMMARISED)}
        if "val/top1_error" in row:
            summary["best/val_top1_error"] = min(row["val/top1_error"], summary.get("best/val_top1_error", 1.0))
    return summary


def differences(configs: dict[str, RunConfig]) -> dict[str, dict[str, Any]]:
    """The fields in which the configs differ: {"model.activation": {"run a": "relu", "run b": "tanh"}}."""
    flat = {name: config.flat() for name, config in configs.items()}
    fields = next(iter(flat.values()), {})
    return {
        name: {run: values[name] for run, values in flat.items()}
        for name in fields
        if len({json.dumps(values[name]) for values in flat.values()}) > 1
    }
