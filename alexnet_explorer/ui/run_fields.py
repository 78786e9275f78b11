"""What a run of the list can be asked by: its fields by name, a filter in words, an order, and groups."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from alexnet_explorer.config import RunConfig
from alexnet_explorer.listing import Row


def _metric(name: str, factor: float = 1.0) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        found = row.status.summary.get(name)
        return None if found is None else factor * found

    return value


def started(row: Row) -> datetime | None:
    """When the run was created, as its id says; the gallery's have names instead."""
    try:
        return datetime.strptime(row.id[:15], "%Y%m%d-%H%M%S")
    except ValueError:
        return None


# Beside the fields of the config: name, title, value. Errors are in percent.
METRICS: dict[str, tuple[str, Callable[[Row], float | None]]] = {
    "best": ("Best validation error, %", _metric("best/val_top1_error", 100)),
    "validation": ("Last validation error, %", _metric("val/top1_error", 100)),
    "test": ("Test error, %", _metric("test/top1_error", 100)),
    "test5": ("Test error, top 5, %", _metric("test/top5_error", 100)),
    "train": ("Training error, %", _metric("epoch/train_top1_error", 100)),
    "val_loss": ("Validation loss", _metric("val/loss")),
    "train_loss": ("Training loss", _metric("epoch/train_loss")),
    "minutes": ("Time, minutes", lambda row: row.status.seconds / 60 or None),
}
OWN: dict[str, tuple[str, Callable[[Row], Any]]] = {
    "started": ("Started", started),
    "name": ("Name", lambda row: row.title),
    "id": ("Id", lambda row: row.id),
    "state": ("State", lambda row: row.status.state),
    "tag": ("Tag", lambda row: row.notes.tags),
    "note": ("Note", lambda row: row.notes.note),
    "from": ("From", lambda row: row.origin),
    "epochs": ("Epochs done", lambda row: row.status.epoch),
    "size": ("Size, MB", lambda row: row.bytes / 1e6),
    "speed": ("Images a second", lambda row: row.status.img_per_s),
    **METRICS,
}

_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_CONDITION = re.compile(r"([A-Za-z0-9_.]+)(!=|<=|>=|=|<|>)(.*)", re.DOTALL)
OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


@cache
def config_fields() -> tuple[str, ...]:
    """The config's fields by their dotted names."""
    return tuple(RunConfig().flat())


def find_field(name: str) -> str:
    """A field by its name, or by the last part of a dotted one where only one ends so; empty where there is none."""
    if name in OWN or name in config_fields():
        return name
    found = [field for field in config_fields() if field.endswith(f".{name}")]
    return found[0] if len(found) == 1 else ""


def short(field: str) -> str:
    """The shortest name that finds a field."""
    tail = field.rpartition(".")[2]
    return tail if find_field(tail) == field else field


def title(field: str) -> str:
    """What a field is called on the page."""
    return OWN[field][0] if field in OWN else short(field).replace("_", " ")


def value(row: Row, field: str) -> Any:
    """The value of a field; None where the run has none."""
    return OWN[field][1](row) if field in OWN else row.value(field)


def shown(found: Any) -> str:
    """A value as text, as it is written in a filter."""
    if isinstance(found, bool):
        return "on" if found else "off"
    if isinstance(found, float):
        return f"{found:.6g}"
    if isinstance(found, list | tuple):
        return ",".join(map(shown, found)) or "none"
    return "none" if found is None or found == "" else str(found)


# The filter


@dataclass(frozen=True)
class Condition:
    """`activation=tanh`, `best<20`, or without a field a word that the run's texts have to hold."""

    text: str
    field: str = ""
    operator: str = ""

    def holds(self, row: Row) -> bool:
        """Whether a run fulfils it."""
        if not self.field:
            return self.text in _texts(row)
        found = value(row, self.field)
        if self.operator in ("=", "!="):
            return _equals(found, self.text) == (self.operator == "=")
        try:
            wanted = float(self.text)
        except ValueError:
            return False
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        return {"<": found < wanted, "<=": found <= wanted, ">": found > wanted, ">=": found >= wanted}[self.operator]


def _texts(row: Row) -> str:
    return " ".join((row.title, row.own_title, row.id, row.status.state, row.origin, *row.notes.tags)).lower()


