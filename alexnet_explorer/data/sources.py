"""Where images come from: built-in digits, torchvision's downloads, a folder or a zip of class folders."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import statistics
import struct
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError

import numpy as np
from filelock import FileLock
from PIL import Image

from alexnet_explorer.data.images import MAX_BYTES, ImageError, picture_size, read_square
from alexnet_explorer.data.packed import (
    FORMAT,
    DataError,
    PackedSet,
    PackedWriter,
    Split,
    clean_name,
    data_root,
    find_set,
    list_sets,
)

Progress = Callable[[float, str], None]

SOURCES: dict[str, str] = {
    "digits": "1,797 handwritten digits of scikit-learn, 32×32; needs no network",
    "cifar10": "CIFAR-10: 60,000 photographs of 10 kinds of things, 32×32; a download of 170 MB",
    "imagenette": "Imagenette: 13,394 photographs of 10 ImageNet classes, 160×160; a download of 99 MB",
}
_MEGABYTES = {"cifar10": 170.5, "imagenette": 99.0}

LARGEST_SIDE = 256
SMALLEST_SIDE = 8  # of the inputs that a network may have
# The last three cannot be read; such a file is reported, where a text beside the pictures is passed over.
PICTURE_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
CLASS_NAMES = "classes.tsv"  # folder name, tab, readable names parted by commas
MAX_MEMBERS = 2_000_000  # of a zip file
MAX_UNPACKED = 32 * 1024**3  # bytes of all its pictures
STALLED_AFTER = 30.0  # seconds without a byte of a download
_DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
_FILES_AT_ONCE = 256
_SAMPLE = 500  # pictures whose headers decide the size


def prepare(source: str | Path, name: str | None = None, progress: Progress | None = None) -> PackedSet:
    """The packed set of a source; it is made at the first call and found again at the next.

    `source` is a name of `SOURCES`, a folder or a zip file of class folders (`<class>/…`, or `train/<class>/…`
    with `test/<class>/…` or `val/<class>/…`; of both, `test` is used), or the label of a set that is packed
    already. `name` is the label of the new set, by default the source's own. `progress` hears of a share of the
    work done, 0–1, and of what is being done. Raises DataError with one sentence that says what to do.
    """
    try:
        return _prepare(source, name, progress or (lambda share, text: None))
    except OSError as error:  # what cannot be read is dealt with where it is read
        raise DataError(f"The data could not be stored ({error.strerror or error}): make room in the data folder, "
                        "or choose another one by ALEXNET_EXPLORER_DATA.") from error  # fmt: skip


def _prepare(source: str | Path, name: str | None, progress: Progress) -> PackedSet:
    if name is not None:
        name = clean_name(name)
        if name in SOURCES and name != source:
            raise DataError(f"The name {name!r} belongs to a built-in data set: choose another one.")
    if source == "digits":
        return _digits(name, progress)
    if source in ("cifar10", "imagenette"):
        return _download(str(source), name, progress)
    try:
        path = Path(source).expanduser()
        is_folder, is_file = bool(str(source)) and path.is_dir(), path.is_file()
    except (OSError, RuntimeError):  # a text that cannot be a path
        is_folder = is_file = False
    if is_folder:
        return _prepare_tree(_folder_tree(path), _label(path.resolve().name, "folder"), name, progress)
    if is_file:
        with _open_zip(path) as tree:
            return _prepare_tree(tree, _label(path.stem, "zip"), name, progress)
    if any(packed.name == source for packed in list_sets()):
        return find_set(str(source))
    raise DataError(f"There is no data set, folder or zip file {str(source)!r}: use {', '.join(SOURCES)}, "
                    "or the path of a folder with one folder of pictures for each class.")  # fmt: skip


def _label(name: str, kind: str) -> str:
    """A folder may be called as a built-in set; its label must not be."""
    return clean_name(f"{name} ({kind})" if name in SOURCES else name or kind)


def _find(fingerprint: str, name: str | None) -> PackedSet | None:
    for packed in list_sets():
        if packed.fingerprint == fingerprint and name in (None, packed.name):
            return packed
    return None


# Built-in digits


def _digits(name: str | None, progress: Progress) -> PackedSet:
    """scikit-learn's digits, 8×8 in 0–16, enlarged to 32×32; the last fifth of each class is the test split.

    The file is read where it lies in the installed package: importing scikit-learn takes seconds.
    """
    fingerprint = f"digits {FORMAT}"
    if found := _find(fingerprint, name or "digits"):
        return found
    progress(0, "unpacking the digits")
    try:
        table = np.loadtxt(str(distribution("scikit-learn").locate_file(_DIGITS_FILE)), delimiter=",")
    except (PackageNotFoundError, OSError):
        raise DataError("The digits come with scikit-learn: pip install scikit-learn.") from None
    labels = table[:, 64].astype(np.int64)
    grey = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    images = np.stack(
        [
            np.asarray(Image.fromarray(digit).resize((32, 32), Image.Resampling.BILINEAR).convert("RGB"))
            for digit in grey
        ]
    )
    tested = np.zeros(len(labels), bool)
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        tested[places[len(places) * 4 // 5 :]] = True
    with PackedWriter(name or "digits", [str(digit) for digit in range(10)], 32, fingerprint) as writer:
        writer.add("train", images[~tested], labels[~tested])
        writer.add("test", images[tested], labels[tested])
        return writer.finish()


# Downloads


def _download(source: str, name: str | None, progress: Progress) -> PackedSet:
    fingerprint = f"{source} {FORMAT}"
    folder = data_root() / "downloads" / source
    folder.mkdir(parents=True, exist_ok=True)
    # A second visitor who asks for the same set waits, and then finds it.
    with FileLock(folder.with_suffix(".lock")):
        if found := _find(fingerprint, name or source):
            return found
        pack = _pack_cifar10 if source == "cifar10" else _pack_imagenette
        _remove_folders(folder)  # left there by an unpacking that was interrupted
        try:
            return pack(folder, name or source, fingerprint, progress)
        finally:
            _remove_folders(folder)  # the archive stays


def _pack_cifar10(folder: Path, name: str, fingerprint: str, progress: Progress) -> PackedSet:
    from torchvision.datasets import CIFAR10

    train = _fetch("cifar10", folder, lambda: CIFAR10(folder, download=True), progress)
    progress(0.8, "packing cifar10")
    test = CIFAR10(folder, train=False)
    with PackedWriter(name, train.classes, 32, fingerprint) as writer:
        writer.add("train", train.data, train.targets)
        writer.add("test", test.data, test.targets)
        return writer.finish()


def _pack_imagenette(folder: Path, name: str, fingerprint: str, progress: Progress) -> PackedSet:
    from torchvision.datasets import Imagenette

    dataset = _fetch("imagenette", folder, lambda: Imagenette(folder, size="160px", download=True), progress)
    names = {wnid: synonyms[0] for wnid, synonyms in zip(dataset.wnids, dataset.classes, strict=True)}
    return _pack_tree(
        _folder_tree(folder), name, fingerprint, lambda share, text: progress(0.8 + share / 5, text), names
    )


def _fetch(source: str, folder: Path, build: Callable[[], Any], progress: Progress) -> Any:
    """What `build` returns: torchvision's download into `folder`, again where the first one came incomplete."""
    instead = "or use 'digits' or a folder of your own, which need no network."
    try:
        try:
            return _watch(source, folder, build, progress)
        except RuntimeError:  # torchvision's word for a checksum that does not agree
            _empty(folder)
            return _watch(source, folder, build, progress)
    except RuntimeError:
        _empty(folder)
        raise DataError(f"What was downloaded for {source!r} is damaged, twice: try again later, {instead}") from None
    except (URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or str(reason)
        raise DataError(f"{source!r} could not be downloaded ({reason}): check the network connection, {instead}"
                        ) from None  # fmt: skip


def _watch(source: str, folder: Path, build: Callable[[], Any], progress: Progress) -> Any:
    """Run `build` in a thread; tell `progress` how large the archive has grown, give up where it stalls.

    torchvision sets no time limit on a connection, so that a lost one would be waited for without end.
    """
    result: Future[Any] = Future()

    def work() -> None:
        try:
            result.set_result(build())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, daemon=True, name=f"download {source}").start()
    last_size, last_change = -1, time.monotonic()
    while not wait([result], timeout=0.2).done:
        entries = list(folder.iterdir())
        size = sum(entry.stat().st_size for entry in entries if entry.is_file())
        unpacking = any(entry.is_dir() for entry in entries)
        if unpacking or size != last_size:
            last_size, last_change = size, time.monotonic()
        elif time.monotonic() - last_change > STALLED_AFTER:
            raise TimeoutError("no answer")
        megabytes = size / 1e6
        share = min(1.0, megabytes / _MEGABYTES[source])
        progress(0.7 * share, f"unpacking {source}" if unpacking else
                 f"downloading {source}: {megabytes:.0f} of {_MEGABYTES[source]:.0f} MB")  # fmt: skip
    return result.result()


