"""What a person says of a run: a name, tags, a note, and whether it is put away. Kept in `notes.json` of its folder.

The training process never writes this file, so that it can be changed at any moment, without the run's lease.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from .config import explain
from .files import write_json

MOST_TAGS = 20
NAME_LENGTH, TAG_LENGTH, NOTE_LENGTH = 120, 40, 10_000

_Tag = Annotated[str, Field(min_length=1, max_length=TAG_LENGTH, pattern=r"^[^\s,][^,\r\n]*$")]


class NotesError(ValueError):
    """Notes that cannot be kept; the message says what is allowed."""


@dataclass(frozen=True)
class Notes:
    """What `notes.json` holds."""

    name: Annotated[str, Field(max_length=NAME_LENGTH, pattern=r"^[^\r\n]*$")] = ""  # empty: the run's own title
    tags: Annotated[tuple[_Tag, ...], Field(max_length=MOST_TAGS)] = ()
    note: Annotated[str, Field(max_length=NOTE_LENGTH)] = ""
    archived: bool = False  # put away: lists show it only when asked to


_NOTES = TypeAdapter(Notes)


def parse_notes(data: bytes) -> Notes:
    """Notes from JSON. Raises NotesError."""
    try:
        return _NOTES.validate_json(data)
    except ValidationError as error:
        raise NotesError(f"notes: {explain(error)}") from None


def read_notes(folder: Path) -> Notes:
    """The notes of a run's folder; empty ones where there are none, or where the file is damaged."""
    try:
        return parse_notes((folder / "notes.json").read_bytes())
    except (OSError, NotesError):  # a run is never hidden by what was said of it
        return Notes()


def write_notes(folder: Path, notes: Notes) -> None:
    """Keep the notes in a run's folder. Raises NotesError where they are too long, OSError."""
    tidy = Notes(" ".join(notes.name.split()), tidy_tags(notes.tags), notes.note.strip(), notes.archived)
    try:
        _NOTES.validate_python(asdict(tidy))
    except ValidationError as error:
        raise NotesError(f"notes: {explain(error)}") from None
    write_json(folder / "notes.json", asdict(tidy))


def tidy_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags in the order of the alphabet, each once, without needless spaces; a comma parts two of them."""
    words = {" ".join(tag.split()) for text in tags for tag in text.split(",")}
    return tuple(sorted(words - {""}))
