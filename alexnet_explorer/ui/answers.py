"""What runs answered to their validation images: as they wrote it down, else computed once more on request.

Computing takes a process of its own; its result is kept by the server, as a run's directory has one writer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile

import streamlit as st
from cachetools import LRUCache
from pydantic import TypeAdapter

from alexnet_explorer.launch import local
from alexnet_explorer.runs import Mistakes, Run, RunError
from alexnet_explorer.ui.comparison import Compared
from alexnet_explorer.ui.probing import why
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

REFRESH_SECONDS = 0.5
KEPT = 64  # results of this server
MOST_NAMED = 2  # runs whose names find room on a button
_READ = TypeAdapter(Mistakes)


class Validation(threading.Thread):
    """One computation. At its end `result` is there, or `message` says in words why not, or it was stopped."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True, name=f"validate {run.id}")
        self.of, self.share, self.message = run, 0.0, ""
        self.root = runs_folder()
        self.result: Mistakes | None = None
        self.stopped = False
        self._kill: Callable[[], None] = lambda: None

    def run(self) -> None:
        command = ["alexnet_explorer", "probe", "validation", self.of.id, "--runs", str(self.root.resolve())]
        with TemporaryFile() as errors, local.ask(command, "", errors) as process:
            self._kill = process.kill
            if self.stopped:
                process.kill()
            assert process.stdout is not None
            for line in process.stdout:
                if line.endswith("\n"):  # else it was killed in the middle of one
                    said = json.loads(line)
                    self.share = said.get("progress", self.share)
                    if "result" in said:
                        self.result = _READ.validate_python(said["result"])
            process.wait()
            if self.result is None and not self.stopped:
                errors.seek(0)
                self.message = why(process.returncode, errors.read().decode(errors="replace"))

    def stop(self) -> None:
        """End it at once; nothing of it is kept."""
        self.stopped = True
        self._kill()


class Validations:
    """Those of a server, for all its visitors, by the weights that they are of."""

    def __init__(self) -> None:
        self._kept: LRUCache[str, Validation] = LRUCache(KEPT)
        self._lock = threading.Lock()

    def of(self, run: Run) -> Validation | None:
        """The computation for a run as its weights are now, under way or done."""
        with self._lock:
            return self._kept.get(_key(run))

    def begin(self, run: Run) -> Validation:
        """Start one, unless another visitor has asked for the same."""
        with self._lock:
            validation = self._kept.get(_key(run))
            if validation is None or not validation.is_alive():
                validation = self._kept[_key(run)] = Validation(run)
                validation.start()
            return validation


@st.cache_resource(show_spinner=False)
def validations() -> Validations:
    """Those of this server."""
    return Validations()


def _key(run: Run) -> str:
    file = run.weights_file()
    return f"{file} {file.stat().st_mtime_ns}" if file else str(run.path)


def of(run: Run, single: bool = False) -> Mistakes | None:
    """What is known of a run's answers, to each `single` image if that is asked for. Raises RunError."""
    written = run.mistakes()
    if written and (written.predicted or not single):
        return written
    computed = validations().of(run)
    return computed.result if computed and computed.result else None


def ask_for(runs: Sequence[Compared]) -> None:
    """For runs of which it is not known: a button that computes it, how far it is, why it failed."""
    at_work = []
    for one in runs:
        found = validations().of(one.run)
        if found and found.is_alive():
            at_work.append(found)
        elif found and found.message:
            st.error(plain(f"{one.name}: {found.message}"), icon=":material/error:")
    idle = [one for one in runs if all(one.run.id != found.of.id for found in at_work)]
    if idle:
        st.button(f"Compute for {_named([one.name for one in idle])}", icon=":material/calculate:",
                  key="answers_compute", on_click=_begin, args=([one.run for one in idle],),
                  help="Their networks look at the validation images once more; the data have to be here.")  # fmt: skip
    if at_work:
        st.fragment(_progress, run_every=REFRESH_SECONDS)(at_work)


def _named(names: Sequence[str]) -> str:
    return plain(", ".join(names)) if len(names) <= MOST_NAMED else f"{len(names)} runs"


def _begin(runs: Sequence[Run]) -> None:
    for run in runs:
        validations().begin(run)


def _progress(at_work: Sequence[Validation]) -> None:
    share = sum(one.share for one in at_work) / len(at_work)
    st.progress(min(share, 1.0), f"Looking at the validation images: {_named([one.of.id for one in at_work])}")
    if st.button("Stop", icon=":material/stop:", key="answers_stop"):
        for one in at_work:
            one.stop()
    if not all(one.is_alive() for one in at_work):
        st.rerun()


def known(runs: Sequence[Compared], single: bool = False) -> dict[str, Mistakes]:
    """Of all runs that have them; a file that is damaged is told."""
    found = {}
    for one in runs:
        try:
            answers = of(one.run, single)
        except RunError as error:
            st.error(plain(str(error)), icon=":material/error:")
            continue
        if answers:
            found[one.run.id] = answers
    return found