def _remove_folders(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)


def _empty(folder: Path) -> None:
    _remove_folders(folder)
    for broken in folder.iterdir():
        broken.unlink()


# Folders and zip files of class folders


@dataclass
class _Tree:
    """The pictures of a folder or a zip file, by their paths in it, parted by slashes."""

    name: str
    files: dict[str, str]  # path → size and date, or size and checksum: what differs when the picture does
    folders: set[str]
    skipped: list[str]
    read: Callable[[str], bytes]  # raises ImageError

    def inside(self, base: str) -> list[str]:
        """The names of the folders directly in `base`, which is "" or ends with a slash; sorted."""
        found = (path[len(base) :] for path in self.folders if path.startswith(base))
        return sorted(name for name in found if "/" not in name)

    def pictures(self, base: str) -> list[str]:
        """The paths of the pictures in `base`, at any depth; sorted."""
        return sorted(path for path in self.files if path.startswith(base) and not path.endswith(CLASS_NAMES))

    def classes(self, base: str) -> dict[str, list[str]]:
        """The folders directly in `base`, and the pictures in each; sorted."""
        classes: dict[str, list[str]] = {name: [] for name in self.inside(base)}
        for path in self.pictures(base):
            name, slash, _ = path[len(base) :].partition("/")
            if slash:
                classes[name].append(path)
        return classes

    def fingerprint(self) -> str:
        """Changes with any file, its size or date; says nothing of where the tree lies."""
        lines = [f"{FORMAT} {LARGEST_SIDE}", *sorted(f"{path}\n{stamp}" for path, stamp in self.files.items())]
        lines += sorted(self.folders)
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("", "__MACOSX")


