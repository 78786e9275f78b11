"""The runs of the page Compare: their names and colours, which is the baseline, their settings and last metrics."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from cachetools import LRUCache

from alexnet_explorer.comparing import METRICS, Track, value_text
from alexnet_explorer.config import RunConfig
from alexnet_explorer.figures import Style, style_of
from alexnet_explorer.runs import Run, RunError, differences, find_run
from alexnet_explorer.ui import frame, lens, networks
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

KEPT_TRACKS = 256
NAMING_FIELDS = 3  # in which runs may differ and still be named by them
LONGEST_NAME = 44  # characters
SHORTER = {"learning_rate": "rate"}


@dataclass(frozen=True)
class Compared:
    """One of the runs that are compared; the first of them is the baseline."""

    run: Run
    config: RunConfig  # as this machine, or another, computed it
    name: str  # short, and another for each
    style: Style


def chosen_runs(page: frame.Page) -> list[Compared]:
    """The runs among the networks of the page; imported weights have no history and are left out, which is said."""
    names = frame.names_for(page)
    runs, configs, places = [], {}, {}
    for place, name in enumerate(names):
        try:
            run = find_run(name, runs_folder())
            configs[run.id] = run.as_computed()
        except RunError as error:
            imported = [entry for entry in networks.entries() if entry.name == name and entry.kind == "imported"]
            for entry in imported:
                st.caption(f"{plain(networks.title(entry))} has no training history here.")
            if not imported:
                st.error(plain(str(error)), icon=":material/error:")
            continue
        runs.append(run)
        places[run.id] = place
    named = short_names(configs) or {run.id: networks.run_label(run) for run in runs}
    return [Compared(run, configs[run.id], named[run.id], style_of(places[run.id])) for run in runs]


def short_names(configs: Mapping[str, RunConfig]) -> dict[str, str]:
    """Names that tell runs apart by what differs: 'tanh, seed 1'. None where that is nothing, or too much."""
    changed = {field: values for field, values in differences(dict(configs)).items() if field != "data.digest"}
    said = Counter(text for values in changed.values() for text in {str(value) for value in values.values()})
    # A year, or a word that two of the fields have, says little without its field.
    bare = [
        field for field, values in changed.items()
        if all(isinstance(value, str) and said[value] == 1 and value and not value.isdigit()
               for value in values.values())
    ]  # fmt: skip
    found = {}
    for run_id in configs:
        words = [_words(field, values[run_id], field in bare) for field, values in changed.items()]
        found[run_id] = ", ".join(words)
    if not 0 < len(changed) <= NAMING_FIELDS or any(len(name) > LONGEST_NAME for name in found.values()):
        return {}
    repeated = len(set(found.values())) < len(found)
    return {run_id: f"{name} #{run_id[-4:]}" if repeated else name for run_id, name in found.items()}


def _words(field: str, value: Any, bare: bool) -> str:
    """'tanh', if it says enough by itself, `bare`; else 'init 2012'; 'no lrn'; 'dropout 0.2'."""
    last = field.rpartition(".")[2]
    name = SHORTER.get(last, last)
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return str(value) if bare else f"{name} {value_text(value)}"


def choose_baseline(runs: Sequence[Compared], page: frame.Page) -> None:
    """Another run may become the baseline: it changes places with the first, so that the others keep their colours."""
    names = {one.run.id: one.name for one in runs}
    first = runs[0].run.id
    st.session_state["compare_baseline"] = first
    st.selectbox("Baseline", list(names), format_func=lambda name: names.get(name, name), key="compare_baseline",
                 on_change=_take_baseline, args=(page,), width=280,
                 help="All differences are from it; it is drawn in grey.")  # fmt: skip


def _take_baseline(page: frame.Page) -> None:
    names = frame.names_for(page)
    if st.session_state["compare_baseline"] not in names:  # deleted meanwhile
        return
    place, first = names.index(st.session_state["compare_baseline"]), names[0]
    names[0], names[place] = names[place], first
    lens.change(compared=tuple(names))


class Tracks:
    """The metrics of the runs that were compared last on this server; only what was written since is read."""

    def __init__(self) -> None:
        self._kept: LRUCache[str, tuple[Track, int, float]] = LRUCache(KEPT_TRACKS)  # its offset, its last step
        self._lock = threading.Lock()

    def of(self, run: Run) -> Track:
        """The metrics of a run as they are now. Raises RunError where they are damaged."""
        key = str(run.path)
        with self._lock:
            track, offset, step = self._kept.get(key, (Track(), 0, 0.0))
            rows, end, all_of_them = run.metrics_since(offset, step)
            if all_of_them:
                track = Track()
            track.add(rows)
            self._kept[key] = (track, end, rows[-1]["step"] if rows else step)
            return track


@st.cache_resource(show_spinner=False)
def tracks() -> Tracks:
    """Those of this server."""
    return Tracks()


def known_tracks(runs: Sequence[Compared]) -> dict[str, Track]:
    """The metrics of the runs by their ids; a file that is damaged is told."""
    found = {}
    for one in runs:
        try:
            found[one.run.id] = tracks().of(one.run)
        except RunError as error:
            st.error(plain(str(error)), icon=":material/error:")
    return found


def show_differences(runs: Sequence[Compared]) -> None:
    """The settings in which the runs differ."""
    changed = differences({one.run.id: one.config for one in runs})
    if not changed:
        st.info("The settings of these runs are the same.")
        return
    named = {one.run.id: one.name for one in runs}
    table = [
        {"setting": field, **{named[run_id]: _text(value) for run_id, value in values.items()}}
        for field, values in changed.items()
    ]
    st.dataframe(table, hide_index=True, key="compare_settings", column_config=_pinned("setting", runs),
                 alt="The settings in which the runs differ")  # fmt: skip


def show_metrics(runs: Sequence[Compared]) -> None:
    """The last metrics, and each run's difference from the first one, the baseline."""
    table = metric_table([one.run for one in runs], {one.run.id: one.name for one in runs})
    if not table:
        st.info("None of these runs has come to the end of an epoch so far.")
        return
    st.dataframe(table, hide_index=True, key="compare_metrics", column_config=_pinned("metric", runs),
                 alt="The last metrics of the runs")  # fmt: skip
    st.caption("In brackets: the difference from the baseline. One pair of runs is one draw of the dice: with other "
               "seeds, small differences can change their sign.")  # fmt: skip


