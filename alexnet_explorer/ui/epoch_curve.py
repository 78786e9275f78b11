"""How a training went, under what it made of the filters: its curves, with a cursor at the epoch that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from alexnet_explorer.catalogue import ModelEntry
from alexnet_explorer.config import RunConfig
from alexnet_explorer.figures import BASELINE_COLOUR, RunCurve, colour_of, curves
from alexnet_explorer.runs import Run, RunError, find_run
from alexnet_explorer.ui import frame, lens, networks
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain, shorten
from alexnet_explorer.ui.views import Look
from alexnet_explorer.weights_file import WeightsError

Floats = NDArray[np.float64]
CHART_HEIGHT = 260  # pixels
SPREAD = (10, 90)  # percentiles of the kernels


@dataclass(frozen=True)
class Errors:
    """Of a run, in percent, by the epochs (n,) that it was measured after."""

    epochs: Floats
    validation: Floats
    training: Floats


@dataclass(frozen=True)
class Formed:
    """How near a layer's kernels were to what they became, at the epochs (n,) of which they were kept: cosines."""

    epochs: Floats
    mean: Floats
    low: Floats
    high: Floats


def show(page: frame.Page, row: Sequence[Look]) -> None:
    """Errors by epoch, and how far the kernels were from what they became; a click takes the lens to an epoch."""
    st.subheader("How they formed")
    entries = {entry.name: entry for entry in frame.models_for(page)}
    runs = []
    for look in row:
        if entries[look.model.name].kind == "imported":
            st.caption(f"{plain(look.model.title)} was imported: it brought no curves and no epochs.")
        else:
            runs.append((look, find_run(look.model.name, runs_folder())))
    measured = [(look, errors) for look, run in runs if (errors := _errors(look, run))]
    formed = [(look, one) for look, run in runs if len((one := _formed(look, run)).epochs) > 1]
    kept = frame.shared_epochs(page, [entries[look.model.name] for look in row], row[0].layer)
    ends = [*kept, *(float(errors.epochs[-1]) for _, errors in measured)]
    if not measured and not formed:
        return
    last = max(ends)
    now = next((look.epoch for look in row if look.epoch is not None), last)  # imported weights have none
    cursor = Cursor(now, [last if epoch < 0 else epoch for epoch in kept], kept)
    charts: list[tuple[str, str, list[RunCurve]]] = []
    if measured:
        of = "validation error (%)" if len(measured) > 1 else "top-1 error (%)"
        charts.append((of, "Error by epoch", _error_lines(measured)))
    if formed:
        lines = [RunCurve(shorten(look.model.title), look.colour, one.epochs, one.mean, low=one.low, high=one.high)
                 for look, one in formed]  # fmt: skip
        charts.append(("cosine with the last", f"Cosine of the kernels of {row[0].layer} with the last ones", lines))
    for column, (title, alt, lines) in zip(st.columns(len(charts)), charts, strict=True):
        with column:
            cursor.draw(lines, title, alt)
    st.caption(_in_words(cursor, row[0].layer, bool(formed)))
    for look, run in runs:
        _went_on(look, run)


def _went_on(look: Look, run: Run) -> None:
    """Of a network that began with trained weights: that its kernels formed before, and a network to see that of."""
    own = run.config
    if not own.train.init:
        return
    said = f"{plain(look.model.title)} went on from trained weights: most of its kernels had formed before."
    found = next((entry for entry in networks.entries() if _from_noise(entry, own)), None)
    if found is None:
        st.caption(said)
        return
    text, button = st.columns([3, 2], vertical_alignment="center")
    text.caption(f"{said} A network like it, on the same pictures, began with noise:")
    button.button(
        f"Look at {plain(networks.title(found))}", icon=":material/blur_on:", on_click=_look_at, args=(found.name,),
        key=f"formed in {found.name} for {run.id}",
    )  # fmt: skip


def _look_at(name: str) -> None:
    lens.change(models=(name,), epoch=None)


def _from_noise(entry: ModelEntry, like: RunConfig) -> bool:
    """Whether a network of the same preset was trained on the same set from its first weights on."""
    if entry.kind == "imported":
        return False
    try:
        config = networks.describe(entry).config
    except (OSError, WeightsError):
        return False
    alike = (config.model.preset, config.data.digest) == (like.model.preset, like.data.digest)
    return alike and not config.train.init


def _in_words(cursor: Cursor, layer: str, formed: bool) -> str:
    if len(cursor.kept) < 2:
        return (
            f"Of {layer} only the last epoch was kept, so that there is no other to go to; of conv1 there may be more."
        )
    said = (f"The line stands at epoch {cursor.now:g}, the diamonds at the epochs that were kept: a click on a point "
            "takes the page to the nearest of them.")  # fmt: skip
    if formed:
        said += (" The cosine is that between each kernel and what it became (1: it points the same way already): its "
                 f"mean, and where the middle {SPREAD[1] - SPREAD[0]}% of the kernels lie.")  # fmt: skip
    return said