def _wanted(name: str) -> bool:
    return name == CLASS_NAMES or PurePosixPath(name).suffix.lower() in PICTURE_ENDINGS


def _folder_tree(root: Path) -> _Tree:
    """Links are not followed: they may lead anywhere, and in circles."""

    def read(path: str) -> bytes:
        try:
            with (root / path).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror}): check who may read it.") from None

    tree = _Tree(root.name, {}, set(), [], read)
    bases = [""]
    while bases:
        base = bases.pop()
        try:
            with os.scandir(root / base) as entries:
                for entry in entries:
                    path = base + entry.name
                    if _hidden(entry.name):
                        continue
                    if entry.is_symlink():
                        tree.skipped.append(f"{path} (a link)")
                    elif entry.is_dir():
                        tree.folders.add(path)
                        bases.append(path + "/")
                    elif entry.is_file() and _wanted(entry.name):
                        about = entry.stat()
                        tree.files[path] = f"{about.st_size} {about.st_mtime_ns}"
        except OSError as error:
            raise DataError(f"The folder {base or root.name!r} cannot be read ({error.strerror}): "
                            "check who may read it.") from None  # fmt: skip
    return tree


@contextmanager
def _open_zip(path: Path) -> Iterator[_Tree]:
    """Members are read into memory, by name and within limits; nothing is unpacked onto the disk."""
    unreadable = (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)
    try:
        archive = zipfile.ZipFile(path)
    except unreadable:
        raise DataError(f"{path.name!r} is not a zip file, or is damaged: pack the folder again.") from None
    with archive:
        members: dict[str, zipfile.ZipInfo] = {}

        def read(name: str) -> bytes:
            member = members[name]
            # Python's bz2 and lzma readers cannot be kept from unpacking without limit.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.file_size > MAX_BYTES:
                raise ImageError(f"{name} is too large, or compressed in an unusual way: pack the folder again.")
            try:
                with archive.open(member) as file:
                    return file.read(MAX_BYTES + 1)
            except unreadable:
                raise ImageError(f"{name} is damaged in the zip file: pack the folder again.") from None

        tree = _Tree(path.stem, {}, set(), [], read)
        if len(archive.infolist()) > MAX_MEMBERS:
            raise DataError(f"{path.name!r} holds more than {MAX_MEMBERS:,} files: unpack it, and use the folder.")
        for member in archive.infolist():
            name = member.filename.replace("\\", "/")
            parts = name.rstrip("/").split("/")
            if any(_hidden(part) for part in parts):
                continue
            folders = parts if member.is_dir() else parts[:-1]
            tree.folders.update("/".join(folders[:depth]) for depth in range(1, len(folders) + 1))
            if not member.is_dir() and _wanted(parts[-1]):
                if member.flag_bits & 1:
                    raise DataError(f"{path.name!r} is protected by a password: pack the folder again without one.")
                members[name] = member
                tree.files[name] = f"{member.file_size} {member.CRC}"
        if sum(member.file_size for member in members.values()) > MAX_UNPACKED:
            raise DataError(f"{path.name!r} holds more than {MAX_UNPACKED >> 30} GB: unpack it, and use the folder.")
        yield tree


