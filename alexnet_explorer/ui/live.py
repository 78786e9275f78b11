"""The live view of one run: where it is, its curves, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from alexnet_explorer.runs import Run, RunError, Status, find_run, list_runs, run_title
from alexnet_explorer.training.doctor import Try
from alexnet_explorer.ui import curves, diagnosis, forming, frame, history, layers, lens, mistakes, numbers, queueing
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain
from alexnet_explorer.words import duration

LOG_BYTES = 4000
TITLE_LENGTH = 44  # characters of a run's title in the heading; the whole of it is its tooltip

_WATCHED = "watched_run"
_ROWS = "watched_rows"


def watch(run_id: str) -> None:
    """Look at this run from now on; the link says so too."""
    st.session_state[_WATCHED] = run_id
    st.query_params["run"] = run_id


def watched() -> Run | None:
    """The run of the link, else the one looked at before, else one that is at work, else the newest; or none."""
    for wanted in dict.fromkeys((st.query_params.get("run", ""), st.session_state.get(_WATCHED, ""))):
        try:
            if wanted:
                return find_run(wanted, runs_folder())
        except RunError:
            st.warning(f"There is no run {plain(wanted)} here (any more).")
            st.session_state.pop(_WATCHED, None)
    runs = list_runs(runs_folder(), gallery=False)
    return next((run for run in runs if run.status().state == "running"), next(iter(runs), None))


def show(run: Run) -> None:
    """The live view of a run; it redraws itself while the run is at work, and only then."""
    watch(run.id)
    try:
        short, whole = run_title(run.config, TITLE_LENGTH), run.title  # of a run with a name its config is read, too
        title = run.notes().name or short
        st.subheader(plain(title), anchor=False, help=plain(whole) if title != whole else None)
    except RunError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    queueing.show_fault()
    interval = refresh_seconds(run.status(), queueing.places().get(run.id))
    st.fragment(_draw, run_every=interval)(run, interval)


def refresh_seconds(status: Status, place: int | None = None) -> float | None:
    """How often the view of a run is drawn anew; None: never, as nothing changes."""
    if status.at_work:
        return 0.5 if status.state == "queued" or status.step <= 1 else 1.0  # until there are curves to look at
    return queueing.REFRESH_SECONDS if status.state == "queued" and place else None


def epochs_text(status: Status) -> str:
    """How far it is: '3.4 of 30'."""
    return f"{status.epoch:.1f}".removesuffix(".0") + f" of {status.epochs}"


def progress_text(status: Status) -> str:
    """How far it is, and how long it will take: '3.4 of 30 epochs, 42 s left'."""
    left = f", {duration(status.seconds_left)} left" if status.state == "running" and status.seconds_left else ""
    return f"{epochs_text(status)} epochs{left}"


def open_page(name: str, models: Sequence[str] = (), **query: str) -> None:
    """Go to a page, with these networks in the lens where some are given, and these parameters in the link."""
    if models:
        field = frame.page_of(name).models_field
        lens.change(**{field: tuple(models)}, epoch=None, layer=None, unit=None, target=None)
    st.switch_page(frame.file_of(name), query_params=query or None)


def _draw(run: Run, interval: float | None) -> None:
    status, place = run.status(), queueing.places().get(run.id)
    _headline(run, status, place)
    try:
        kept = st.session_state[_ROWS] = history.follow(run, st.session_state.get(_ROWS))
    except RunError as error:
        st.error(plain(str(error)), icon=":material/error:")
    else:
        _training(run, status, kept)
    _ways_on(run)
    if refresh_seconds(status, place) != interval:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


def _training(run: Run, status: Status, kept: history.Kept) -> None:
    """What its rows tell: numbers, what is wrong, the chosen view, what could be better."""
    numbers.show(status, kept)
    found = diagnosis.findings(run, kept, status.message)
    clone = partial(_clone, run)
    with st.container():  # what comes and goes leaves the places of the charts alone
        diagnosis.show([finding for finding in found if finding.kind == "fault"], clone)
    view = st.segmented_control("View", list(VIEWS), default=next(iter(VIEWS)), key="watched_view", required=True,
                                label_visibility="collapsed", persist_state="session")  # fmt: skip
    with st.container():
        VIEWS[view or "Curves"](run, status, kept)
    diagnosis.show([finding for finding in found if finding.kind != "fault"], clone)


def _curves(run: Run, status: Status, kept: history.Kept) -> None:
    curves.show(kept, curves.choose("watched"), status.summary)


def _layers(run: Run, status: Status, kept: history.Kept) -> None:
    layers.show(kept)


def _filters(run: Run, status: Status, kept: history.Kept) -> None:
    forming.show(run)


def _mistakes(run: Run, status: Status, kept: history.Kept) -> None:
    mistakes.show(run)


VIEWS: dict[str, Callable[[Run, Status, history.Kept], None]] = {
    "Curves": _curves, "Layers": _layers, "Filters": _filters, "Mistakes": _mistakes,
}  # fmt: skip


def _headline(run: Run, status: Status, place: int | None) -> None:
    """The state, how far it is, why it ended, and the buttons that change that."""
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left.container(horizontal=True, vertical_alignment="center"):
        queueing.badge(status, run.stop_requested(), place)
        st.caption(f"#{run.id[-4:]}" + (" · ships with the project" if run.in_gallery else ""))
    with right.container(horizontal=True, horizontal_alignment="right"):
        queueing.buttons(run, status, place is not None, "watched")
    st.progress(min(status.epoch / max(status.epochs, 1), 1.0), progress_text(status))
    if status.state == "failed":
        st.error(plain(status.message), icon=":material/error:")
        _log(run)
    elif status.message:
        st.warning(plain(status.message))
    if len(run.codes()) > 1:
        st.warning("Its parts were computed by different code: after a stop another version went on with it.")


def _log(run: Run) -> None:
    """The end of what its process printed, where it printed anything."""
    file = run.path / "log.txt"
    if file.is_file() and file.stat().st_size:
        with st.expander("The last lines of its log", icon=":material/article:"):
            st.code(file.read_bytes()[-LOG_BYTES:].decode(errors="replace"), language=None, wrap_lines=True)


def _ways_on(run: Run) -> None:
    """Buttons to the pages that look at this run's network."""
    ready = run.weights_file() is not None
    others = [name for name in lens.current().models if name != run.id]
    ways = {
        "predict": ("Predict", "image_search", [run.id]),
        "activations": ("Activations", "layers", [run.id]),
        "compare": ("Compare", "compare_arrows", [*others[: lens.MOST_MODELS - 1], run.id]),
    }
    with st.container(horizontal=True):
        for name, (label, icon, models) in ways.items():
            if st.button(label, icon=f":material/{icon}:", key=f"watched_{name}", disabled=not ready):
                open_page(name, models)
        if st.button("Clone", icon=":material/content_copy:", key="watched_clone",
                     help="Take over its settings on this page, to change and to start anew"):  # fmt: skip
            _clone(run)


def _clone(run: Run, change: Try | None = None) -> None:
    """The settings of the run in the controls of this page, one of them changed where that is wanted."""
    changed = {"with": f"{change.field}={change.value}"} if change else {}
    open_page("train", run=run.id, like=run.id, **changed)
