"""Pictures whose classes are known, matched to the classes of a network, to count its errors on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .packed import DataError
from .tree import CLASS_NAMES, Tree, distinct_labels, find_base, folder_tree, parse_names, printable, readable_names

ILSVRC_CLASSES = 1000
_WNID = re.compile(r"n\d{8}")
_NAMED = re.compile(r"(?:(?P<index>\d+)_)?(?P<wnid>n\d{8})(?:_(?P<name>.+))?")  # 0002_n01484850_great_white_shark


@dataclass(frozen=True)
class Labelled:
    """Pictures that a network can be asked about."""

    pictures: tuple[tuple[Path, int], ...]  # each with the index of its class
    unknown: Counter[str]  # how many there are of each class that the network does not know


def find_labelled(
    folder: Path, classes: Sequence[str], folders: Sequence[str] = (), table: Path | None = None
) -> Labelled:
    """The pictures of a folder, by the classes of a network.

    `folder` holds class folders (`<class>/…`, also below `test/` or `val/`), or pictures whose names carry a WordNet
    id, `0002_n01484850_great_white_shark.JPEG`. Such a class is one of the network's where it reads as one of
    `classes`; where it is one of `folders`, the network's classes as its training data named them; or where a table
    of readable names (`table`, else a classes.tsv in the folder or beside it) says so. The thousand classes of ILSVRC
    are known by their place among the sorted WordNet ids.
    Raises DataError where there is no picture of a class that the network knows.
    """
    tree = folder_tree(folder)
    base = find_base(tree)
    if not tree.pictures(base):
        raise DataError(f"There are no pictures in {folder.name!r}: give a folder with one folder for each class.")
    names = _names(tree, base, folder, table)
    index = {label: place for place, label in enumerate(classes)}
    labels = zip(names, distinct_labels(list(names), names), strict=True)
    known = {name: index[label] for name, label in labels if label in index}
    known |= index | {name: place for place, name in enumerate(folders)}

    base, own = _class_folders(tree, base, known, classes)
    known |= own
    pictures: list[tuple[Path, int]] = []
    unknown: Counter[str] = Counter()
    for path in tree.pictures(base):
        name, below, _ = path[len(base) :].partition("/")
        place = known.get(name) if below else None
        if not below and (named := _NAMED.fullmatch(Path(name).stem)):
            name = named["wnid"]
            place = known.get(name, _ilsvrc_place(named, classes))
        if place is None:
            unknown[printable(name)] += 1
        else:
            pictures.append((folder / path, place))
    if not pictures:
        some = ", ".join(list(unknown)[:3])
        raise DataError(f"The network knows none of the classes in {folder.name!r} ({some}, …): name the folders as "
                        "its classes, or give a table of their names by --classes.")  # fmt: skip
    return Labelled(tuple(pictures), unknown)


def _names(tree: Tree, base: str, folder: Path, table: Path | None) -> dict[str, str]:
    beside = folder.resolve().parent / CLASS_NAMES
    if table is None and not (names := readable_names(tree, base)) and beside.is_file():
        table = beside
    if table is None:
        return names
    try:
        return parse_names(table.read_bytes())
    except OSError as error:
        raise DataError(f"The table of class names {table.name!r} cannot be read ({error.strerror}): give a file "
                        "with a folder's name, a tab and its readable name in each line.") from None  # fmt: skip


def _class_folders(
    tree: Tree, base: str, known: Mapping[str, int], classes: Sequence[str]
) -> tuple[str, dict[str, int]]:
    """Where the class folders lie, and, if they are ILSVRC's, the place of each."""
    inside = {folder.lower(): folder for folder in tree.inside(base)}
    for place in (*(f"{base}{inside[split]}/" for split in ("test", "val") if split in inside), base):
        folders = tree.inside(place)
        if len(folders) == len(classes) == ILSVRC_CLASSES and all(map(_WNID.fullmatch, folders)):
            return place, {folder: number for number, folder in enumerate(folders)}
        if any(folder in known for folder in folders):
            return place, {}
    return base, {}


def _ilsvrc_place(named: re.Match[str], classes: Sequence[str]) -> int | None:
    """The index in a picture's name, where the network has ILSVRC's classes and calls that one as the name does."""
    if len(classes) != ILSVRC_CLASSES or not named["index"] or not named["name"]:
        return None
    place = int(named["index"])
    return place if place < len(classes) and classes[place] == named["name"].replace("_", " ") else None
