"""Where images come from: built-in digits, torchvision's downloads, a folder or a zip of class folders."""

from __future__ import annotations

import http.client
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from alexnet_explorer.data.images import ImageError, picture_size, read_square
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
    packed_root,
)
from alexnet_explorer.data.tree import (
    LARGEST_SIDE,
    Tree,
    distinct_labels,
    find_base,
    folder_tree,
    open_zip,
    printable,
    readable_names,
)

Progress = Callable[[float, str], None]

SOURCES: dict[str, str] = {
    "digits": "1,797 handwritten digits of scikit-learn, 32×32; needs no network",
    "cifar10": "CIFAR-10: 60,000 photographs of 10 kinds of things, 32×32; a download of 170 MB",
    "imagenette": "Imagenette: 13,394 photographs of 10 ImageNet classes, 160×160; a download of 99 MB",
}
_MEGABYTES = {"cifar10": 170.5, "imagenette": 99.0}

SMALLEST_SIDE = 8  # of the inputs that a network may have
STALLED_AFTER = 30.0  # seconds without a byte of a download
_DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
_FILES_AT_ONCE = 256  # as many are read again, at most, where the work was broken off
_MOST_READERS = 4  # threads; decoding leaves Python's lock to others
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


def prepare_by_name(name: str, progress: Progress | None = None) -> PackedSet:
    """`prepare` for a name that somebody typed or a config holds, which is never taken for a path. Raises DataError."""
    return prepare(name, progress=progress) if name in SOURCES else find_set(name)


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
        tree = folder_tree(path, lambda found: progress(0, f"looking through the folder: {found:,} pictures so far"))
        return _prepare_tree(tree, _label(path.resolve().name, "folder"), name, progress)
    if is_file:
        with open_zip(path) as tree:
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
        folder_tree(folder), name, fingerprint, lambda share, text: progress(0.8 + share / 5, text), names
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


def _prepare_tree(tree: Tree, label: str, name: str | None, progress: Progress) -> PackedSet:
    fingerprint = tree.fingerprint()
    if (found := _find(fingerprint, name)) and not _are_splits(found.classes):
        return found
    with _alone(fingerprint, progress):
        found = _find(fingerprint, name)
        if found is None or _are_splits(found.classes):  # as another version took them
            found = _pack_tree(tree, name or label, fingerprint, progress)
        return found


@contextmanager
def _alone(fingerprint: str, progress: Progress) -> Iterator[None]:
    """Wait for any other process that packs the same pictures."""
    root = packed_root()
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / f".{fingerprint}.lock")
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            progress(0, "waiting for another process, which packs the same pictures")
    try:
        yield
    finally:
        lock.release()


def _pack_tree(
    tree: Tree, name: str, fingerprint: str, progress: Progress, labels: Mapping[str, str] | None = None
) -> PackedSet:
    base = find_base(tree)
    splits = _splits(tree, base)
    folders = list(splits["train"])
    labels = labels or readable_names(tree, base)
    total = sum(len(paths) for classes in splits.values() for paths in classes.values())
    size = _side(tree, [path for paths in splits["train"].values() for path in paths])

    def read(path: str) -> NDArray[np.uint8] | ImageError:
        try:
            return np.asarray(read_square(tree.read(path), path, size))
        except ImageError as error:
            return error

    def read_again(done: int, whole: int) -> None:
        progress(0, f"reading again what was packed before: {done / 1e6:,.1f} of {whole / 1e6:,.1f} MB")

    with (
        PackedWriter(name, distinct_labels(folders, labels), size, fingerprint, resume=True, hear=read_again) as writer,
        ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_READERS)) as readers,
    ):
        writer.folders = tuple(map(printable, folders)) if writer.classes != tuple(map(printable, folders)) else ()
        if not writer.position:
            writer.skipped += map(printable, tree.skipped)
        pace = _Pace(total, writer.position)
        before = 0  # pictures of earlier splits
        for split, classes in splits.items():
            paths = [path for folder in folders for path in classes[folder]]
            numbers = np.repeat(np.arange(len(folders)), [len(classes[folder]) for folder in folders])
            counts = np.bincount(writer.labels(split), minlength=len(folders))
            for start in range(min(max(0, writer.position - before), len(paths)), len(paths), _FILES_AT_ONCE):
                progress((before + start) / total, f"packing {name}: {pace.said(before + start)}")
                chunk = slice(start, start + _FILES_AT_ONCE)
                images: list[NDArray[np.uint8]] = []
                known: list[int] = []
                for path, number, found in zip(
                    paths[chunk], numbers[chunk], readers.map(read, paths[chunk]), strict=True
                ):
                    if isinstance(found, ImageError):
                        writer.skipped.append(printable(path))
                        if len(writer.skipped) - len(tree.skipped) > total / 2:
                            raise DataError(f"More than half of the pictures in {name!r} cannot be read; "
                                            f"one of them: {found}")  # fmt: skip
                        continue
                    images.append(found)
                    known.append(number)
                if images:
                    writer.add(split, np.stack(images), known)
                writer.keep(before + min(chunk.stop, len(paths)))
                counts += np.bincount(np.array(known, np.int64), minlength=len(folders))
                seen = numbers[chunk.stop] if chunk.stop < len(paths) else len(folders)
                if not counts[:seen].all():
                    raise DataError(f"None of the pictures of class {printable(folders[counts.argmin()])!r} ({split}) "
                                    "can be read: save them again as JPEG or PNG, or take the folder away."
                                    )  # fmt: skip
            before += len(paths)
        progress(1, f"packed {name}")
        return writer.finish()


