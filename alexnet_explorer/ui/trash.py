"""The trash on the page: what lies in it, the way back, and the end of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from alexnet_explorer.files import size_on_disk
from alexnet_explorer.runs import Run, RunError
from alexnet_explorer.trash import empty, find_deleted, list_trash, restore
from alexnet_explorer.ui import queueing, working
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

MOST_SHOWN = 20

_ASKED = "trash_asked"


def show() -> None:
    """The deleted runs, each with a way back, and the question before they go for good."""
    deleted = list_trash(runs_folder())
    done = working.finished("empty")
    if done and done.result is None:
        st.error(plain(done.message), icon=":material/error:")
    elif done:
        st.success(f"Removed: {done.result} freed.", icon=":material/check:")
        working.forget("empty")
    if not deleted:
        st.session_state.pop(_ASKED, None)
        return
    with st.expander(f"Trash: {_count(deleted)}", icon=":material/delete:", expanded=_ASKED in st.session_state):
        for run in deleted[:MOST_SHOWN]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button("Restore", icon=":material/restore_from_trash:", key=f"restore_{run.id}", on_click=_restore,
                          args=(run.id,))  # fmt: skip
                st.markdown(_title(run), width="content")
        if len(deleted) > MOST_SHOWN:
            st.caption(f"and {len(deleted) - MOST_SHOWN:,} more, in {plain(str(deleted[0].path.parent))}")
        _emptying(deleted)


def _emptying(deleted: Sequence[Run]) -> None:
    if _ASKED not in st.session_state:
        st.button("Empty the trash", icon=":material/delete_forever:", key="trash_empty", on_click=_ask,
                  args=([run.id for run in deleted],))  # fmt: skip
        return
    # What others delete meanwhile was not asked about, and stays.
    deleted = [run for run in deleted if run.id in st.session_state[_ASKED]]
    room = size_text(sum(size_on_disk(run.path) for run in deleted))
    st.warning(
        f"Remove {_count(deleted)} with all settings, curves and weights? This frees {room}. Nothing brings them back."
    )
    with st.container(horizontal=True):
        if st.button("Remove for good", icon=":material/delete_forever:", key="trash_remove"):
            del st.session_state[_ASKED]
            queueing.forget_undo()
            working.begin("empty", partial(_empty, deleted))
            st.rerun()
        if st.button("Keep them", key="trash_keep"):
            del st.session_state[_ASKED]
            st.rerun()


def _empty(deleted: Sequence[Run], progress: working.Progress) -> str:
    freed = 0
    for number, run in enumerate(deleted):
        progress(number / len(deleted), f"Removing run {number + 1:,} of {len(deleted):,}")
        freed += empty([run])
    return size_text(freed)


def _count(runs: Sequence[Run]) -> str:
    return f"{len(runs):,} run{'s' * (len(runs) != 1)}"


def size_text(size: int) -> str:
    """Bytes as '12.3 MB'."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _title(run: Run) -> str:
    try:
        return f"{plain(run.title)} #{run.id[-4:]}"
    except RunError:
        return plain(run.id)


def _ask(ids: list[str]) -> None:
    st.session_state[_ASKED] = ids


def _restore(name: str) -> None:
    queueing.attempt(lambda: restore(find_deleted(name, runs_folder()), runs_folder()))
