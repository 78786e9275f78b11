"""The table of all runs, and what can be done with those chosen in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import streamlit as st

from alexnet_explorer.launch.queue import Action
from alexnet_explorer.listing import Listing, Row
from alexnet_explorer.runs import EVIDENCE, GALLERY, Run, RunError, Status
from alexnet_explorer.ui import lens, live, queueing, run_fields, run_filter, run_notes, run_transfer, trash
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

REFRESH_SECONDS = 2.0
READ_SECONDS = 0.5  # for runs that the index does not know yet, before the rest of the page is drawn
MOST_ROWS = 500  # more than anyone reads, and a page stays quick
MOST_VARYING = 8  # columns that come by themselves
# These teach little.
OF_THE_MACHINE = ("train.device", "train.precision", "train.compile", "train.threads", "train.snapshot_layers")
MOST_SETTINGS = 5  # runs whose settings are drawn under the table

IN_GALLERY = "The gallery's runs, and a study's, ship with the project: they can be looked at, not trained on."

_CHOSEN = "runs_chosen"  # ids
_SHOWN = "runs_shown"  # the ids of the rows, in order
_TABLE = "runs_table"
_GROUPS = "runs_groups"


def cells(row: Row, settings: Sequence[str] = (), place: int | None = None) -> dict[str, Any]:
    """One run as a row of the table: errors in percent, time in minutes, and these settings.

    `place` is its place in the queue. A config that cannot be read is told under 'note'.
    """
    asked = _run(row).stop_requested() if row.status.at_work else None
    metrics = {name: run_fields.value(row, name) for name in ("best", "validation", "test", "minutes", "size", "speed")}
    return {
        "run": row.title,
        "curve": [100 * error for error in row.curve],
        "status": queueing.state_text(row.status, asked, place),
        "best": metrics["best"],
        "validation": metrics["validation"],
        "test": metrics["test"],
        **{field: run_fields.shown(row.value(field)) for field in settings},
        "tags": list(row.notes.tags),
        "epochs": live.epochs_text(row.status),
        "minutes": metrics["minutes"],
        "size": metrics["size"],
        "speed": metrics["speed"],
        "started": run_fields.started(row),
        "from": row.origin,
        "id": row.id,
        "note": " ".join((row.fault or row.status.message or row.notes.note).split()),
    }


COLUMNS = {
    "run": st.column_config.TextColumn("Run", width=280, pinned=True),
    "curve": st.column_config.LineChartColumn(
        "Error, 0–100 %", y_min=0, y_max=100, width=120, help="The validation error over the epochs"
    ),
    "status": st.column_config.TextColumn("State"),
    "best": st.column_config.NumberColumn("Best validation error", format="%.1f%%"),
    "validation": st.column_config.NumberColumn("Last", format="%.1f%%", help="The last validation error"),
    "test": st.column_config.NumberColumn("Test error", format="%.1f%%"),
    "tags": st.column_config.ListColumn("Tags"),
    "epochs": st.column_config.TextColumn("Epochs"),
    "minutes": st.column_config.NumberColumn("Time, min", format="%.1f"),
    "size": st.column_config.NumberColumn("Size, MB", format="%.1f"),
    "speed": st.column_config.NumberColumn("Images/s", format="%.0f"),
    "started": st.column_config.DatetimeColumn("Started", format="D MMM YYYY, HH:mm"),
    "from": st.column_config.TextColumn("From"),
    "id": st.column_config.TextColumn("Id"),
    "note": st.column_config.TextColumn("Note", width="large"),
}

GROUP_COLUMNS = {
    "value": st.column_config.TextColumn("Group"),
    "runs": st.column_config.NumberColumn("Runs"),
    "mean": st.column_config.NumberColumn("Mean", format="%.2f"),
    "best": st.column_config.NumberColumn("Best", format="%.2f"),
    "deviation": st.column_config.NumberColumn("Standard deviation", format="%.2f"),
}


@st.cache_resource(show_spinner=False)
def _listing(root: str) -> Listing:
    """The one of this server, which remembers what it read."""
    return Listing(runs_folder(), evidence=True)


def _rows() -> list[Row]:
    return _listing(str(runs_folder())).rows(READ_SECONDS)


def _unread() -> int:
    """How many runs there was no time for."""
    return _listing(str(runs_folder())).unread


def show() -> None:
    """The table with its controls; it redraws itself while a run is at work, and only then."""
    rows = _rows()
    if all(row.in_gallery for row in rows) and not _unread():
        st.info("You have no runs of your own yet: start one on the page Train.")
        if st.button("Train a network", icon=":material/model_training:", key="runs_train"):
            live.open_page("train")
    queueing.show_fault()
    interval = _pace(rows, queueing.places())
    st.fragment(_draw, run_every=interval)([rows], interval)
    run_transfer.show_import()
    trash.show()


def _pace(rows: Sequence[Row], places: Mapping[str, int]) -> float | None:
    """Seconds between two drawings, None where nothing moves."""
    return READ_SECONDS if _unread() else _interval([row.status for row in rows], places)


def _interval(statuses: Sequence[Status], places: Mapping[str, int]) -> float | None:
    return REFRESH_SECONDS if any(places.values()) or any(status.at_work for status in statuses) else None


def _draw(first: list[list[Row]], interval: float | None) -> None:
    """`first` holds the rows for the first drawing, which the page has read already; later ones read them anew."""
    rows, places = first.pop() if first else _rows(), queueing.places()
    view = run_filter.choose(rows)
    shown = view.rows(rows)
    if unread := _unread():
        st.caption(f"Reading the runs for the first time: {unread:,} to go.")
    elif not shown:
        slips = ", ".join(map(plain, run_fields.misnamed(view.words)))
        st.info("No run has all of these words." + (f" There is no one field called {slips}." if slips else ""))
    if view.group:
        _groups(shown, view)
    chosen = _table(shown, view, places)
    _actions(chosen, places)
    _keeping(chosen, sorted({tag for row in rows for tag in row.notes.tags}))
    run_transfer.show_export()
    queueing.question()
    for row in chosen[:MOST_SETTINGS]:
        _config(_run(row))
    if _pace(rows, places) != interval:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


def _run(row: Row) -> Run:
    folder = EVIDENCE if row.is_evidence else GALLERY if row.in_gallery else runs_folder()
    return Run(folder / row.id)


def _groups(rows: Sequence[Row], view: run_filter.View) -> None:
    """A table of the groups; a click on one narrows the filter to it."""
    groups = run_fields.grouped(rows, view.group, view.metric)
    st.session_state[_GROUPS] = {"selection": {"rows": []}}
    st.caption(f"{run_fields.title(view.metric)}, by {run_fields.title(view.group)}. Choose a group to see its runs.")
    st.dataframe(
        [asdict(group) for group in groups[:MOST_ROWS]], key=_GROUPS, hide_index=True, selection_mode="single-row",
        on_select=partial(_take_group, view.group, [group.value for group in groups]), column_config=GROUP_COLUMNS,
        placeholder="", alt=f"The groups by {run_fields.title(view.group)}",
    )  # fmt: skip


def _take_group(field: str, values: Sequence[str]) -> None:
    for place in st.session_state[_GROUPS]["selection"]["rows"]:
        run_filter.narrow(field, values[place])


def _table(rows: Sequence[Row], view: run_filter.View, places: Mapping[str, int]) -> list[Row]:
    """Draws the rows; returns the chosen ones, which stay chosen as rows come and go."""
    some = rows[:MOST_ROWS]
    ids = [row.id for row in some]
    chosen = [name for name in st.session_state.get(_CHOSEN, []) if name in ids]
    settings = [*view.columns, *run_fields.varying(some, (*view.columns, *OF_THE_MACHINE), MOST_VARYING)]
    st.session_state[_SHOWN] = ids
    st.session_state[_TABLE] = {"selection": {"rows": [ids.index(name) for name in chosen]}}
    titles = {field: st.column_config.TextColumn(run_fields.title(field)) for field in settings}
    st.dataframe(
        [cells(row, settings, places.get(row.id)) for row in some], key=_TABLE, on_select=take_choice,
        selection_mode="multi-row", hide_index=True, column_config=COLUMNS | titles, placeholder="", alt="All runs",
    )  # fmt: skip
    if len(some) < len(rows):
        st.caption(f"The first {len(some):,} of {len(rows):,} runs: narrow the filter to see others.")
    found = {row.id: row for row in some}
    return [found[name] for name in chosen]


def take_choice() -> None:
    """Remember which runs were chosen in the table: by their ids, as rows come and go."""
    ids = st.session_state[_SHOWN]
    st.session_state[_CHOSEN] = [ids[place] for place in st.session_state[_TABLE]["selection"]["rows"]]


def _actions(chosen: Sequence[Row], places: Mapping[str, int]) -> None:
    """Buttons for the chosen runs; those that do not apply to them are off."""
    ids = [row.id for row in chosen]
    networks = [row for row in chosen if _run(row).weights_file()]
    one = len(chosen) == 1
    with st.container(horizontal=True):
        if _button("Compare", "compare_arrows", 2 <= len(chosen) <= lens.MOST_COMPARED):
            live.open_page("compare", ids)
        if _button("Look inside", "image_search", one and len(networks) == 1):
            live.open_page("predict", ids)
        if _button("Watch", "show_chart", one):
            live.open_page("train", run=ids[0])
        if _button("Clone", "content_copy", one, "Take over its settings on the page Train, to change and start anew."):
            live.open_page("train", run=ids[0], like=ids[0])
    if len(chosen) > lens.MOST_COMPARED:
        st.caption(f"{len(chosen)} runs are chosen. {lens.TOO_MANY}")
    own = not any(row.in_gallery for row in chosen)
    gallery = "" if own else IN_GALLERY
    runs = {row.id: _run(row) for row in chosen}
    can = {row.id: queueing.can(runs[row.id], row.status, row.id in places) for row in chosen}

    def those(*actions: Action) -> list[Run]:
        return [runs[name] for name in ids if not can[name].isdisjoint(actions)]

    with st.container(horizontal=True):
        if _button("Resume", "resume", bool(those("start", "resume")), gallery):
            queueing.do("resume", those("start", "resume"))
        if _button("Pause", "pause", bool(those("pause")), gallery):
            queueing.do("pause", those("pause"))
        if _button("Stop", "stop", bool(those("stop", "cancel")), gallery):
            queueing.do("stop", those("stop", "cancel"))
        if _button("Delete", "delete", bool(those("delete")), gallery):
            queueing.ask_to_delete(those("delete"))
            st.rerun()


def _keeping(chosen: Sequence[Row], known_tags: Sequence[str]) -> None:
    """Naming, putting away, and taking along."""
    own = [row for row in chosen if not row.in_gallery]
    away = bool(own) and all(row.notes.archived for row in own)
    with st.container(horizontal=True):
        run_notes.edit(chosen, known_tags)
        if _button("Unarchive" if away else "Archive", "unarchive" if away else "archive", bool(own),
                   "Archived runs are kept, and not listed unless asked for."):  # fmt: skip
            run_notes.archive(own, not away)
        if _button("Export", "download", len(chosen) == 1 and not chosen[0].status.at_work,
                   "One run as a zip file, with its curves and weights."):  # fmt: skip
            run_transfer.begin_export(_run(chosen[0]))
    if any(row.in_gallery for row in chosen):
        st.caption(IN_GALLERY)
    else:
        st.caption("Choose runs by the boxes on their left: one to look inside or watch, two or more to compare.")


def _button(label: str, icon: str, enabled: bool, hint: str = "") -> bool:
    key = f"runs_{label.lower().replace(' ', '_')}"
    return st.button(label, icon=f":material/{icon}:", key=key, disabled=not enabled, help=hint or None)


def _config(run: Run) -> None:
    if card := run.card():
        with st.expander("Its model card: data, recipe, errors, limits", icon=":material/description:"):
            st.markdown(card)
    with st.expander(f"The settings of {plain(run.id)}", icon=":material/data_object:"):
        try:
            st.json(run.config.to_json(), expanded=2)
        except RunError as error:
            st.error(plain(str(error)), icon=":material/error:")
