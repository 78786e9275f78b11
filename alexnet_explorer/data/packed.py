"""Packed sets: every image of a data set, at one size, in files that are mapped into memory.

A packed set is a folder with `train-images.npy` (N, S, S, 3) uint8, `train-labels.npy` (N,) int64, the same
two files for `test`, `mean-image.npy` (S, S, 3) float32, and `set.json`: names, sizes, statistics. It is
written in a hidden folder beside and renamed at the end, so that a set is there as a whole or not at all. The hidden
folder of a writer that can be resumed outlives it: `progress.npz` there says how far it came.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ..files import write_atomic

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")
FORMAT = 1
NAME_LENGTH = 120
_PIXELS_AT_ONCE = 1 << 20  # statistics are taken in float64: 24 MB at a time
_ABANDONED_AFTER = 24 * 3600.0  # seconds; the part of a writer that crashed
_FORGOTTEN_AFTER = 14 * 24 * 3600.0  # seconds; one that could be resumed
_PROGRESS = "progress.npz"
_Kind = Literal["images", "labels"]
_KINDS: tuple[_Kind, _Kind] = ("images", "labels")
_BYTES_AT_ONCE = 1 << 24


class DataError(ValueError):
    """A data set that cannot be used; one sentence that says what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class PackedSet:
    """A packed set on disk. Statistics are those of the training images alone."""

    folder: Path
    name: str  # the label by which runs and people know it
    digest: str  # 16 hexadecimal digits of the SHA-256 of images, labels and classes
    fingerprint: str  # of the files it was made of, so that they are not decoded again
    classes: tuple[str, ...]
    size: int  # S, the side of every image in pixels
    counts: dict[Split, int]
    mean: NDArray[np.float64]  # (3,), grey levels 0–255
    std: NDArray[np.float64]  # (3,), grey levels
    colour_covariance: NDArray[np.float64]  # (3, 3), of RGB pixels in 0–1 [4.1]
    skipped: tuple[str, ...]  # files that could not be read
    folders: tuple[str, ...] = ()  # what the folders of the classes were called, if they came from folders

    def images(self, split: Split) -> NDArray[np.uint8]:
        """(N, S, S, 3), mapped read-only from disk."""
        array: NDArray[np.uint8] = np.load(self.folder / f"{split}-images.npy", mmap_mode="r")
        return array

    def labels(self, split: Split) -> NDArray[np.int64]:
        """(N,), indices into `classes`."""
        array: NDArray[np.int64] = np.load(self.folder / f"{split}-labels.npy")
        return array

    def mean_image(self) -> NDArray[np.float32]:
        """(S, S, 3), grey levels 0–255: what the paper subtracts from every image [2]."""
        array: NDArray[np.float32] = np.load(self.folder / "mean-image.npy")
        return array

    def count(self, split: Split) -> int:
        """The number of images; a set may have no test images."""
        return self.counts[split]


def data_root() -> Path:
    """Where this machine keeps data: $ALEXNET_EXPLORER_DATA, or a folder of the user's cache."""
    if own := os.environ.get("ALEXNET_EXPLORER_DATA"):
        return Path(own)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "alexnet_explorer" / "data"


def open_set(folder: Path | str) -> PackedSet:
    """The packed set in a folder. Raises DataError where there is none, or where files are damaged."""
    folder = Path(folder)
    if not (folder / "set.json").is_file():
        raise DataError(f"There is no packed set in the folder {folder.name!r}: prepare the data first.")
    try:
        record: dict[str, Any] = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise DataError(f"The packed set {folder.name!r} was written by another version: prepare the data again.")
        packed = PackedSet(
            folder=folder,
            name=record["name"],
            digest=record["digest"],
            fingerprint=record["fingerprint"],
            classes=tuple(record["classes"]),
            size=record["size"],
            counts={split: record["counts"][split] for split in SPLITS},
            mean=np.array(record["mean"]),
            std=np.array(record["std"]),
            colour_covariance=np.array(record["colour_covariance"]),
            skipped=tuple(record["skipped"]),
            folders=tuple(record.get("folders", ())),
        )
        shapes: dict[str, tuple[int, ...]] = {"mean-image": (packed.size, packed.size, 3)}
        for split, count in packed.counts.items():
            shapes |= {f"{split}-images": (count, packed.size, packed.size, 3), f"{split}-labels": (count,)}
        whole = all(np.load(folder / f"{name}.npy", mmap_mode="r").shape == shape for name, shape in shapes.items())
    except DataError:
        raise
    except (OSError, EOFError, LookupError, TypeError, ValueError):
        whole = False
    if not whole:
        raise DataError(f"The packed set {folder.name!r} is damaged: delete its folder and prepare the data again.")
    return packed


def list_sets() -> list[PackedSet]:
    """The packed sets of this machine, by name; damaged ones and those of other versions are left out."""
    sets = []
    for record in packed_root().glob("[!.]*/set.json"):
        try:
            sets.append(open_set(record.parent))
        except DataError:
            continue
    return sorted(sets, key=lambda packed: (packed.name, packed.digest))


