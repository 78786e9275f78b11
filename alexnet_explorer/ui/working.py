"""Work of a session that takes longer than a click: in the background, with a bar and a way to stop it."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import streamlit as st

from alexnet_explorer.config import ConfigError
from alexnet_explorer.data.images import ImageError
from alexnet_explorer.data.packed import DataError
from alexnet_explorer.inspection.mosaic import RGB, to_jpeg
from alexnet_explorer.runs import RunError
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError

T = TypeVar("T")

PATIENCE = 0.8  # seconds in which most is done, before a bar is shown
REFRESH_SECONDS = 0.5
KEPT_SECONDS = 3600.0  # what is over and not looked at


class Progress(Protocol):
    """Tells which share is done, what is under way in words, and what has come so far where that is a picture."""

    def __call__(self, share: float, text: str, picture: RGB | None = None) -> None: ...


class Work(threading.Thread, Generic[T]):
    """One piece of work. `result` is there at the end, or `message` says in words why not."""

    def __init__(self, act: Callable[[Progress], T]) -> None:
        super().__init__(daemon=True)
        self._act: Callable[[Progress], T] | None = act
        self._stopped = False
        self.asked = time.monotonic()  # when its session last looked at it
        self.share, self.text = 0.0, "Beginning"
        self.picture: RGB | None = None
        self.result: T | None = None
        self.message = "This could not be done: the terminal of the app says why."

    def run(self) -> None:
        act, self._act = self._act, None  # which may hold an upload
        assert act is not None
        try:
            self.result = act(self._hear)
        except (RunError, DataError, ConfigError, ImageError, WeightsError) as error:
            self.message = str(error)

    def stop(self) -> None:
        """End it at its next step."""
        self._stopped = True

    def _hear(self, share: float, text: str, picture: RGB | None = None) -> None:
        self.share, self.text, self.picture = share, text, picture
        if self._stopped:
            raise RunError("Stopped.")


@st.cache_resource(show_spinner=False)
def _works() -> dict[str, Work[object]]:
    """Those of this server; a session knows its own by their names."""
    return {}


def begin(slot: str, act: Callable[[Progress], object]) -> None:
    """Do this for the session, in place of what was done in this slot before."""
    forget(slot)
    _sweep()
    name = secrets.token_hex(8)
    st.session_state[f"working_{slot}"] = name
    work = _works()[name] = Work(act)
    work.start()
    work.join(PATIENCE)


def _sweep() -> None:
    """Let go of what is over and was not looked at for long: its session may have ended."""
    works = _works()
    old = time.monotonic() - KEPT_SECONDS
    for name in [name for name, work in list(works.items()) if work.asked < old and not work.is_alive()]:
        works.pop(name, None)


def offer(slot: str, about: str, button: str, act: Callable[[Progress], object], at_once: bool = False) -> bool:
    """What takes long: the button that begins it, its bar, why it ended. True where it was begun and may be over.

    `about` tells one piece of work from another; `at_once`: it begins without a click, once.
    """
    key = f"{slot}_about"
    if at_once and st.session_state.get(key) != about:
        _begin_about(slot, about, act)
        if not busy(slot):
            return True
    mine = st.session_state.get(key) == about
    if done := finished(slot):
        if mine and done.result is None:
            st.info(plain(done.message))
    elif mine and busy(slot):
        return False
    st.button(button, icon=":material/play_arrow:", key=f"{slot}_begin", on_click=_begin_about, args=(slot, about, act))
    return False


def _begin_about(slot: str, about: str, act: Callable[[Progress], object]) -> None:
    st.session_state[f"{slot}_about"] = about
    begin(slot, act)


def forget(slot: str) -> None:
    """Stop what is done in this slot, and let go of its result."""
    if work := _works().pop(st.session_state.pop(f"working_{slot}", ""), None):
        work.stop()


def kept(slot: str) -> bool:
    """Whether something is under way in this slot, or over and not let go of."""
    return st.session_state.get(f"working_{slot}", "") in _works()


def busy(slot: str) -> bool:
    """Whether something is under way in this slot."""
    work = _works().get(st.session_state.get(f"working_{slot}", ""))
    return work is not None and work.is_alive()


def finished(slot: str) -> Work[object] | None:
    """What was done in this slot, once it is over; while it is under way a bar is drawn."""
    work = _works().get(st.session_state.get(f"working_{slot}", ""))
    if work:
        work.asked = time.monotonic()
    if work and work.is_alive():
        st.fragment(_progress, run_every=REFRESH_SECONDS)(work)
        return None
    return work


def _progress(work: Work[object]) -> None:
    st.progress(min(work.share, 1.0), plain(work.text))
    if work.picture is not None:
        st.image(_in_a_link(work.picture), alt=f"What has come so far: {work.text}", width="content")
    st.button("Stop", icon=":material/stop:", key=f"stop_{work.name}", on_click=work.stop)
    if not work.is_alive():
        st.rerun()


def _in_a_link(picture: RGB) -> str:
    """A picture that the browser need not fetch: the next one comes before a slow one would."""
    return f"data:image/jpeg;base64,{base64.b64encode(to_jpeg(picture)).decode()}"
