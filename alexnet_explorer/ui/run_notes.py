"""What a visitor says of the chosen runs: a name, tags, a note; and putting them away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from alexnet_explorer.listing import Row
from alexnet_explorer.notes import MOST_TAGS, NAME_LENGTH, NOTE_LENGTH, Notes
from alexnet_explorer.runs import Run, RunError, find_run
from alexnet_explorer.ui import queueing
from alexnet_explorer.ui.settings import runs_folder


def edit(chosen: Sequence[Row], known_tags: Sequence[str]) -> None:
    """A form for the notes of one run, or for the tags of several; `known_tags` are proposed."""
    label = "Name, tags, note" if len(chosen) == 1 else "Tags"
    own = [row for row in chosen if not row.in_gallery]
    with st.popover(label, icon=":material/edit_note:", disabled=not own or len(own) != len(chosen)):
        if len(own) == 1:
            _form_of_one(own[0], known_tags)
        elif own:
            _form_of_several(own, known_tags)


def _form_of_one(row: Row, known_tags: Sequence[str]) -> None:
    notes = row.notes
    with st.form(f"notes_{row.id}", border=False):
        name = st.text_input("Name", notes.name, max_chars=NAME_LENGTH, placeholder=row.own_title,
                             key=f"notes_name_{row.id}", help="In place of its title, on every page.")  # fmt: skip
        tags = _tags("Tags", known_tags, notes.tags, f"notes_tags_{row.id}")
        note = st.text_area("Note", notes.note, max_chars=NOTE_LENGTH, key=f"notes_note_{row.id}")
        if st.form_submit_button("Save", icon=":material/save:"):
            _keep({row.id: replace(notes, name=name, tags=tuple(tags), note=note)})


def _form_of_several(rows: Sequence[Row], known_tags: Sequence[str]) -> None:
    with st.form("notes_several", border=False):
        added = _tags("Add tags", known_tags, (), "notes_added")
        there = sorted({tag for row in rows for tag in row.notes.tags})
        taken = st.multiselect("Take tags off", there, key="notes_taken", disabled=not there)
        if st.form_submit_button(f"Save for {len(rows)} runs", icon=":material/save:"):
            changed = {row.id: (set(row.notes.tags) | set(added)) - set(taken) for row in rows}
            _keep({row.id: replace(row.notes, tags=tuple(changed[row.id])) for row in rows})


def _tags(label: str, known: Sequence[str], now: Sequence[str], key: str) -> list[str]:
    options = sorted({*known, *now})
    return st.multiselect(label, options, list(now), key=key, accept_new_options=True, max_selections=MOST_TAGS,
                          placeholder="Choose or write some")  # fmt: skip


def archive(rows: Sequence[Row], away: bool) -> None:
    """Put runs away, or take them out again."""
    _keep({row.id: replace(row.notes, archived=away) for row in rows})


def _keep(changed: dict[str, Notes]) -> None:
    for name, notes in changed.items():
        queueing.attempt(partial(_write, name, notes))
    st.rerun()


def _write(name: str, notes: Notes) -> None:
    run: Run = find_run(name, runs_folder())
    if run.in_gallery:
        raise RunError(f"run {name} is not here any more")
    run.write_notes(notes)