def _prepare_tree(tree: _Tree, label: str, name: str | None, progress: Progress) -> PackedSet:
    fingerprint = tree.fingerprint()
    return _find(fingerprint, name) or _pack_tree(tree, name or label, fingerprint, progress)


def _pack_tree(
    tree: _Tree, name: str, fingerprint: str, progress: Progress, labels: Mapping[str, str] | None = None
) -> PackedSet:
    base = _base(tree)
    splits = _splits(tree, base)
    folders = list(splits["train"])
    labels = labels or _readable_names(tree, base)
    total = sum(len(paths) for classes in splits.values() for paths in classes.values())
    size = _side(tree, [path for paths in splits["train"].values() for path in paths])
    done = bad = 0
    with PackedWriter(name, _distinct(folders, labels), size, fingerprint) as writer:
        writer.skipped += map(_printable, tree.skipped)
        for split, classes in splits.items():
            for number, folder in enumerate(folders):
                paths = classes[folder]
                kept = 0
                for start in range(0, len(paths), _FILES_AT_ONCE):
                    progress(done / total, f"packing {name}: {done:,} of {total:,} pictures")
                    images = []
                    for path in paths[start : start + _FILES_AT_ONCE]:
                        done += 1
                        try:
                            images.append(np.asarray(read_square(tree.read(path), path, size)))
                        except ImageError as error:
                            bad += 1
                            writer.skipped.append(_printable(path))
                            if bad > total / 2:
                                raise DataError(f"More than half of the pictures in {name!r} cannot be read; "
                                                f"one of them: {error}") from None  # fmt: skip
                    kept += len(images)
                    if images:
                        writer.add(split, np.stack(images), [number] * len(images))
                if not kept:
                    raise DataError(f"None of the pictures of class {_printable(folder)!r} ({split}) can be read: "
                                    "save them again as JPEG or PNG, or take the folder away.")  # fmt: skip
        progress(1, f"packed {name}")
        return writer.finish()


def _base(tree: _Tree) -> str:
    """Where the class folders, or train and test, lie: below any folders that hold a single folder and no picture."""
    base = ""
    while len(inside := tree.inside(base)) == 1:
        deeper = f"{base}{inside[0]}/"
        if not tree.inside(deeper) or any("/" not in path[len(deeper) :] for path in tree.pictures(deeper)):
            break
        base = deeper
    return base