class _Pace:
    """How fast a work on `total` pictures goes, of which `first` were done before."""

    def __init__(self, total: int, first: int) -> None:
        self.total, self.first, self.started = total, first, time.monotonic()

    def said(self, done: int) -> str:
        """How many are done, how many a second, and how long the rest will take."""
        words = f"{done:,} of {self.total:,} pictures"
        seconds = time.monotonic() - self.started
        if done == self.first or seconds < 1:
            return words
        rate = (done - self.first) / seconds
        left = (self.total - done) / rate
        shown = f"{left:.0f} s" if left < 60 else f"{left / 60:.0f} min" if left < 3600 else f"{left / 3600:.1f} h"
        return f"{words}, {rate:,.0f} a second, {shown} left"


# What folders of training pictures, and of those to test with, are called; of several of these the first is taken.
_TRAINING = ("train", "training")
_HELD_OUT = ("test", "testing", "val", "valid", "validation", "eval", "dev")


def _are_splits(folders: Iterable[str]) -> bool:
    """Whether all of these are names of splits, and so of no classes."""
    return {folder.lower() for folder in folders} <= {*_TRAINING, *_HELD_OUT}


def _splits(tree: Tree, base: str) -> dict[Split, dict[str, list[str]]]:
    """The pictures of each class folder of each split. Raises DataError where they do not make a data set."""
    inside = {folder.lower(): folder for folder in tree.inside(base)}
    training = next((inside[name] for name in _TRAINING if name in inside), None)
    held_out = [inside[name] for name in _HELD_OUT if name in inside]
    splits: dict[Split, dict[str, list[str]]]
    if training and held_out:
        train = tree.classes(f"{base}{training}/")
        folder, test = held_out[0], tree.classes(f"{base}{held_out[0]}/")
        for other in held_out[1:]:  # test pictures without labels, as in some competitions
            if test.keys() != train.keys():
                folder, test = other, tree.classes(f"{base}{other}/")
        if test.keys() != train.keys():
            missing, extra = sorted(train.keys() - test.keys()), sorted(test.keys() - train.keys())
            difference = [f"{_listed(names)} only in {place!r}" for names, place in
                          ((missing, training), (extra, folder)) if names]  # fmt: skip
            raise DataError(f"The class folders of {training!r} and {folder!r} in {tree.name!r} differ: "
                            f"{'; '.join(difference)}: give both the same ones.")  # fmt: skip
        splits = {"train": train, "test": test}
        tree.skipped += [f"{base}{other} ({folder} is used)" for other in held_out if other != folder]
    elif len(inside) > 1 and _are_splits(inside):
        missing_split = "a folder 'train'" if held_out else "a folder 'test'"
        raise DataError(f"{tree.name!r} has {_listed(sorted(inside.values()))}, but not {missing_split}: "
                        "add it, with the same class folders.")  # fmt: skip
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


def _side(tree: Tree, paths: list[str]) -> int:
    """The side of the packed images: the median short side of a sample, within limits.

    Where all pictures are squares of one size up to `LARGEST_SIDE` they so keep it.
    """
    shorts = []
    for path in paths[:: -(-len(paths) // _SAMPLE)]:
        with suppress(ImageError):
            shorts.append(min(picture_size(tree.read(path), path)))
    return max(SMALLEST_SIDE, min(LARGEST_SIDE, int(statistics.median(shorts or [LARGEST_SIDE]))))


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(printable(name)) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
