"""Parallel coordinates: a line a run through its value on each axis, in the run's own colour.

Those of Plotly need WebGL, which takes a second to begin where there is no GPU, and do not tell which run a line is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from alexnet_explorer.comparing import Dimension
from alexnet_explorer.figures import Style
from alexnet_explorer.words import number_text

HEIGHT = 380  # pixels
FEW = 8  # values of a setting that each have a tick, as far from one another as there is room
TICKS = 5  # about so many on an axis of more values
_DASHES = {"solid": "none", "dash": "9 5", "longdash": "16 6", "dashdot": "9 4 2 4", "longdashdot": "16 5 2 5"}


def draw(settings: Sequence[Dimension], result: Dimension, names: Sequence[str], styles: Sequence[Style]) -> None:
    """The settings from left to right and the result on the right; a name and a style for each run, in their order.

    The pointer and the arrow keys tell which run a line is. A section drawn along an axis leaves the runs that pass
    there; another chart keeps the sections of the axes that it has, too.
    """
    axes = [*(axis(one, apart=True) for one in settings), axis(result)]
    runs = [
        {"name": name, "colour": style.colour, "dash": _DASHES[style.dash], "values": _values(settings, result, place)}
        for place, (name, style) in enumerate(zip(names, styles, strict=True))
    ]
    titles = ", ".join(one.name for one in (*settings, result))
    alt = f"Parallel coordinates of {len(runs)} runs: {titles}"
    _component()(key="compare_parallel", data={"axes": axes, "runs": runs, "alt": alt, "height": HEIGHT})


def axis(one: Dimension, *, apart: bool = False) -> dict[str, Any]:
    """An axis as the browser draws it: its title, ticks (place, text), and the places of the runs; None has none.

    Places are from 0, at the bottom, to 1. `apart`: few distinct numbers, such as 0.001, 0.01 and 0.1, are as far from
    one another as words are.
    """
    distinct = np.arange(len(one.words)) if one.words else np.unique(one.values[np.isfinite(one.values)])
    if one.words or len(distinct) < 2 or (apart and len(distinct) <= FEW):
        places = np.linspace(0, 1, len(distinct)) if len(distinct) > 1 else np.full(len(distinct), 0.5)
        texts = one.words or [number_text(float(value)) for value in distinct]
        at = np.full(len(one.values), np.nan)
        if len(distinct):
            there = np.isfinite(one.values)
            at[there] = np.interp(one.values[there], distinct, places)
    else:
        low, high = float(distinct[0]), float(distinct[-1])
        round_numbers = _round_numbers(low, high)
        places, at = (np.asarray(values) - low for values in (round_numbers, one.values))
        places, at = places / (high - low), at / (high - low)
        texts = [f"{value:.10g}" for value in round_numbers]
    return {
        "title": one.name,
        "ticks": [[round(float(place), 4), text] for place, text in zip(places, texts, strict=True)],
        "at": [round(float(place), 4) if math.isfinite(place) else None for place in at],
    }


def _round_numbers(low: float, high: float) -> list[float]:
    """Some between two others, both of which may be among them."""
    apart = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(apart))
    step = power * min((1, 2, 5, 10), key=lambda times: abs(times * power - apart))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * number for number in range(first, last + 1)]


def _values(settings: Sequence[Dimension], result: Dimension, place: int) -> str:
    """What a run has on each axis, in words."""
    return ", ".join(f"{one.name} {_text(one, place)}" for one in (*settings, result))


def _text(one: Dimension, place: int) -> str:
    value = one.values[place]
    if not math.isfinite(value):
        return "–"
    return one.words[int(value)] if one.words else number_text(value)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("alexnet_explorer_parallel", html=_HTML, css=_CSS, js=_JS)


_HTML = """
<div class="frame"><svg></svg></div>
<div class="label" aria-live="polite"></div>
"""

_CSS = """
.frame { outline-offset: 2px; line-height: 0; }
.frame:focus-visible { outline: 2px solid var(--st-primary-color); }
svg { width: 100%; overflow: visible; font: 0.75rem var(--st-font); user-select: none; }
path { fill: none; stroke-width: 1.8; opacity: 0.9; }
.hit { stroke: transparent; stroke-width: 11; }
.out { opacity: 0.07; }
.looked .run:not(.this) { opacity: 0.15; }
.looked .run.out:not(.this) { opacity: 0.05; }
.this { stroke-width: 3.5; opacity: 1; }
line { stroke: var(--st-text-color); opacity: 0.45; }
text { fill: var(--st-text-color); paint-order: stroke; stroke: var(--st-background-color); stroke-width: 3px;
  pointer-events: none; }
.band { fill: transparent; cursor: ns-resize; touch-action: none; }
.section { fill: var(--st-primary-color); opacity: 0.3; pointer-events: none; }
.label { min-height: 2.8em; font: 0.875rem/1.4 var(--st-font); color: var(--st-text-color); }
"""

_JS = """
const LEFT = 30, RIGHT = 115, TOP = 66, BOTTOM = 14, BAND = 26, LEAST = 0.02;  // pixels; LEAST: a share of an axis

const make = (name, attributes, into) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  into.append(made);
  return made;
};

