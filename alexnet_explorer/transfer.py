"""A run as one zip file, to be opened on another machine as it was on this one.

    <id>/  config.json  env.json  status.json  metrics.jsonl  mistakes.json  notes.json  checkpoints/*.safetensors  …

A zip that is brought may come from a stranger. So only the files of a run are taken out of it, within limits, into a
folder of their own; each is read by the project's own readers; and only then is the folder renamed to a run.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter
from pydantic_core import from_json

from .catalogue import imported_folder
from .notes import NotesError, parse_notes
from .runs import EVIDENCE, GALLERY, LIVE, RUN_ID, Run, RunError, free_id, trash_folder
from .weights_file import MAX_BYTES, WeightsError, read_header, shapes_of

Progress = Callable[[float, str], None]

MOST_BYTES = 2**31 - 2**26  # of a run's files together; a zip of that size needs no 64-bit directory
MOST_FILES = 1000
MOST_CONFUSED = 5000  # classes of a run with mistakes
MOST_RATIO = 200  # unpacked to packed; rows of metrics come to 30
_SMALL = 2**20
_CHUNK = 2**20
_DIRECTORY_BYTES = 2**19  # of a zip with so few files
_END_BYTES = 20 + 22 + 2**16  # the pointer to a 64-bit directory, the end of the other one, and the longest comment
_PART = ".import-"  # what the name of the folder begins with into which a zip is unpacked
_LEFT_AFTER = 24 * 3600.0  # seconds after which nobody unpacks into it any more

# The files of a run, and how many bytes each may have.
_FILES: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"(config|env|status|notes|readings)\.json|CARD\.md"), _SMALL),
    (re.compile(r"mistakes\.json"), 64 * _SMALL),
    (re.compile(r"metrics\.jsonl"), 64 * _SMALL),
    (re.compile(r"events\.out\.tfevents\.[A-Za-z0-9._-]{1,150}"), 512 * _SMALL),
    (re.compile(r"checkpoints/[A-Za-z0-9][A-Za-z0-9_-]{0,100}\.safetensors"), MAX_BYTES),
)
_FIRST_EVENT = b"brain.Event:2"
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError)

_METRIC = re.compile(r"[\w./-]{1,100}")
_COUNTERS = TypeAdapter(dict[str, float | list[float]])


def most_bytes(name: str) -> int:
    """How large a file of a run may be, by its path in the run's folder; 0 where it is none of a run's files."""
    return next((limit for pattern, limit in _FILES if pattern.fullmatch(name)), 0)


def export_run(run: Run, file: Path, progress: Progress = lambda share, text: None) -> None:
    """Write a run to a zip file, which appears as a whole; the same run gives the same bytes. Raises RunError."""
    run.config  # noqa: B018 (raises where there is none)
    if run.status().at_work:
        raise RunError(f"run {run.id} is at work: pause or stop it first, so that what is exported fits together")
    if not file.name or file.is_dir():
        raise RunError(f"{file} is a folder: give the name of a zip file to write")
    part = file.with_name(f".{file.name}.part")
    try:
        found = {path.relative_to(run.path).as_posix(): path for path in sorted(run.path.rglob("*")) if path.is_file()}
        files = {name: path for name, path in found.items() if most_bytes(name)}
        sizes = {name: path.stat().st_size for name, path in files.items()}
        if large := [name for name, size in sizes.items() if size > most_bytes(name)]:
            raise RunError(f"run {run.id} cannot be exported, as {large[0]} is very large: copy its folder instead")
        if len(files) > MOST_FILES or sum(sizes.values()) > MOST_BYTES:
            raise RunError(f"run {run.id} is too large for a zip file, which holds 2 GB: copy its folder instead")
        done = 0
        with zipfile.ZipFile(part, "w") as archive:
            for name, path in files.items():
                progress(done / max(sum(sizes.values()), 1), f"writing {name}")
                about = zipfile.ZipInfo(f"{run.id}/{name}")
                about.external_attr = 0o644 << 16
                about.file_size = sizes[name]
                text = path.suffix in (".json", ".jsonl", ".md")  # weights do not get smaller
                about.compress_type = zipfile.ZIP_DEFLATED if text else zipfile.ZIP_STORED
                with path.open("rb") as source, archive.open(about, "w") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
                done += sizes[name]
        progress(1, "written")
        part.replace(file)
    except OSError as error:
        raise RunError(f"run {run.id} cannot be exported to {file.name}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def import_run(source: Path | IO[bytes], root: Path, progress: Progress = lambda share, text: None) -> Run:
    """The run of a zip file that `export_run` wrote, in this runs folder, under another id where its own is taken.

    Raises RunError where anything in it is not as in a run; then nothing of it is left.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            root.mkdir(parents=True, exist_ok=True)
            _sweep(root)
            part = Path(tempfile.mkdtemp(prefix=_PART, dir=root))
            stack.callback(shutil.rmtree, part, ignore_errors=True)
            part.chmod(0o755)
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                run_id, members = _members(archive)
                _unpack(archive, members, part, progress)
            progress(0.95, "checking the files")
            _check(Run(part), members)
            name = free_id(run_id, root, GALLERY, EVIDENCE, trash_folder(root), imported_folder(root))
            progress(1, "checked")
            return Run(part.rename(root / name))
        except RunError:
            raise
        except _UNREADABLE:
            raise RunError("this is not a zip file, or it is damaged: export the run again") from None
        except OSError as error:
            raise RunError(f"the run cannot be imported: {error.strerror or error}") from error


