"""How long a study will take, on the page: each arm is measured in a process of its own, and kept for whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from alexnet_explorer.config import RunConfig
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.studies.forecast import Cost, cost_of, forecast, measurable, start_seconds
from alexnet_explorer.studies.study import Arm
from alexnet_explorer.studies.survey import Survey
from alexnet_explorer.ui import queueing
from alexnet_explorer.ui.probing import REFRESH_SECONDS, Probe, Shared, shared
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

_ASKED = "forecast_asked"  # by place: the measurements of the arms that a visitor looks at
_STOPPED = "forecast_stopped"  # by place: the arms whose measurement a visitor has stopped


class Measurements(threading.Thread):
    """Those of several trainings, one after another; what was measured before is left out."""

    def __init__(self, configs: Sequence[RunConfig], root: Path, shared: Shared) -> None:
        super().__init__(daemon=True, name="study forecast")
        self.configs, self.root, self.shared = configs, root, shared
        self.probe: Probe | None = None  # under way
        self.stopped = False

    def run(self) -> None:
        if self.shared.start_seconds is None:
            self.shared.start_seconds = start_seconds(Queue(self.root).environment())
        for config in self.configs:
            probe = self.shared.find("estimate", config)
            if probe is None or (not probe.is_alive() and probe.result is None):
                probe = Probe("estimate", config, self.root, self.shared)
                self.shared.keep(config, probe)
                probe.start()
            self.probe = probe
            while probe.is_alive() and not self.stopped:
                probe.join(REFRESH_SECONDS)
            if self.stopped or probe.message:
                return

    def stop(self) -> None:
        """Measure no more. What is under way comes to its end, as others may wait for it."""
        self.stopped = True


def show(found: Survey, place: str, by_itself: bool) -> None:
    """What is left of a study, and how long that takes; `place` tells two on one page apart.

    It is measured `by_itself`, or when the visitor asks for it. A measurement redraws itself until it ends.
    """
    arms = {} if found.finished else measurable(found.study)
    keys = {arm: config.digest() for arm, config in arms.items()}
    asked: dict[str, Measurements] = st.session_state.setdefault(_ASKED, {})
    at_work = asked.get(place)
    if at_work and [config.digest() for config in at_work.configs] != list(keys.values()):
        at_work.stop()  # the visitor looks at other arms now
        at_work = None
    costs, faults = _known(arms)
    if len(costs) == len(arms):
        _tell(found, costs, arms)
    elif at_work and at_work.is_alive():
        st.fragment(_progress, run_every=REFRESH_SECONDS)(at_work, len(costs), len(arms), place)
    else:
        for fault in faults:
            st.error(plain(fault), icon=":material/error:")
        stopped = st.session_state.setdefault(_STOPPED, {}).get(place) == list(keys.values())
        if by_itself and not stopped and not faults:
            _begin(list(arms.values()), place)
            st.fragment(_progress, run_every=REFRESH_SECONDS)(asked[place], len(costs), len(arms), place)
            return
        st.button("Measure how long it takes", icon=":material/timer:", key=f"forecast_{place}", on_click=_begin,
                  args=(list(arms.values()), place), help="A few steps of each arm")  # fmt: skip


def _known(arms: Mapping[Arm, RunConfig]) -> tuple[dict[Arm, Cost], list[str]]:
    """What the arms that were measured cost, and why others could not be measured."""
    probes = {arm: shared().find("estimate", config) for arm, config in arms.items()}
    start = shared().start_seconds
    costs = {
        arm: cost_of(probe.result, start) for arm, probe in probes.items()
        if probe and probe.result and start is not None
    }  # fmt: skip
    faults = dict.fromkeys(probe.message for probe in probes.values() if probe and probe.message)
    return costs, list(faults)


def _tell(found: Survey, costs: Mapping[Arm, Cost], arms: Mapping[Arm, RunConfig]) -> None:
    st.markdown(f"**{forecast(found, costs, queueing.queue().at_once())}.**")
    if not arms:
        return
    probes = [shared().find("estimate", config) for config in arms.values()]
    beside = "; a run was at work beside it, without which it is quicker" if any(p and p.busy for p in probes) else ""
    each = "each arm" if len(arms) == len(found.study.arms()) else f"{len(arms)} of the arms"
    st.caption(f"By a few measured steps of {each}{beside}.")


def _begin(configs: Sequence[RunConfig], place: str) -> None:
    st.session_state.setdefault(_STOPPED, {}).pop(place, None)
    measurements = Measurements(configs, runs_folder(), shared())
    st.session_state.setdefault(_ASKED, {})[place] = measurements
    measurements.start()


def _stop(measurements: Measurements, place: str) -> None:
    measurements.stop()
    st.session_state[_STOPPED][place] = [config.digest() for config in measurements.configs]


def _progress(measurements: Measurements, known: int, of: int, place: str) -> None:
    done = sum(bool((probe := shared().find("estimate", config)) and probe.result) for config in measurements.configs)
    doing = measurements.probe.text if measurements.probe else "Loading PyTorch"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(done / of, f"How long it takes: {done} of {of} arms are measured. {plain(doing)} …")
        st.button("Stop", icon=":material/stop:", key=f"forecast_{place}_stop", on_click=_stop,
                  args=(measurements, place))  # fmt: skip
    if not measurements.is_alive():
        st.rerun()