@dataclass(frozen=True)
class Cursor:
    """Where the lens stands in a training, and where it can go."""

    now: float  # epoch
    places: Sequence[float]  # of the epochs that were kept
    kept: Sequence[int]  # as the lens calls them; the last one is its None

    def draw(self, lines: Sequence[RunCurve], title: str, alt: str) -> None:
        """A chart along the epochs; a click on any point moves the cursor."""
        figure = curves(lines, title, "epoch")
        if len(self.kept) > 1:
            figure.add_scatter(
                x=self.places, y=[0] * len(self.places), mode="markers", cliponaxis=False, showlegend=False,
                marker={"symbol": "diamond", "size": 11, "color": BASELINE_COLOUR}, name="kept",
                hovertemplate="epoch %{x}<extra></extra>",
            )  # fmt: skip
        for trace in figure.data:
            trace.unselected = {"marker": {"opacity": 1}}  # else all points but the one that was clicked fade
        # One by one Plotly takes milliseconds for each.
        figure.update_layout({
            "height": CHART_HEIGHT, "dragmode": False, "showlegend": len(lines) > 1, "yaxis": {"rangemode": "tozero"},
            "shapes": [{"type": "line", "xref": "x", "yref": "paper", "x0": self.now, "x1": self.now, "y0": 0, "y1": 1,
                        "line": {"color": BASELINE_COLOUR, "width": 2, "dash": "dot"}}],
        })  # fmt: skip
        values = (f"{line.name} {np.interp(self.now, line.x, line.y):.3g}" for line in lines)
        # A chart of its own for each epoch, as a second click on a chosen point would only take the choice back.
        key = f"{title} at {self.now:g}"
        st.plotly_chart(
            figure, key=key, config={"displayModeBar": False}, alt=f"{alt}; at epoch {self.now:g}: {', '.join(values)}",
            selection_mode="points", on_select=lambda: self.take(st.session_state[key].selection.points),
        )  # fmt: skip

    def take(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Go to the kept epoch nearest to the point that was clicked."""
        if points and len(self.kept) > 1:
            place = nearest(self.places, float(points[0]["x"]))
            lens.change(epoch=None if place == len(self.kept) - 1 else self.kept[place])


def nearest(epochs: Sequence[float], x: float) -> int:
    """The place of the epoch that is nearest to `x`."""
    return int(np.abs(np.asarray(epochs) - x).argmin())


def _error_lines(measured: Sequence[tuple[Look, Errors]]) -> list[RunCurve]:
    """Training and validation of one run; of several their validation, as more lines would hide one another."""
    if len(measured) == 1:
        ((_, errors),) = measured
        return [
            RunCurve("training", colour_of(0), errors.epochs, errors.training),
            RunCurve("validation", colour_of(1), errors.epochs, errors.validation),
        ]
    return [RunCurve(shorten(look.model.title), look.colour, errors.epochs, errors.validation)
            for look, errors in measured]  # fmt: skip


def _errors(look: Look, run: Run) -> Errors | None:
    """None, with a word, where the run has no curves."""
    try:
        file = run.path / "metrics.jsonl"
        key = ("errors", str(file), file.stat().st_mtime_ns)
        rows = networks.results().get(key, lambda: run.metrics(holding="val/top1_error")[0])
    except RunError as error:
        st.caption(plain(str(error)))
        return None
    except OSError:
        rows = []
    rows = [row for row in rows if "epoch" in row]
    if not rows:
        st.caption(f"{plain(look.model.title)} was not validated so far: it has no curves.")
        return None
    names = ("epoch", "val/top1_error", "epoch/train_top1_error")
    epochs, validation, training = np.array([[row.get(name, np.nan) for name in names] for row in rows]).T
    return Errors(epochs, 100 * validation, 100 * training)


def _formed(look: Look, run: Run) -> Formed:
    """The cosines of the layer's kernels with the newest ones; what is damaged is told, and left out."""
    from alexnet_explorer.inspection import filters

    newest = networks.load(look.model.name)
    target = filters.kernels(newest.model, look.layer)

    def measure(path: Path) -> NDArray[np.float32]:
        return filters.cosines(networks.load_kernels(path, newest, look.layer), target)

    epochs, found = [], []
    for epoch, path in networks.epochs_with(run, look.layer).items():
        try:
            key = ("cosines", look.layer, newest.digest, str(path), path.stat().st_mtime_ns)
            cosines = networks.results().get(key, lambda path=path: measure(path))  # type: ignore[misc]
        except (OSError, WeightsError) as error:
            st.warning(plain(str(error)))
            continue
        epochs.append(epoch)
        found.append([cosines.mean(), *np.percentile(cosines, SPREAD)])
    mean, low, high = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return Formed(np.array(epochs, dtype=np.float64), mean, low, high)
