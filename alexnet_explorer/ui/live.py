"""The live view of one run: where it is, its curves, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from alexnet_explorer import figures
from alexnet_explorer.runs import Run, RunError, Status, find_run, list_runs
from alexnet_explorer.ui import frame, lens, queueing
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

MOST_ROWS = 4000  # of a run's metrics that a session keeps; of more, every second one goes
LOG_BYTES = 4000
CHART_HEIGHT = 320  # pixels

PARTS = {"train": "training", "val": "validation"}

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
        st.subheader(plain(run.title), anchor=False)
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


def follow(run: Run, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The rows of a run's metrics, brought up to date: only what was written since `kept` is read.

    `train` has (epoch, loss, error) of each interval, `val` of each epoch, errors in percent. Raises RunError where
    a row is damaged.
    """
    kept = kept if kept and kept["run"] == run.id else _nothing(run)
    try:
        rows, offset = run.metrics(kept["offset"])
        cut = bool(rows) and rows[0]["step"] < kept["step"]
    except RunError:  # the middle of a line
        cut = True
    if cut:  # a resumed run has cut its file back to its checkpoint, and written on
        kept = _nothing(run)
        rows, offset = run.metrics()
    return {
        "run": run.id,
        "offset": offset,
        "step": rows[-1]["step"] if rows else kept["step"],
        "train": _within_bounds(kept["train"] + _curve(rows, "train")),
        "val": _within_bounds(kept["val"] + _curve(rows, "val")),
    }


def _nothing(run: Run) -> dict[str, Any]:
    return {"run": run.id, "offset": 0, "step": 0, "train": [], "val": []}


def _curve(rows: Sequence[Mapping[str, float]], part: str) -> list[tuple[float, float, float]]:
    loss, error = f"{part}/loss", f"{part}/top1_error"
    return [(row["epoch"], row[loss], 100 * row[error]) for row in rows if loss in row]


def _within_bounds(points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    return points if len(points) <= MOST_ROWS else points[::2]


def charts(kept: Mapping[str, Any]) -> tuple[Any, Any]:
    """Two Plotly figures, loss and error over the epochs, each with training and validation."""
    made = []
    for column, title in ((1, "loss (cross-entropy, nats)"), (2, "top-1 error (%)")):
        lines = []
        for position, (part, name) in enumerate(PARTS.items()):
            x, y = [row[0] for row in kept[part]], [row[column] for row in kept[part]]
            lines.append(figures.RunCurve(name, figures.colour_of(position), x, y))
        figure = figures.curves(lines, title, "epoch")
        figure.update_layout(height=CHART_HEIGHT, uirevision=kept["run"])  # a zoom outlives the next second
        figure.update_yaxes(rangemode="tozero")
        made.append(figure)
    return made[0], made[1]


def duration(seconds: float) -> str:
    """'42 s', '3 min 20 s', '17 min', '1 h 05 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{rest} s" if not minutes else f"{minutes} min" if minutes > 9 else f"{minutes} min {rest:02} s"


def percent(share: float | None) -> str:
    """A share in percent with one decimal; a dash where there is no number."""
    return "–" if share is None else f"{share:.1%}"


def open_page(name: str, models: Sequence[str] = (), **query: str) -> None:
    """Go to a page, with these networks in the lens where some are given, and these parameters in the link."""
    if models:
        field = frame.page_of(name).models_field
        lens.change(**{field: tuple(models)}, epoch=None, layer=None, unit=None, target=None)
    st.switch_page(frame.file_of(name), query_params=query or None)


def _draw(run: Run, interval: float | None) -> None:
    status, place = run.status(), queueing.places().get(run.id)
    _headline(run, status, place)
    _numbers(status)
    _curves(run, status.summary)
    _ways_on(run)
    if refresh_seconds(status, place) != interval:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


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


def _log(run: Run) -> None:
    """The end of what its process printed, where it printed anything."""
    file = run.path / "log.txt"
    if file.is_file() and file.stat().st_size:
        with st.expander("The last lines of its log", icon=":material/article:"):
            st.code(file.read_bytes()[-LOG_BYTES:].decode(errors="replace"), language=None, wrap_lines=True)


def _numbers(status: Status) -> None:
    summary = status.summary
    shown = {
        "Training error": percent(summary.get("epoch/train_top1_error", summary.get("train/top1_error"))),
        "Validation error": percent(summary.get("val/top1_error")),
        "Test error": percent(summary.get("test/top1_error")),
        "Images per second": f"{status.img_per_s:,.0f}" if status.img_per_s else "–",
        "Time": duration(status.seconds) if status.seconds else "–",
    }
    if status.state != "done":
        del shown["Test error"]  # computed once, at the end
    for column, (label, value) in zip(st.columns(len(shown)), shown.items(), strict=True):
        column.metric(label, value)


def _curves(run: Run, summary: Mapping[str, float]) -> None:
    try:
        kept = st.session_state[_ROWS] = follow(run, st.session_state.get(_ROWS))
    except RunError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    for column, figure, metric in zip(st.columns(2), charts(kept), ("loss", "top1_error"), strict=True):
        column.plotly_chart(
            figure, key=f"watched_{metric}", config={"displayModeBar": False}, alt=in_words(metric, summary)
        )


def in_words(metric: str, summary: Mapping[str, float]) -> str:
    """The text alternative of a chart."""
    last = {name: summary.get(f"{part}/{metric}") for part, name in PARTS.items()}
    said = [f"{name} {value:.3g}" for name, value in last.items() if value is not None]
    return f"Curves of {metric.replace('top1_', 'top-1 ')} over the epochs; now: {', '.join(said) or 'nothing yet'}"


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
            open_page("train", run=run.id, like=run.id)
