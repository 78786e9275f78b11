"""The pictures of a folder or a zip file, and what their classes are called."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from .images import MAX_BYTES, ImageError
from .packed import FORMAT, DataError

LARGEST_SIDE = 256  # of packed images
# The last three cannot be read; such a file is reported, where a text beside the pictures is passed over.
PICTURE_ENDINGS = frozenset(
    (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
_SAYS_UTF8 = 0x800  # a flag of a member of a zip file
CLASS_NAMES = "classes.tsv"  # folder name, tab, readable names parted by commas
MAX_MEMBERS = 2_000_000  # of a zip file
MOST_LETTERS, MOST_FOLDERS = 1000, 32  # of a path in it
MAX_UNPACKED = 32 * 1024**3  # bytes of all its pictures


@dataclass
class Tree:
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
        whole = hashlib.sha256(f"{FORMAT} {LARGEST_SIDE}".encode())
        # Line by line: ImageNet has over a million files.
        for line in chain((f"{path}\n{self.files[path]}" for path in sorted(self.files)), sorted(self.folders)):
            whole.update(b"\n" + line.encode("utf-8", "surrogateescape"))
        return whole.hexdigest()[:32]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("", "__MACOSX")


def _wanted(name: str) -> bool:
    return name == CLASS_NAMES or PurePosixPath(name).suffix.lower() in PICTURE_ENDINGS


def folder_tree(root: Path, hear: Callable[[int], None] = lambda found: None) -> Tree:
    """Links are not followed: they may lead anywhere, and in circles.

    `hear` is told, with each folder, how many pictures were found so far.
    """

    def read(path: str) -> bytes:
        try:
            with (root / path).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ImageError(f"{path} cannot be read ({error.strerror}): check who may read it.") from None

    tree = Tree(root.name, {}, set(), [], read)
    bases = [""]
    while bases:
        base = bases.pop()
        hear(len(tree.files))
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
def open_zip(path: Path) -> Iterator[Tree]:
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

        tree = Tree(path.stem, {}, set(), [], read)
        if len(archive.infolist()) > MAX_MEMBERS:
            raise DataError(f"{path.name!r} holds more than {MAX_MEMBERS:,} files: unpack it, and use the folder.")
        for member in archive.infolist():
            name = _name(member)
            parts = name.rstrip("/").split("/")
            if len(name) > MOST_LETTERS or len(parts) > MOST_FOLDERS:
                raise DataError(f"{path.name!r} holds a path of {len(parts)} folders and {len(name)} letters: allowed "
                                f"are {MOST_FOLDERS} and {MOST_LETTERS}.")  # fmt: skip
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


def _name(member: zipfile.ZipInfo) -> str:
    """The path of a member, with slashes, from the top.

    Some programs write UTF-8 without saying so, which Python then reads as the code page of old PCs.
    """
    name = member.filename
    if not member.flag_bits & _SAYS_UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return re.sub(r"^(\./)+", "", _composed(name.replace("\\", "/")))


def _composed(name: str) -> str:
    """With ä as one character: a Mac writes a and two dots, in names of files only."""
    return unicodedata.normalize("NFC", name)


def find_base(tree: Tree) -> str:
    """Where the class folders, or train and test, lie: below any folders that hold a single folder and no picture."""
    base = ""
    while len(inside := tree.inside(base)) == 1:
        deeper = f"{base}{inside[0]}/"
        if not tree.inside(deeper) or any("/" not in path[len(deeper) :] for path in tree.pictures(deeper)):
            break
        base = deeper
    return base


def readable_names(tree: Tree, base: str) -> dict[str, str]:
    """From classes.tsv beside the class folders or at the top, if it is there: folder name → first readable name."""
    for path in (base + CLASS_NAMES, CLASS_NAMES):
        if path in tree.files:
            try:
                return parse_names(tree.read(path))
            except ImageError as error:
                raise DataError(str(error)) from None
    return {}


def parse_names(table: bytes) -> dict[str, str]:
    """From the content of a classes.tsv: folder name → first readable name."""
    rows = (line.partition("\t") for line in table.decode("utf-8-sig", "replace").splitlines())
    return {_composed(folder.strip()): names.split(",")[0].strip() for folder, _, names in rows}


def distinct_labels(folders: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """A label for each folder; two that would read the same (ImageNet has two kinds of 'crane') say their folder."""
    labels = [printable(names.get(_composed(folder)) or folder) for folder in folders]
    counts = Counter(labels)
    return [label if counts[label] == 1 else f"{label} ({printable(folder)})"
            for label, folder in zip(labels, folders, strict=True)]  # fmt: skip


def printable(name: str) -> str:
    """File names may hold bytes that are no text."""
    return "".join(c if c.isprintable() else "?" for c in name)