def _pinned(first: str, runs: Sequence[Compared]) -> dict[str, Any]:
    """The first column and the baseline's stay where they are while the others are scrolled."""
    return {name: st.column_config.TextColumn(pinned=True) for name in (first, runs[0].name)}


def metric_table(runs: Sequence[Run], named: Mapping[str, str]) -> list[dict[str, str]]:
    """A row a metric that any of the runs has, a column a run."""
    summaries = {run.id: run.status().summary for run in runs}
    base = summaries[runs[0].id]
    table = []
    for metric, title in METRICS.items():
        if any(metric in summary for summary in summaries.values()):
            cells = {named[run.id]: _cell(metric, summaries[run.id].get(metric), base.get(metric)) for run in runs}
            table.append({"metric": title, **cells})
    return table


def _cell(metric: str, value: float | None, base: float | None) -> str:
    if value is None:
        return "not yet"
    if not math.isfinite(value):
        return "–"
    error = metric.endswith("error")
    shown = f"{value:.1%}" if error else f"{value:.3f}"
    if base is None or not math.isfinite(base):
        return shown
    difference = round(100 * (value - base), 1) if error else round(value - base, 3)
    if not difference:
        return shown
    return f"{shown} ({difference:+.1f} points)" if error else f"{shown} ({difference:+.3f})"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
