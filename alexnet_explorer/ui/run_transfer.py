"""Runs in and out: a run as a zip file to keep, and one that somebody brought."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from alexnet_explorer.runs import Run
from alexnet_explorer.transfer import export_run, import_run
from alexnet_explorer.ui import working
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

MOST_MEGABYTES = 1024  # of a zip that comes through the browser; the command line takes more

_UPLOAD = "runs_upload"


class Zipped:
    """A run's zip file, in a folder of its own, which goes when nobody needs it any more."""

    def __init__(self, run: Run, progress: working.Progress) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="alexnet-explorer-")
        self.file = Path(self._folder.name) / f"{run.id}.zip"
        export_run(run, self.file, progress)
        self.bytes = self.file.stat().st_size

    def open(self) -> BinaryIO:
        """Its content, read when the browser asks for it."""
        return self.file.open("rb")


def begin_export(run: Run) -> None:
    """Make the zip file of a run, for `show_export` to hand out."""
    working.begin("export", lambda progress: Zipped(run, progress))


def show_export() -> None:
    """The zip file that was asked for: on its way, ready to be saved, or why there is none."""
    done = working.finished("export")
    if done is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if done.result is None:
            st.error(plain(done.message), icon=":material/error:")
        else:
            found: Zipped = done.result  # type: ignore[assignment]
            st.download_button(
                f"Save {found.file.name} ({found.bytes / 1e6:.1f} MB)", found.open, found.file.name, "application/zip",
                key="runs_save", icon=":material/download:", on_click="ignore", type="primary",
            )  # fmt: skip
        st.button("Close", icon=":material/close:", key="runs_export_close", on_click=working.forget, args=("export",))


def show_import() -> None:
    """Where a zip file is brought, and what became of it."""
    with st.expander("Import a run", icon=":material/upload:"):
        st.file_uploader(
            "A zip file that this page, or `python -m alexnet_explorer export`, wrote", "zip", key=_UPLOAD,
            on_change=_take_upload, max_upload_size=MOST_MEGABYTES,
        )  # fmt: skip
        if done := working.finished("import"):
            if isinstance(done.result, str):
                st.success(f"Imported as {plain(done.result)}.", icon=":material/check:")
            else:
                st.error(plain(done.message), icon=":material/error:")


def _take_upload() -> None:
    file = st.session_state[_UPLOAD]
    if file is None:
        working.forget("import")
        return
    root = runs_folder()
    working.begin("import", lambda progress: import_run(file, root, progress).id)
