"""Data sets that are being downloaded or packed, and what is then done with them: in the background.

So a click breaks none off, and what was asked for happens also where the visitor goes to other pages meanwhile.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any, Literal

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from alexnet_explorer.config import ConfigError
from alexnet_explorer.data.packed import DataError, PackedSet
from alexnet_explorer.data.sources import prepare, prepare_by_name
from alexnet_explorer.runs import RunError
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError

# What a session waits for: the data of a run, an upload to become a data set, data to choose the settings for.
Slot = Literal["start", "upload", "choose"]

FAILED = "The data could not be prepared: the terminal of the app says why."
PATIENCE = 0.8  # seconds in which most are done, before a bar is shown
REFRESH_SECONDS = 0.5


class Order:
    """What one session wants of a preparation: `then`, called with the data, makes `found` of them."""

    def __init__(self, preparation: Preparation, then: Callable[[PackedSet], Any]) -> None:
        self._preparation, self._then = preparation, then
        self._lock, self._over = threading.Lock(), threading.Event()
        self.found: Any = None
        self.message = FAILED  # why nothing was found, once it is over

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    @property
    def progress(self) -> tuple[float, str]:
        """The share that is done, and what is done now."""
        return self._preparation.share, self._preparation.text

    def wait(self, seconds: float) -> None:
        """Until it is over, or so long."""
        self._over.wait(seconds)

    def stop(self) -> None:
        """Want it no longer. What nobody else waits for ends at its next step; what was downloaded so far is kept."""
        with self._lock:
            if self.is_over:
                return
            self.message = "Stopped: the data are not prepared."
            self._over.set()
        self._preparation.leave(self)

    def finish(self, packed: PackedSet | None, message: str) -> None:
        """Go on with the data, or say why there are none; what was stopped meanwhile stays so."""
        with self._lock:
            if self.is_over:
                return
            try:
                self.message = message
                if packed is not None:
                    self.found = self._then(packed)
            except (ConfigError, DataError, RunError, WeightsError) as error:
                self.message = str(error)
            finally:
                self._over.set()


class Preparation(threading.Thread):
    """One data set on its way, for all who ordered it."""

    def __init__(
        self, source: str | Path, name: str | None = None, folder: Path | None = None, after: Preparation | None = None
    ) -> None:
        super().__init__(daemon=True, name=f"prepare {source}")
        self.source, self.label = source, name
        self.folder = folder  # removed at the end
        self._after = after  # writes to the same files until it ends
        self.share, self.text = 0.0, "Preparing the data"
        self._orders: list[Order] = []
        self._lock, self._closed = threading.Lock(), False

    def order(self, then: Callable[[PackedSet], Any]) -> Order | None:
        """Someone else waits for it; None where it is over, or nobody waited any more."""
        with self._lock:
            if self._closed:
                return None
            self._orders.append(Order(self, then))
            return self._orders[-1]

    def leave(self, order: Order) -> None:
        """One fewer waits for it."""
        with self._lock:
            self._orders.remove(order)
            self._closed = self._closed or not self._orders

    def run(self) -> None:
        packed, message = None, FAILED
        if self._after:
            self._after.join()
            self._after = None
        try:
            if isinstance(self.source, Path):
                packed = prepare(self.source, self.label, self._hear)
            else:
                packed = prepare_by_name(self.source, self._hear)
        except DataError as error:
            message = str(error)
        except OSError as error:
            message = f"The data could not be stored ({error.strerror or error}): make room on the disk."
        finally:
            if self.folder:
                shutil.rmtree(self.folder, ignore_errors=True)
            with self._lock:
                self._closed = True
                waiting = list(self._orders)
            with ExitStack() as each:  # also after one that raises
                for order in waiting:
                    each.callback(order.finish, packed, message)

    def _hear(self, share: float, text: str) -> None:
        self.share, self.text = share, text
        if self._closed:
            raise DataError("Nobody waits for it any more.")


@st.cache_resource(show_spinner=False)
def _preparations() -> dict[str, Preparation]:
    """The last of each source on this server: who asks for one that is under way waits for the same one."""
    return {}


def begin(slot: Slot, source: str, then: Callable[[PackedSet], Any] = lambda packed: packed) -> None:
    """Prepare a data set by its name; `then` is called with it, in the background.

    `then` may raise ConfigError, DataError, RunError and WeightsError.
    """
    running = _preparations().get(source)
    order = running.order(then) if running else None
    if order is None:
        _preparations()[source] = Preparation(source, after=running)
        order = _start(_preparations()[source], then)
    _wait_for(slot, order)


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
    _wait_for("upload", _start(Preparation(path, name.strip() or None, folder), lambda packed: packed))


def _start(preparation: Preparation, then: Callable[[PackedSet], Any]) -> Order:
    order = preparation.order(then)
    assert order is not None  # as it has not begun
    preparation.start()
    return order


def _wait_for(slot: Slot, order: Order) -> None:
    st.session_state[_key(slot)] = order
    order.wait(PATIENCE)


def _key(slot: Slot) -> str:
    return f"preparing_{slot}"


def waits(slot: Slot) -> bool:
    """Whether this session waits for something."""
    return _key(slot) in st.session_state


def receive(slot: Slot, take: Callable[[Any], None]) -> bool:
    """Give what this session waits for to `take`, once; while it is under way a bar is drawn.

    Returns whether it was there. Raises DataError where it failed.
    """
    if not waits(slot):
        return False
    order: Order = st.session_state[_key(slot)]
    if not order.is_over:
        st.fragment(_progress, run_every=REFRESH_SECONDS)(order)
        return False
    if order.found is not None:
        take(order.found)  # first: if a click ends this drawing of the page, the next one takes it again
    del st.session_state[_key(slot)]
    if order.found is None:
        raise DataError(order.message)
    return True


def _progress(order: Order) -> None:
    share, text = order.progress
    st.progress(min(share, 1.0), plain(text))
    st.button("Stop", icon=":material/stop:", key=f"stop_preparing_{id(order)}", on_click=order.stop)
    if order.is_over:
        st.rerun()
