"""Data sets that are being downloaded or packed: in the background, so that a click on the page breaks none off."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path, PurePath
from typing import Literal

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from alexnet_explorer.data.packed import DataError, PackedSet
from alexnet_explorer.data.sources import prepare, prepare_by_name
from alexnet_explorer.ui.text import plain

# What a session waits for: the data of a run, an upload to become a data set, data to choose the settings for.
Slot = Literal["start", "upload", "choose"]

PATIENCE = 0.8  # seconds in which most are done, before a bar is shown
REFRESH_SECONDS = 0.5


class Preparation(threading.Thread):
    """One data set on its way. `packed` is there at the end, or `message` says in words why not."""

    def __init__(self, source: str | Path, name: str | None = None, folder: Path | None = None) -> None:
        super().__init__(daemon=True, name=f"prepare {source}")
        self.source, self.label = source, name
        self.folder = folder  # removed at the end
        self.share, self.text = 0.0, "Preparing the data"
        self.packed: PackedSet | None = None
        self._stopped = False
        self.message = "The data could not be prepared: the terminal of the app says why."

    def run(self) -> None:
        try:
            if isinstance(self.source, Path):
                self.packed = prepare(self.source, self.label, self._hear)
            else:
                self.packed = prepare_by_name(self.source, self._hear)
        except DataError as error:
            self.message = str(error)
        except OSError as error:
            self.message = f"The data could not be stored ({error.strerror or error}): make room on the disk."
        finally:
            if self.folder:
                shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """End it at its next step; what was downloaded so far is kept for the next time."""
        self._stopped = True

    def _hear(self, share: float, text: str) -> None:
        self.share, self.text = share, text
        if self._stopped:
            raise DataError("Stopped: the data are not prepared.")


@st.cache_resource(show_spinner=False)
def _preparations() -> dict[str, Preparation]:
    """Those of this server, by source: who asks for one that is under way waits for the same one."""
    return {}


def begin(slot: Slot, source: str) -> None:
    """Prepare a data set by its name, for `result` to give."""
    running = _preparations().get(source)
    _wait_for(slot, source, running if running and running.is_alive() else Preparation(source))


def begin_upload(file: UploadedFile, name: str) -> None:
    """Prepare an uploaded zip file of class folders; `name` is its label, by default the file's name.

    Raises DataError where the disk is full.
    """
    folder = Path(tempfile.mkdtemp(prefix="alexnet-explorer-"))
    path = folder / (PurePath(file.name).name or "upload.zip")
    try:
        path.write_bytes(file.getbuffer())
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"{file.name!r} could not be stored ({error.strerror}): make room on the disk.") from error
    _wait_for("upload", folder.name, Preparation(path, name.strip() or None, folder))


def _wait_for(slot: Slot, key: str, preparation: Preparation) -> None:
    _preparations()[key] = preparation
    st.session_state[f"preparing_{slot}"] = key
    if not preparation.is_alive():
        preparation.start()
    preparation.join(PATIENCE)


def result(slot: Slot) -> PackedSet | None:
    """What this session waits for, once; while it is under way a bar is drawn. Raises DataError where it failed."""
    key = f"preparing_{slot}"
    if key not in st.session_state:
        return None
    preparation = _preparations()[st.session_state[key]]
    if preparation.is_alive():
        st.fragment(_progress, run_every=REFRESH_SECONDS)(preparation)
        return None
    del st.session_state[key]
    if preparation.packed is None:
        raise DataError(preparation.message)
    return preparation.packed


def _progress(preparation: Preparation) -> None:
    st.progress(min(preparation.share, 1.0), plain(preparation.text))
    st.button("Stop", icon=":material/stop:", key=f"stop_preparing_{id(preparation)}", on_click=preparation.stop)
    if not preparation.is_alive():
        st.rerun()