def find_set(name: str, digest: str = "") -> PackedSet:
    """The packed set of that label; with a digest, the one of exactly those images, whatever its label.

    Raises DataError, with what is there, where this machine does not have it.
    """
    sets = list_sets()
    matches = [packed for packed in sets if packed.digest == digest or (not digest and packed.name == name)]
    if matches:
        return max(matches, key=lambda packed: (packed.name == name, (packed.folder / "set.json").stat().st_mtime))
    if any(packed.name == name for packed in sets):
        raise DataError(f"The data set {name!r} of this machine holds other images than those asked for "
                        f"(digest {digest}): prepare the original images again.")  # fmt: skip
    there = ", ".join(sorted({packed.name for packed in sets})) or "none"
    raise DataError(f"The data set {name!r} is not on this machine (there are: {there}): "
                    "prepare it with `python -m alexnet_explorer data prepare`.")  # fmt: skip


class PackedWriter:
    """Writes a packed set: `add` images of both splits in any order, then `finish`.

    A context manager; what was not finished is removed. With `resume`, what `keep` has noted stays where the work is
    broken off, but for a DataError, and the next writer of the same name, classes and `fingerprint` goes on from
    there: at the file number `position` of its source. One process at a time may do so. What was kept is read again
    for its digest, which takes minutes for a large set; `hear` is told how many bytes of how many are done.
    """

    def __init__(
        self, name: str, classes: Sequence[str], size: int, fingerprint: str = "", *, resume: bool = False,
        hear: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:  # fmt: skip
        self.name = clean_name(name)
        self.classes = tuple(classes)
        self.size = size
        self.fingerprint = fingerprint
        self.folders: tuple[str, ...] = ()
        self.skipped: list[str] = []
        self.position = 0
        self._labels: dict[Split, list[NDArray[np.int64]]] = {split: [] for split in SPLITS}
        self._hashes = {split: hashlib.sha256() for split in SPLITS}
        self._sum = np.zeros((size, size, 3), np.int64)
        self._products = np.zeros((3, 3))
        self._about = json.dumps([self.name, self.classes, size, fingerprint])
        root = packed_root()
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        key = hashlib.sha256(self._about.encode()).hexdigest()[:16] if resume else secrets.token_hex(4)
        self._part = root / f".{_slug(self.name)}-{key}.part"
        self._part.mkdir(exist_ok=resume)
        paths = {(split, kind): self._part / f"{split}-{kind}.npy" for split in SPLITS for kind in _KINDS}
        self._files: dict[tuple[Split, _Kind], IO[bytes]] = {
            key: path.open("r+b" if path.exists() else "w+b") for key, path in paths.items()
        }
        try:
            if not self._go_on(hear):
                for split in SPLITS:
                    self._write_headers(split, 0)
        except BaseException:
            self._close()  # what was kept stays
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if not self.position or isinstance(error, DataError) or error is None:
            shutil.rmtree(self._part, ignore_errors=True)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    def count(self, split: Split) -> int:
        """The number of images added so far."""
        return sum(len(labels) for labels in self._labels[split])

    def add(self, split: Split, images: NDArray[np.uint8], labels: NDArray[np.int64] | Sequence[int]) -> None:
        """Append images (n, S, S, 3), uint8, and their labels (n,)."""
        images = np.ascontiguousarray(images)
        numbers = np.asarray(labels, np.int64)
        if images.dtype != np.uint8 or images.shape != (len(numbers), self.size, self.size, 3):
            raise ValueError(f"images are {images.dtype} {images.shape} for {len(numbers)} labels of size {self.size}")
        self._files[split, "images"].write(images.data)
        self._files[split, "labels"].write(numbers.astype("<i8").tobytes())
        self._hashes[split].update(images.data)
        self._labels[split].append(numbers)
        if split == "train":
            step = max(1, _PIXELS_AT_ONCE // self.size**2)
            for start in range(0, len(images), step):
                chunk = images[start : start + step]
                self._sum += chunk.sum(axis=0, dtype=np.int64)
                pixels = chunk.reshape(-1, 3).astype(np.float64)
                self._products += pixels.T @ pixels

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Those of the images added so far: (n,)."""
        return np.concatenate([np.empty(0, np.int64), *self._labels[split]])

    def keep(self, position: int) -> None:
        """Note that all files of the source before number `position` are dealt with: they are not read again."""
        for file in self._files.values():
            _flush(file)  # on the disk before the note that counts on them
        note = BytesIO()
        np.savez(
            note, about=self._about, skipped=json.dumps(self.skipped), position=position, sum=self._sum,
            products=self._products, counts=[self.count(split) for split in SPLITS],
        )  # fmt: skip
        write_atomic(self._part / _PROGRESS, note.getvalue())
        self.position = position

    def _go_on(self, hear: Callable[[int, int], None]) -> bool:
        """Take up what another writer kept, if there is anything, and it is whole."""
        try:
            with np.load(self._part / _PROGRESS) as note:
                if str(note["about"]) != self._about:
                    return False
                counts = note["counts"].tolist()
                total, before = sum(counts) * self.size**2 * 3, 0
                for split, count in zip(SPLITS, counts, strict=True):
                    for done in self._take_up(split, count):
                        hear(before + done, total)
                    before += count * self.size**2 * 3
                self._sum, self._products = note["sum"], note["products"]
                self.skipped = json.loads(str(note["skipped"]))
                self.position = int(note["position"])
        except DataError:  # of who hears, and wants it to end
            raise
        except (OSError, EOFError, LookupError, ValueError, BadZipFile):
            self._labels = {split: [] for split in SPLITS}
            self._hashes = {split: hashlib.sha256() for split in SPLITS}
            return False
        return True

    def _take_up(self, split: Split, count: int) -> Iterator[int]:
        """Read again what is there, for its digest; what was written after the last note is cut off.

        Gives the number of bytes read so far, again and again.
        """
        self._write_headers(split, count)
        images, labels = self._files[split, "images"], self._files[split, "labels"]
        start, left = images.tell(), count * self.size**2 * 3
        while left:
            chunk = images.read(min(left, _BYTES_AT_ONCE))
            if not chunk:
                raise EOFError
            self._hashes[split].update(chunk)
            left -= len(chunk)
            yield count * self.size**2 * 3 - left
        images.truncate(start + count * self.size**2 * 3)
        begin = labels.tell()
        self._labels[split] = [np.frombuffer(labels.read(count * 8), "<i8", count).astype(np.int64)]
        labels.truncate(begin + count * 8)

    def finish(self) -> PackedSet:
        """Make the set visible; where the same images lie under this name already, that set is returned.

        Raises DataError where there are no training images.
        """
        if not self.count("train"):
            raise DataError(f"The data set {self.name!r} has no training images.")
        labels = {split: self.labels(split) for split in SPLITS}
        counts = {split: len(labels[split]) for split in SPLITS}
        described = json.dumps([self.classes, self.size, [counts[split] for split in SPLITS]])
        digest = hashlib.sha256(
            b"".join(self._hashes[split].digest() + labels[split].astype("<i8").tobytes() for split in SPLITS)
            + described.encode()
        ).hexdigest()[:16]

        target = packed_root() / f"{_slug(self.name)}-{digest[:8]}"
        pixels = counts["train"] * self.size**2
        mean = self._sum.sum(axis=(0, 1)) / pixels
        covariance = self._products / pixels - np.outer(mean, mean)
        record = {
            "format": FORMAT,
            "name": self.name,
            "digest": digest,
            "fingerprint": self.fingerprint,
            "classes": self.classes,
            "size": self.size,
            "counts": counts,
            "mean": mean.tolist(),
            "std": np.sqrt(np.diag(covariance).clip(min=0)).tolist(),
            "colour_covariance": (covariance / 255**2).tolist(),
            "skipped": self.skipped,
        } | ({"folders": self.folders} if self.folders else {})
        for split in SPLITS:
            self._write_headers(split, counts[split])
        for written in self._files.values():
            _flush(written)
            written.close()
        with (self._part / "mean-image.npy").open("wb") as file:
            np.save(file, (self._sum / counts["train"]).astype(np.float32))
            _flush(file)
        with (self._part / "set.json").open("wb") as file:
            file.write(json.dumps(record, indent=1, ensure_ascii=False).encode())
            _flush(file)

        (self._part / _PROGRESS).unlink(missing_ok=True)
        _flush_folder(self._part)

        with FileLock(target.parent / ".lock"):
            if _holds(target, digest):  # the files it came from have moved or changed dates: remember these
                (self._part / "set.json").replace(target / "set.json")
            else:
                if target.exists():  # damaged
                    target.rename(self._part / "damaged")
                    shutil.rmtree(self._part / "damaged")
                self._part.rename(target)
            _flush_folder(target.parent)
        return open_set(target)

    def _write_headers(self, split: Split, count: int) -> None:
        """Say how many there are; each file then stands at its first value.

        NumPy leaves room in a header for the first axis to grow, so that it can be written again at the end.
        """
        shapes: dict[_Kind, tuple[str, tuple[int, ...]]] = {
            "images": ("|u1", (count, self.size, self.size, 3)),
            "labels": ("<i8", (count,)),
        }
        for kind, (descr, shape) in shapes.items():
            file = self._files[split, kind]
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": descr})


def clean_name(name: str) -> str:
    """A label fit for one line of a page or a file: printable, at most 120 characters. Raises DataError if empty."""
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:NAME_LENGTH].strip()
    if not name:
        raise DataError("The data set needs a name.")
    return name


def packed_root() -> Path:
    """The folder of the packed sets of this machine; what begins with a dot there is at work."""
    return data_root() / "packed"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:60].strip("-") or "set"


def _holds(folder: Path, digest: str) -> bool:
    try:
        return open_set(folder).digest == digest
    except DataError:
        return False


def _remove_abandoned(root: Path) -> None:
    for part in root.glob(".*.part"):
        limit = _FORGOTTEN_AFTER if (part / _PROGRESS).exists() else _ABANDONED_AFTER
        if time.time() - part.stat().st_mtime > limit:
            shutil.rmtree(part, ignore_errors=True)


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":  # Windows cannot open a folder, and does not need it
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