def _equals(found: Any, wanted: str) -> bool:
    """As text, as a number, as one of several (`relu,tanh`), or as one of a run's tags."""
    text = shown(found).lower().replace('"', "")  # which a filter cannot say
    if text == wanted:
        return True
    if isinstance(found, bool):
        return text == {"true": "on", "false": "off"}.get(wanted)
    if isinstance(found, int | float):
        try:
            return float(wanted) == found
        except ValueError:
            return text in wanted.split(",")
    if isinstance(found, tuple):
        return wanted in map(str.lower, found)
    return not isinstance(found, list) and text in wanted.split(",")


def parse(words: str) -> list[Condition]:
    """The conditions of a filter, all of which have to hold. What names no field is a word to be found."""
    conditions = []
    for word in _WORD.findall(words):
        named = _CONDITION.fullmatch(word)
        field = find_field(named[1].lower()) if named else ""
        if named and field:
            conditions.append(Condition(named[3].replace('"', "").lower(), field, named[2]))
        else:
            conditions.append(Condition(word.replace('"', "").lower()))
    return conditions


def misnamed(words: str) -> list[str]:
    """What the filter asks for by a name that no field has: a slip, most of the time."""
    named = [found for word in _WORD.findall(words) if (found := _CONDITION.fullmatch(word))]
    return [found[1] for found in named if not find_field(found[1].lower())]


def write(field: str, operator: str, found: str) -> str:
    """A condition as a word of a filter."""
    text = found.replace('"', "")
    return f'{short(field)}{operator}"{text}"' if re.search(r"\s", text) else f"{short(field)}{operator}{text}"


def matching(rows: Sequence[Row], words: str) -> list[Row]:
    """The runs that the filter lets through."""
    conditions = parse(words)
    return [row for row in rows if all(condition.holds(row) for condition in conditions)]


# Order and groups


def ordered(rows: Sequence[Row], field: str, descending: bool) -> list[Row]:
    """By a field; runs without a value, or with NaN, come last either way. No field: as they are."""
    if not field:
        return list(rows)
    found = [(value(row, field), row) for row in rows]
    known = [(number, row) for number, row in found if not _is_absent(number)]
    try:
        known.sort(key=lambda pair: pair[0], reverse=descending)
    except TypeError:  # values of several kinds
        known.sort(key=lambda pair: shown(pair[0]), reverse=descending)
    return [row for _, row in known] + [row for number, row in found if _is_absent(number)]


def _is_absent(found: Any) -> bool:
    return found is None or (isinstance(found, float) and math.isnan(found))


@dataclass(frozen=True)
class Group:
    """The runs with one value of a field, and how a metric is spread over them."""

    value: str
    runs: int
    mean: float | None = None
    best: float | None = None  # the lowest: of errors, losses and times
    deviation: float | None = None  # of two runs or more


def grouped(rows: Sequence[Row], field: str, metric: str) -> list[Group]:
    """The groups of a field, the best mean first. A run with several tags is in the group of each."""
    found: dict[str, list[float | None]] = {}
    for row in rows:
        own = value(row, field)
        for one in own if isinstance(own, tuple) and own else [own]:
            found.setdefault(shown(one), []).append(METRICS[metric][1](row))
    groups = []
    for text, numbers in found.items():
        known = [number for number in numbers if number is not None and math.isfinite(number)]
        if not known:
            groups.append(Group(text, len(numbers)))
            continue
        spread = statistics.stdev(known) if len(known) > 1 else None
        groups.append(Group(text, len(numbers), statistics.fmean(known), min(known), spread))
    return sorted(groups, key=lambda group: (group.mean is None, group.mean, group.value))


def varying(rows: Sequence[Row], but: Collection[str], most: int) -> list[str]:
    """The config's fields that are not the same in these runs, those that most runs changed first."""
    changed = Counter(field for row in rows for field in row.changed if field not in but)
    different = [field for field, _ in changed.most_common() if len({shown(value(row, field)) for row in rows}) > 1]
    return different[:most]


def values_of(rows: Sequence[Row], field: str, most: int) -> list[str]:
    """The values that a field has in these runs, the most frequent first."""
    found: Counter[str] = Counter()
    for row in rows:
        one = value(row, field)
        found.update(one if isinstance(one, tuple) else [shown(one)])
    return [text for text, _ in found.most_common(most)]
