"""What a training will need, and how large its steps may be: measured in a process of its own, shown as it comes."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import streamlit as st
from cachetools import LRUCache

from alexnet_explorer import figures
from alexnet_explorer.catalogue import find_weights
from alexnet_explorer.config import RunConfig, TrainConfig
from alexnet_explorer.data.packed import DataError
from alexnet_explorer.data.sources import prepare_by_name
from alexnet_explorer.launch import local
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.runs import RunError, config_on, list_runs
from alexnet_explorer.ui import chosen
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError
from alexnet_explorer.words import duration

Kind = Literal["estimate", "rate"]

REFRESH_SECONDS = 0.5
KEPT = 256  # results of this server; a study may have many arms
CHART_HEIGHT = 260  # pixels
NOTICED = 0.3  # cores; what other processes take below it changes little
SMOOTHING = 0.9  # as the range test smooths its losses

TEXTS: dict[Kind, str] = {"estimate": "Measuring a few steps", "rate": "Loading PyTorch"}

# Fields of `TrainConfig` that change nothing of what is measured.
FREE: dict[Kind, tuple[str, ...]] = {
    "estimate": ("learning_rate", "momentum", "weight_decay", "schedule", "warm_up", "patience", "seed", "average"),
    "rate": ("learning_rate", "schedule", "warm_up", "patience", "epochs", "snapshot_layers"),
}


class Probe(threading.Thread):
    """One measurement. At its end `result` is there, or `message` says in words why not, or it was stopped."""

    def __init__(self, kind: Kind, config: RunConfig, root: Path, shared: Shared) -> None:
        super().__init__(daemon=True, name=f"probe {kind}")
        self.kind, self.config, self.root, self.shared = kind, config, root, shared
        self.busy = busy(root)  # a run was at work meanwhile, so that it took longer
        self.share, self.text, self.since = 0.0, "Waiting for another measurement", time.monotonic()
        self.points: list[tuple[float, float]] = []  # rate, loss
        self.result: dict[str, Any] | None = None
        self.message = ""
        self.stopped = False
        self._kill: Callable[[], None] = lambda: None

    def run(self) -> None:
        while not self.shared.turn.acquire(timeout=REFRESH_SECONDS):
            if self.stopped:
                return
        try:
            self._measure()
        except (DataError, RunError, WeightsError) as error:
            self.message = str(error)
        except OSError as error:
            self.message = f"It could not be measured ({error.strerror or error}): make room on the disk."
        finally:
            self.shared.turn.release()
            if self.stopped:
                self.message = ""  # nothing went wrong

    def stop(self) -> None:
        """End it at once; nothing of it is kept."""
        self.stopped = True
        self._kill()

    def _measure(self) -> None:
        packed = prepare_by_name(self.config.data.name, self._hear)
        self.shared.keep(config_on(self.config, packed), self)  # as the page will ask for it from now on
        self.share, self.text, self.since = 0.0, TEXTS[self.kind], time.monotonic()
        with TemporaryDirectory(prefix="alexnet-explorer-") as folder:
            command = ["alexnet_explorer", "probe", self.kind]
            if self.config.train.init:
                file = Path(folder) / "init.safetensors"
                file.write_bytes(find_weights(self.config.train.init, self.root)[0])
                command += ["--init", str(file)]
            # What it writes itself goes to the folder, too, which is removed even where it is killed.
            environment = {**os.environ, **Queue(self.root).environment(), "TMPDIR": folder}
            with (Path(folder) / "errors.txt").open("w+b") as errors:
                with local.ask(command, self.config.to_json(), errors, environment) as process:
                    self._kill = process.kill
                    if self.stopped:
                        process.kill()
                    assert process.stdout is not None
                    for line in process.stdout:
                        if line.endswith("\n"):  # else it was killed in the middle of one
                            self._take(json.loads(line))
                if self.result is None and not self.stopped:
                    errors.seek(0)
                    self.message = why(process.returncode, errors.read().decode(errors="replace"))

    def _hear(self, share: float, text: str) -> None:
        self.share, self.text = share, text
        if self.stopped:
            raise DataError("Stopped: the data are not prepared.")

    def _take(self, said: dict[str, Any]) -> None:
        if "result" in said:
            self.result = said["result"]
        else:
            self.points.append((said["rate"], said["loss"]))
            self.share, self.text = said["progress"], f"Rate {said['rate']:.2g}, loss {said['loss']:.3g}"


class Shared:
    """The measurements of a server, for all its visitors, and whose turn it is."""

    def __init__(self) -> None:
        self.turn = threading.Lock()  # one at a time: two would measure each other
        self.start_seconds: float | None = None  # until a process can train, once that was measured
        self._probes: LRUCache[str, Probe] = LRUCache(KEPT)
        self._lock = threading.Lock()

    def keep(self, config: RunConfig, probe: Probe) -> None:
        """Let a measurement be found by this config."""
        with self._lock:
            self._probes[key_of(probe.kind, config)] = probe

    def find(self, kind: Kind, config: RunConfig) -> Probe | None:
        """The measurement of this config, waiting, under way or done, if there is one."""
        with self._lock:
            return self._probes.get(key_of(kind, config))


@st.cache_resource(show_spinner=False)
def shared() -> Shared:
    """Those of this server."""
    return Shared()


def key_of(kind: Kind, config: RunConfig) -> str:
    """The same for all configs that the measurement cannot tell apart."""
    usual = TrainConfig()
    free = config.train.model_copy(update={field: getattr(usual, field) for field in FREE[kind]})
    return f"{kind} {config.model_copy(update={'train': free}).digest()}"


def why(status: int, errors: str) -> str:
    """Why a process ended without a result, in words, from its exit status and what it wrote to stderr."""
    last = (errors.strip().splitlines() or ["it said nothing"])[-1]
    if status == 2:
        return last
    if status < 0:
        return f"Its process was killed (signal {-status}), most likely as memory ran out: take a smaller batch size."
    return f"The measurement ended with an error: {last}"


def busy(root: Path) -> bool:
    """Whether a run is at work on this machine, or on another with the same folder."""
    return any(run.status().at_work for run in list_runs(root, gallery=False))


# On the page


def show_estimate(config: RunConfig) -> None:
    """The button that measures what a training will need, and the result as long as it is this config's."""
    probe = _asked("estimate", config, "Estimate time and memory", "timer")
    if probe is None or probe.result is None:
        return
    result = probe.result
    memory = {"Memory": result["memory_bytes"], "GPU memory": result["gpu_memory_bytes"]}
    shown = {"Time": f"≈ {duration(result['total_seconds'])}"}
    shown |= {label: size_text(number) for label, number in memory.items() if number}
    for column, (label, value) in zip(st.columns(len(shown)), shown.items(), strict=True):
        column.metric(label, value)
    device = {"cpu": f"the CPU, {result['threads']} thread{'s' * (result['threads'] > 1)}", "cuda": "the GPU"}
    beside = ""
    if probe.busy:
        beside = "; a run was at work beside it, without which it is quicker"
    elif result["others"] >= NOTICED:
        beside = f"; other processes kept {result['others']:.1f} cores busy meanwhile, without which it is quicker"
    st.caption(f"{duration(result['epoch_seconds'])} an epoch, {result['img_per_s']:,.0f} images per second, "
               f"measured by a few steps on {device[result['device']]}, in {result['precision']}{beside}.")  # fmt: skip