def _sweep(root: Path) -> None:
    """Delete what imports have left whose process was killed."""
    for part in root.glob(f"{_PART}*"):
        with suppress(FileNotFoundError):  # another import ends at this moment
            if time.time() - part.stat().st_mtime > _LEFT_AFTER:
                shutil.rmtree(part, ignore_errors=True)


def _check_directory(file: IO[bytes]) -> None:
    """Before the list of a zip's files is read into memory: that it is short. Raises RunError."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES))
    end = file.read()
    at = end.rfind(b"PK\5\6")
    if at < 0 or len(end) < at + 22:
        raise RunError("this is not a zip file, or it is damaged: export the run again")
    count, length = struct.unpack("<HI", end[at + 10 : at + 16])
    if count > 2 * MOST_FILES or length > _DIRECTORY_BYTES or b"PK\6\7" in end[:at][-20:]:
        raise RunError(f"this zip holds more than the {MOST_FILES} files that a run may have")
    file.seek(0)


def _members(archive: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """The id of the run and its files by their paths in its folder. Raises RunError for anything else."""
    members: dict[str, zipfile.ZipInfo] = {}
    ids = set()
    for member in archive.infolist():
        run_id, _, name = member.filename.partition("/")
        ids.add(run_id)
        if member.is_dir() and name in ("", "checkpoints/"):
            continue
        shown = f"{member.filename!r:.100}"
        if not most_bytes(name) or stat.S_ISLNK(member.external_attr >> 16):
            raise RunError(f"this zip holds {shown}, which is no part of a run")
        if name.casefold() in map(str.casefold, members):
            raise RunError(f"this zip holds {shown} twice")
        # Python's bz2 and lzma readers cannot be kept from unpacking without limit.
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RunError(f"{shown} has a password, or is compressed in an unusual way: export the run again")
        if member.file_size > most_bytes(name) or member.file_size > MOST_RATIO * member.compress_size + _SMALL:
            raise RunError(f"{shown} would take {member.file_size:,} bytes, which is more than that file of a run has")
        members[name] = member
    run_id = min(ids, default="")
    if len(ids) != 1 or not RUN_ID.fullmatch(run_id) or run_id.endswith("."):
        raise RunError("this zip is not that of one run: it holds one folder, which bears the run's id")
    if missing := [name for name in ("config.json", "status.json") if name not in members]:
        raise RunError(f"this zip is not that of a run: {missing[0]} is missing")
    if len(members) > MOST_FILES or sum(member.file_size for member in members.values()) > MOST_BYTES:
        raise RunError(f"this zip holds more than {MOST_FILES} files or 2 GB, and no run does")
    return run_id, members


def _unpack(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], folder: Path, progress: Progress) -> None:
    """Each file under its own name; no more of it than the zip's list says, which was checked."""
    (folder / "checkpoints").mkdir()
    total = sum(member.file_size for member in members.values()) or 1
    done = 0
    for name, member in members.items():
        with archive.open(member) as source, (folder / name).open("xb") as target:
            while chunk := source.read(_CHUNK):
                progress(0.9 * done / total, f"unpacking {name}")
                target.write(chunk)
                done += len(chunk)


