"""The table of all runs, and what can be done with those chosen in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from alexnet_explorer.launch.queue import Action
from alexnet_explorer.runs import Run, RunError, Status, list_runs
from alexnet_explorer.ui import lens, live, queueing
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

REFRESH_SECONDS = 2.0

_CHOSEN = "runs_chosen"  # ids
_SHOWN = "runs_shown"  # the ids of the rows, in order
_TABLE = "runs_table"


def row(run: Run, status: Status, place: int | None = None) -> dict[str, Any]:
    """One run as a row: errors in percent, time in minutes. A config that cannot be read is told under 'note'.

    `place` is its place in the queue.
    """
    try:
        title, note = run.title, status.message
    except RunError as error:
        title, note = "(damaged)", str(error)
    summary = status.summary
    return {
        "run": title,
        "status": queueing.state_text(status, run.stop_requested(), place),
        "epochs": live.epochs_text(status),
        "validation": _percent(summary.get("val/top1_error")),
        "test": _percent(summary.get("test/top1_error")),
        "minutes": status.seconds / 60 or None,
        "speed": status.img_per_s,
        "started": started(run),
        "from": "gallery" if run.in_gallery else "here",
        "id": run.id,
        "note": note,
    }


COLUMNS = {
    "run": st.column_config.TextColumn("Run", width="large"),
    "status": st.column_config.TextColumn("State"),
    "epochs": st.column_config.TextColumn("Epochs"),
    "validation": st.column_config.NumberColumn("Validation error", format="%.1f%%"),
    "test": st.column_config.NumberColumn("Test error", format="%.1f%%"),
    "minutes": st.column_config.NumberColumn("Time, min", format="%.1f"),
    "speed": st.column_config.NumberColumn("Images/s", format="%.0f"),
    "started": st.column_config.DatetimeColumn("Started", format="D MMM YYYY, HH:mm"),
    "from": st.column_config.TextColumn("From"),
    "id": st.column_config.TextColumn("Id"),
    "note": st.column_config.TextColumn("Note", width="large"),
}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def started(run: Run) -> datetime | None:
    """When the run was created, as its id says; the gallery's have names instead."""
    try:
        return datetime.strptime(run.id[:15], "%Y%m%d-%H%M%S")
    except ValueError:
        return None


def matches(shown: dict[str, Any], words: str) -> bool:
    """Whether every one of the words is in the row's run, state, origin or id."""
    text = " ".join(str(shown[name]) for name in ("run", "status", "from", "id")).lower()
    return all(word in text for word in words.lower().split())


def show() -> None:
    """The table with its filter; it redraws itself while a run is at work, and only then."""
    runs = list_runs(runs_folder())
    if all(run.in_gallery for run in runs):
        st.info("You have no runs of your own yet: start one on the page Train.")
        if st.button("Train a network", icon=":material/model_training:", key="runs_train"):
            live.open_page("train")
    if not runs:
        return
    queueing.show_fault()
    words = st.text_input("Filter", key="runs_filter", placeholder="tanh done", help="Words of title, state or id.")
    interval = _interval([run.status() for run in runs], queueing.places())
    st.fragment(_draw, run_every=interval)(words, interval)


def _interval(statuses: Sequence[Status], places: Mapping[str, int]) -> float | None:
    return REFRESH_SECONDS if any(places.values()) or any(status.at_work for status in statuses) else None


def _draw(words: str, interval: float | None) -> None:
    runs = {run.id: run for run in list_runs(runs_folder())}
    statuses, places = {name: run.status() for name, run in runs.items()}, queueing.places()
    rows = [row(run, statuses[name], places.get(name)) for name, run in runs.items()]
    rows = [shown for shown in rows if matches(shown, words)]
    if not rows:
        st.info("No run has all of these words.")
    chosen = [runs[name] for name in _table(rows)]
    _actions(chosen, statuses, places)
    queueing.question()
    for run in chosen:
        _config(run)
    if _interval(list(statuses.values()), places) != interval:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Draws the rows; returns the ids of the chosen ones, which stay chosen as rows come and go."""
    ids = [shown["id"] for shown in rows]
    chosen = [name for name in st.session_state.get(_CHOSEN, []) if name in ids]
    st.session_state[_SHOWN] = ids
    st.session_state[_TABLE] = {"selection": {"rows": [ids.index(name) for name in chosen]}}
    st.dataframe(
        rows, key=_TABLE, on_select=take_choice, selection_mode="multi-row", hide_index=True, column_config=COLUMNS,
        placeholder="", alt="All runs",
    )  # fmt: skip
    return chosen


def take_choice() -> None:
    """Remember which runs were chosen in the table: by their ids, as rows come and go."""
    ids = st.session_state[_SHOWN]
    st.session_state[_CHOSEN] = [ids[place] for place in st.session_state[_TABLE]["selection"]["rows"]]


def _actions(chosen: Sequence[Run], statuses: Mapping[str, Status], places: Mapping[str, int]) -> None:
    """Buttons for the chosen runs; those that do not apply to them are off."""
    ids = [run.id for run in chosen]
    networks = [run for run in chosen if run.weights_file()]
    one = len(chosen) == 1
    with st.container(horizontal=True):
        comparable = 2 <= len(chosen) <= lens.MOST_COMPARED
        if _button("Compare", "compare_arrows", comparable):
            live.open_page("compare", ids)
        if _button("Look inside", "image_search", one and len(networks) == 1):
            live.open_page("predict", ids)
        if _button("Watch", "show_chart", one):
            live.open_page("train", run=ids[0])
        if _button("Clone", "content_copy", one, "Take over its settings on the page Train, to change and start anew."):
            live.open_page("train", run=ids[0], like=ids[0])
    own = not any(run.in_gallery for run in chosen)
    gallery = "" if own else "The gallery's runs ship with the project: they can be looked at, not trained on."
    can = {run.id: queueing.can(run, statuses[run.id], run.id in places) for run in chosen}

    def those(*actions: Action) -> list[Run]:
        return [run for run in chosen if not can[run.id].isdisjoint(actions)]

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
    st.caption(gallery or "Choose runs by the boxes on their left: one to look inside or watch, several to compare.")


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