def size_text(number: int) -> str:
    """Bytes in megabytes, from a gigabyte on in gigabytes."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def show_rate(config: RunConfig) -> None:
    """The learning-rate range test: its button, its curve, and the rate that it suggests."""
    probe = _asked("rate", config, "Find a rate", "speed")
    if probe is None or probe.result is None:
        return
    _chart(probe)
    suggestion = probe.result["suggestion"]
    if suggestion is None:
        st.info("No rate lowers the loss within these few steps: look at the other settings, or train and see.")
        return
    in_use = config.train.learning_rate == suggestion
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(f"Use {suggestion:g}", icon=":material/check:", key="probe_use", disabled=in_use,
                  on_click=chosen.change, args=("train.learning_rate", suggestion))  # fmt: skip
        st.caption("It is the rate in use." if in_use else "A tenth of the rate at which the loss turns upwards.")


def _asked(kind: Kind, config: RunConfig, label: str, icon: str) -> Probe | None:
    """The button that asks for a measurement, how far it is, and why there is none; the measurement of this config."""
    probe = shared().find(kind, config)
    at_work = probe is not None and probe.is_alive()
    st.button(label, icon=f":material/{icon}:", key=f"probe_{kind}", disabled=at_work, width="stretch",
              on_click=_begin, args=(kind, config))  # fmt: skip
    if probe and at_work:
        st.fragment(_progress, run_every=REFRESH_SECONDS)(probe)
        return None
    if probe is None:
        if st.session_state.get(f"probed_{kind}"):
            st.caption("The settings have changed since it was measured: measure again.")
        if busy(runs_folder()):
            st.caption("A run is at work: what is measured now is slower than it will be.")
    elif probe.message:
        st.error(plain(probe.message), icon=":material/error:")
    return probe


def _begin(kind: Kind, config: RunConfig) -> None:
    st.session_state[f"probed_{kind}"] = True
    running = shared().find(kind, config)
    if running is None or not running.is_alive():  # else another visitor has asked for the same
        probe = Probe(kind, config, runs_folder(), shared())
        shared().keep(config, probe)
        probe.start()


def _progress(probe: Probe) -> None:
    text = f"{probe.text}, {duration(time.monotonic() - probe.since)}"
    if probe.share:
        st.progress(min(probe.share, 1.0), plain(text))
    else:
        st.caption(f":material/hourglass_top: {plain(text)}")
    if probe.points:
        _chart(probe)
    st.button("Stop", icon=":material/stop:", key=f"probe_{probe.kind}_stop", on_click=probe.stop)
    if not probe.is_alive():
        st.rerun()


def _chart(probe: Probe) -> None:
    """Loss against rate, as far as it is known; the axis of the rates stands still while it grows."""
    from alexnet_explorer.training.probe import HIGHEST_RATE, LOWEST_RATE

    rates, losses = zip(*probe.points, strict=True)
    suggestion = (probe.result or {}).get("suggestion")
    bottom, top = 0.9 * min(losses), 1.3 * max(losses[:10])  # where it diverges, it leaves the chart
    line = figures.smoothed(figures.RunCurve("loss", figures.colour_of(0), rates, losses), SMOOTHING)
    figure = figures.curves([line], "loss (cross-entropy, nats)", "learning rate")
    if suggestion:
        figure.add_scatter(x=[suggestion, suggestion], y=[bottom, top], name=f"suggested: {suggestion:g}", mode="lines",
                           line={"color": figures.colour_of(1), "dash": "dash"})  # fmt: skip
    figure.update_xaxes(type="log", range=[math.log10(LOWEST_RATE), math.log10(HIGHEST_RATE)], exponentformat="power")
    figure.update_yaxes(range=[bottom, top])
    figure.update_layout(height=CHART_HEIGHT, uirevision=str(id(probe)))
    said = f"; suggested is {suggestion:g}" if suggestion else ""
    st.plotly_chart(figure, key="probe_rate_chart", config={"displayModeBar": False},
                    alt=f"Loss against the learning rate, {rates[0]:.1g} to {rates[-1]:.1g}{said}")  # fmt: skip