def _splits(tree: _Tree, base: str) -> dict[Split, dict[str, list[str]]]:
    """The pictures of each class folder of each split. Raises DataError where they do not make a data set."""
    inside = {folder.lower(): folder for folder in tree.inside(base)}
    held_out = [inside[split] for split in ("test", "val") if split in inside]
    splits: dict[Split, dict[str, list[str]]]
    if "train" in inside and held_out:
        train = tree.classes(f"{base}{inside['train']}/")
        folder, test = held_out[0], tree.classes(f"{base}{held_out[0]}/")
        for other in held_out[1:]:  # test pictures without labels, as in some competitions
            if test.keys() != train.keys():
                folder, test = other, tree.classes(f"{base}{other}/")
        if test.keys() != train.keys():
            missing, extra = sorted(train.keys() - test.keys()), sorted(test.keys() - train.keys())
            difference = [f"{_listed(names)} only in {place!r}" for names, place in
                          ((missing, inside["train"]), (extra, folder)) if names]  # fmt: skip
            raise DataError(f"The class folders of {inside['train']!r} and {folder!r} in {tree.name!r} differ: "
                            f"{'; '.join(difference)}: give both the same ones.")  # fmt: skip
        splits = {"train": train, "test": test}
    else:
        splits = {"train": tree.classes(base)}

    layout = "make one folder for each class, with its pictures (JPEG, PNG, …) in it."
    if not tree.pictures(base):
        raise DataError(f"There are no pictures in {tree.name!r}: {layout}")
    if not splits["train"]:
        raise DataError(f"The pictures in {tree.name!r} are not in class folders: {layout}")
    if len(splits["train"]) == 1:
        raise DataError(f"{tree.name!r} has one class only, {_listed(list(splits['train']))}, "
                        "and there is nothing to tell apart: add a folder with pictures of another class.")  # fmt: skip
    empty = [f"{split}/{folder}" if len(splits) > 1 else folder
             for split, classes in splits.items() for folder, paths in classes.items() if not paths]  # fmt: skip
    if empty:
        raise DataError(f"In {tree.name!r} there are no pictures in {_listed(empty)}: "
                        "add some (JPEG, PNG, …), or take the folder away.")  # fmt: skip
    return splits


def _side(tree: _Tree, paths: list[str]) -> int:
    """The side of the packed images: the median short side of a sample, within limits.

    Where all pictures are squares of one size up to `LARGEST_SIDE` they so keep it.
    """
    shorts = []
    for path in paths[:: -(-len(paths) // _SAMPLE)]:
        with suppress(ImageError):
            shorts.append(min(picture_size(tree.read(path), path)))
    return max(SMALLEST_SIDE, min(LARGEST_SIDE, int(statistics.median(shorts or [LARGEST_SIDE]))))


def _readable_names(tree: _Tree, base: str) -> dict[str, str]:
    """From classes.tsv beside the class folders or at the top, if it is there: folder name → first readable name."""
    for path in (base + CLASS_NAMES, CLASS_NAMES):
        if path in tree.files:
            try:
                lines = tree.read(path).decode("utf-8-sig", "replace").splitlines()
            except ImageError as error:
                raise DataError(str(error)) from None
            rows = (line.partition("\t") for line in lines)
            return {folder.strip(): names.split(",")[0].strip() for folder, _, names in rows}
    return {}


def _distinct(folders: list[str], names: Mapping[str, str]) -> list[str]:
    """A label for each folder; two that would read the same (ImageNet has two kinds of 'crane') say their folder."""
    labels = [_printable(names.get(folder) or folder) for folder in folders]
    counts = Counter(labels)
    return [label if counts[label] == 1 else f"{label} ({_printable(folder)})"
            for label, folder in zip(labels, folders, strict=True)]  # fmt: skip


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(_printable(name)) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _printable(name: str) -> str:
    """File names may hold bytes that are no text."""
    return "".join(c if c.isprintable() else "?" for c in name)