def _check(run: Run, names: Iterable[str]) -> None:
    """Read every file with the reader that the app will use. Raises RunError."""
    try:
        model = run.config.model
        run.as_computed()
        _check_mistakes(run)
        _settle(run)
        if "notes.json" in names:
            parse_notes((run.path / "notes.json").read_bytes())
        if "CARD.md" in names:
            (run.path / "CARD.md").read_text(encoding="utf-8")
        _check_metrics(run)
        for name in names:
            path = run.path / name
            if name.startswith("events") and _FIRST_EVENT not in path.open("rb").read(64):
                raise RunError(f"{name} is not an event file of TensorBoard")
            if path == run.state_file:
                _check_state(run)
            elif path.suffix == ".safetensors":
                from .weights import check_weights

                # What a fine-tuning began from is another network.
                if check_weights(path).model != model and path != run.init_file:
                    raise RunError(f"{name} holds the weights of another network than config.json describes")
    except UnicodeDecodeError:
        raise RunError("CARD.md is not text") from None
    except (NotesError, WeightsError) as error:
        raise RunError(str(error)) from None


def _settle(run: Run) -> None:
    """A run that was at work elsewhere is interrupted here, and none waits in a Slurm; the rest stays as it is."""
    status = run.recorded_status()
    figures = [value for value in vars(status).values() if isinstance(value, int | float)]
    if not all(_is_figure(value) and 0 <= value < math.inf for value in figures):
        raise RunError("status.json is damaged (a figure is not a number, below 0, or beyond all counting)")
    settled = replace(status, job="")
    if status.state in LIVE and status.pid:
        message = "it was at work on another machine when it was exported; it can be resumed"
        nobody: dict[str, Any] = {"host": "", "pid": 0, "pid_started": 0.0, "heartbeat": 0.0, "seconds_left": None}
        settled = replace(settled, state="interrupted", message=message, **nobody)
    if settled != status:
        run.write_status(settled)


def _is_figure(value: object) -> bool:
    """A number that 64 bits can hold; JSON knows longer ones."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**63)


def _check_mistakes(run: Run) -> None:
    """Every class that they name is there, and the table of all classes is one that a page can show."""
    found, classes = run.mistakes(), run.config.model.num_classes
    if found is None:
        return
    named = {number for true, predicted, _ in found.confusion for number in (true, predicted)}
    named |= {number for mistake in found.worst for number in (mistake.true, mistake.predicted)}
    counts = [count for _, _, count in found.confusion] + [mistake.image for mistake in found.worst]
    if classes > MOST_CONFUSED or not named <= set(range(classes)) or not all(0 <= count < 2**31 for count in counts):
        raise RunError("mistakes.json does not fit the classes of the run")


def _check_metrics(run: Run) -> None:
    """Every line but a torn last one is a row of figures that says when it was written."""
    try:
        with (run.path / "metrics.jsonl").open("rb") as file:
            for line in file:
                if line.endswith(b"\n") and line.strip():
                    row = from_json(line)
                    known = isinstance(row, dict) and all(map(_METRIC.fullmatch, row))
                    if not known or b"\r" in line or not all(map(_is_figure, row.values())):
                        raise ValueError
                    if not all(math.isfinite(row[name]) for name in ("step", "epoch", "seconds")):
                        raise ValueError
    except FileNotFoundError:
        return
    except (ValueError, LookupError):
        raise RunError(
            "metrics.jsonl is damaged: a line is not a row of figures with step, epoch and seconds"
        ) from None


def _check_state(run: Run) -> None:
    """The checkpoint that a resumed run goes on from: tensors and counters, which fit the other files."""
    with run.state_file.open("rb") as file:
        metadata = read_header(file, run.state_file.name)
    values = sum(math.prod(shape) for name, shape in shapes_of(run.state_file).items() if name.startswith("model."))
    metrics = run.path / "metrics.jsonl"
    try:
        counters = _COUNTERS.validate_python(json.loads(metadata.get("progress", "")))
        written = counters["metrics_bytes"]
        # The file is cut to so many bytes.
        fits = isinstance(written, float) and 0 <= written <= (metrics.stat().st_size if metrics.exists() else 0)
    except (ValueError, RecursionError, LookupError):
        fits = False
    if not fits or values != run.config.model.parameters():
        raise RunError("checkpoints/state.safetensors does not fit the other files of the run")
