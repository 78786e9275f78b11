"""Many pictures at once: a table of what each network takes each for, computed in the background."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from alexnet_explorer.data.images import read_image
from alexnet_explorer.files import csv_text
from alexnet_explorer.inspection.picture_sets import PictureSet
from alexnet_explorer.ui import downloads, picture_sets, pictures, prediction_views, working
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import Look

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from alexnet_explorer.inspection.predict import Row
    from alexnet_explorer.weights import LoadedModel

MOST_FILES, MOST_MEGABYTES = 500, 500  # at a time; each file has a limit of its own
AT_ONCE = 16  # so many are looked at without being asked
_SLOT, _KEY = "predict_many", "predict_many_done"


@dataclass(frozen=True)
class Answers:
    """The table of one set of pictures and one row of networks: `key` names them."""

    key: str
    rows: list[Row]


def show(row: Sequence[Look], top: int) -> None:
    """Which pictures, the button, the progress, the table."""
    chosen = _choose()
    if chosen is None or not row:
        return
    models = [look.model for look in row]
    key = " ".join([chosen.key, *(model.digest for model in models)])
    work = working.finished(_SLOT)
    done = work.result if work and isinstance(work.result, Answers) and work.result.key == key else None
    if done is None:
        stale = st.session_state.get(_KEY) != key
        begin = partial(_begin, key, chosen, models)
        if stale and chosen.count <= AT_ONCE:
            begin()
            st.rerun()
        if working.busy(_SLOT) and not stale:
            return  # its bar is drawn
        if work and not stale:
            st.error(plain(work.message), icon=":material/error:")
        st.button(f"Predict {chosen.count:,} pictures", on_click=begin, key="predict_many", type="primary")
        return
    _draw(done.rows, top, chosen)


def _begin(key: str, chosen: PictureSet, models: Sequence[LoadedModel]) -> None:
    st.session_state[_KEY] = key

    def act(progress: working.Progress) -> Answers:
        from alexnet_explorer.inspection.predict import predict_many

        return Answers(key, predict_many(models, chosen, prediction_views.MOST_CLASSES, progress))

    working.begin(_SLOT, act)


def _choose() -> PictureSet | None:
    """The visitor's files, else a set that is here; None where these are too many."""
    files = st.file_uploader(
        "Your own pictures", pictures.UPLOAD_TYPES, accept_multiple_files=True, key="predict_files",
        max_upload_size=20, help=f"Up to {MOST_FILES} files and {MOST_MEGABYTES} MB at a time, 20 MB each; a folder's "
        "pictures can be marked and dropped together.",
    )  # fmt: skip
    if not files:
        return picture_sets.choose("predict_set", "Or pictures that are here")
    size = sum(file.size for file in files) / 1e6
    if len(files) > MOST_FILES or size > MOST_MEGABYTES:
        st.error(f"These are {len(files)} files of {size:,.0f} MB: take at most {MOST_FILES} files and "
                 f"{MOST_MEGABYTES} MB at a time.", icon=":material/error:")  # fmt: skip
        return None
    return of_files(files)


def of_files(files: Sequence[UploadedFile]) -> PictureSet:
    """Uploaded files as a set; each is read when it is looked at, and may turn out to be no picture."""
    content = hashlib.sha256("\0".join(f"{file.file_id} {file.name}" for file in files).encode()).hexdigest()
    return PictureSet(
        "Your own pictures", content[:16], len(files),
        lambda n: read_image(files[n].getvalue(), files[n].name), lambda n: files[n].name,
    )  # fmt: skip


def _draw(rows: Sequence[Row], top: int, chosen: PictureSet) -> None:
    shown = min(top, max((len(row.predictions) for row in rows), default=0))
    lines = [_line(row, shown, bool(chosen.classes)) for row in rows]
    st.dataframe(
        lines, hide_index=True, key="predict_table", alt=f"What the networks take {chosen.count} pictures for",
        column_config={"network": st.column_config.TextColumn(width=160)}
        | {f"{n}. probability": st.column_config.NumberColumn(format="percent") for n in range(1, shown + 1)},
    )  # fmt: skip
    if unread := sum(bool(row.error) for row in rows):
        st.caption(f"{unread} rows are of pictures that could not be read; the table says why.")
    if chosen.classes:
        for name in dict.fromkeys(row.network for row in rows):
            own = [row for row in rows if row.network == name and row.predictions]
            right = sum(row.predictions[0].label == row.shows for row in own)
            st.caption(
                f"{plain(name)} names {right} of {len(own)} as the data set does, {right / max(len(own), 1):.1%}."
            )
    downloads.offer("predictions", f"{chosen.name} predictions", csv=lambda: as_csv(rows, shown))


def _line(row: Row, shown: int, known: bool) -> dict[str, str | float | None]:
    """A row of the table: a pair of columns for each class."""
    line: dict[str, str | float | None] = {"picture": row.picture}
    if known:
        line["shows"] = row.shows
    line["network"] = row.network
    for number in range(shown):
        found = row.predictions[number] if number < len(row.predictions) else None
        line[f"{number + 1}. class"] = found.label if found else row.error if number == 0 else None
        line[f"{number + 1}. probability"] = found.probability if found else None
    return line


def as_csv(rows: Sequence[Row], shown: int) -> str:
    """The table, with probabilities from 0 to 1, and in the last column why a picture could not be read."""
    pairs = [f"{what} {n}" for n in range(1, shown + 1) for what in ("class", "probability")]
    table = [["picture", "shows", "network", *pairs, "error"]]
    for row in rows:
        values = [value for p in row.predictions[:shown] for value in (p.label, f"{p.probability:.6f}")]
        values += [""] * (2 * shown - len(values))
        table.append([row.picture, row.shows or "", row.network, *values, row.error])
    return csv_text(table)