export default function({ data, parentElement }) {
  const { axes, runs, alt, height } = data;
  const frame = parentElement.querySelector(".frame"), label = parentElement.querySelector(".label");
  const svg = frame.querySelector("svg");
  const sections = frame.sections ??= new Map();  // by title of their axis: its ends, from 0 to 1
  const last = axes.length - 1;
  const order = runs.map((_, run) => run).sort((a, b) => axes[last].at[a] - axes[last].at[b]);  // as they end
  let drawn = [], looked = null;

  const passes = (run) => axes.every(({ title, at }) => {
    const ends = sections.get(title);
    return !ends || (at[run] !== null && at[run] >= ends[0] && at[run] <= ends[1]);
  });
  const rest = () => {
    looked = null;
    svg.classList.remove("looked");
    for (const path of drawn) path.classList.remove("this");
    const left = runs.filter((_, run) => passes(run)).map((run) => run.name);
    const few = left.length && left.length <= 6 ? `: ${left.join(", ")}` : "";
    label.textContent = axes.some(({ title }) => sections.has(title))
      ? `${left.length} of ${runs.length} runs pass there${few}.` : "";
  };
  const look = (run) => {
    rest();
    looked = run;
    svg.classList.add("looked");
    drawn[run].classList.add("this");
    drawn[run].parentElement.append(drawn[run]);  // over the others
    label.textContent = `${runs[run].name}: ${runs[run].values}.`;
  };
  const mark = () => { drawn.forEach((path, run) => path.classList.toggle("out", !passes(run))); rest(); };

  const draw = () => {
    const width = frame.clientWidth;
    if (!width) return;
    svg.setAttribute("height", height);
    svg.replaceChildren();
    const gap = (width - LEFT - RIGHT) / Math.max(last, 1);
    const x = (axis) => LEFT + axis * gap;
    const y = (place) => TOP + (1 - place) * (height - TOP - BOTTOM);
    const lines = make("g", {}, svg), hits = make("g", {}, svg);
    drawn = runs.map(({ colour, dash }, run) => {
      let d = "", pen = "M";
      axes.forEach(({ at }, axis) => {
        if (at[run] === null) { pen = "M"; return; }
        d += `${pen}${x(axis).toFixed(1)} ${y(at[run]).toFixed(1)}`;
        pen = "L";
      });
      const hit = make("path", { class: "hit", d }, hits);
      hit.onpointerenter = () => { if (passes(run)) look(run); };
      hit.onpointerleave = rest;
      return make("path", { class: "run", d, stroke: colour, "stroke-dasharray": dash }, lines);
    });
    axes.forEach(({ title, ticks }, axis) => {
      make("line", { x1: x(axis), x2: x(axis), y1: y(0), y2: y(1) }, svg);
      for (const [place, text] of ticks) {
        make("line", { x1: x(axis), x2: x(axis) + 5, y1: y(place), y2: y(place) }, svg);
        make("text", { x: x(axis) + 8, y: y(place) + 4 }, svg).textContent = text;
      }
      const head = { x: x(axis), y: TOP - 14, "font-weight": 600, transform: `rotate(-14 ${x(axis)} ${TOP - 14})` };
      make("text", head, svg).textContent = title;
      const shown = make("rect", { class: "section", x: x(axis) - BAND / 2, width: BAND, y: 0, height: 0 }, svg);
      const band = make("rect", { class: "band", x: x(axis) - BAND / 2, width: BAND, y: TOP - 8,
                                  height: height - TOP - BOTTOM + 16 }, svg);
      const show = () => {
        const [low, high] = sections.get(title) ?? [0, 0];
        shown.setAttribute("y", y(high));
        shown.setAttribute("height", y(low) - y(high));
      };
      const placeOf = (event) => {
        const place = 1 - (event.clientY - svg.getBoundingClientRect().top - TOP) / (height - TOP - BOTTOM);
        return Math.min(1, Math.max(0, place));
      };
      let from = null;
      band.onpointerdown = (event) => {
        sections.delete(title);
        from = placeOf(event);
        band.setPointerCapture(event.pointerId);
      };
      band.onpointermove = (event) => {
        if (from === null) return;
        const to = placeOf(event);
        sections.set(title, [Math.min(from, to) - 0.001, Math.max(from, to) + 0.001]);
        show();
        mark();
      };
      band.onpointerup = band.onpointercancel = () => {
        const ends = sections.get(title);
        if (ends && ends[1] - ends[0] < LEAST) sections.delete(title);
        from = null;
        show();
        mark();
      };
      show();
    });
    mark();
  };

  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", alt + ". Arrow keys go from run to run, as they end; Escape shows all.");
  frame.onkeydown = (event) => {
    const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
    if (step !== undefined) {
      const can = order.filter(passes);
      const next = looked === null ? (step > 0 ? 0 : can.length - 1) : can.indexOf(looked) + step;
      if (can.length) look(can[Math.min(can.length - 1, Math.max(0, next))]);
    } else if (event.key === "Escape") {
      sections.clear();
      draw();
    } else {
      return;
    }
    event.preventDefault();
  };
  frame.onblur = rest;
  frame.watch?.disconnect();
  frame.watch = new ResizeObserver(draw);
  frame.watch.observe(frame);
  draw();
  return () => frame.watch.disconnect();
}
"""
