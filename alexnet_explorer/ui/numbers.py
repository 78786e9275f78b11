"""The numbers of a run: errors, pace, time, and what it cost, estimated."""

from __future__ import annotations

import streamlit as st

from alexnet_explorer.runs import Status
from alexnet_explorer.ui.history import Kept
from alexnet_explorer.words import duration

WATTS, PRICE = 100.0, 0.30  # a desktop computer at work; a kWh, in a currency of the visitor's
NUMBER_WIDTH = 148  # pixels: '12 h 05 min' fits, and two stand side by side on a phone


def show(status: Status, kept: Kept) -> None:
    """All of them, and the settings of the estimate; these outlive a walk over the other pages."""
    place = st.container(horizontal=True)  # filled below, as it shows what is set there
    watts, price = _settings()
    energy = kilowatt_hours(status.seconds, watts)
    summary, rates = status.summary, [row["learning_rate"] for row in kept["train"][-1:] if "learning_rate" in row]
    assumed = f"An estimate: {watts:g} W for as long as it was trained, and {price:.2f} for a kWh"
    shown = {
        "Training error": (percent(summary.get("epoch/train_top1_error", summary.get("train/top1_error"))), None),
        "Validation error": (percent(summary.get("val/top1_error")), None),
        "Test error": (percent(summary.get("test/top1_error")), "Computed once, at the end"),
        "Learning rate": (f"{rates[0]:.3g}" if rates else "–", "The length of a step, as the schedule has it now"),
        "Images per second": (f"{status.img_per_s:,.0f}" if status.img_per_s else "–", None),
        "Time": (duration(status.seconds) if status.seconds else "–", None),
        "Energy, estimated": (energy_text(energy) if energy else "–", assumed),
        "Cost, estimated": (cost_text(energy * price) if energy else "–", assumed),
    }
    if status.state != "done" or "test/top1_error" not in summary:  # a set may have no test images
        del shown["Test error"]
    for label, (value, about) in shown.items():
        place.metric(label, value, help=about, width=NUMBER_WIDTH)


def _settings() -> tuple[float, float]:
    """Watts and the price of a kWh."""
    with st.popover("Watts and price", icon=":material/bolt:", type="tertiary"):
        st.markdown(
            "Energy and cost are **estimates**: time of training × watts, nothing is measured. A laptop takes about "
            "30 W, a desktop computer 100 W, a GPU of a server 300 to 700 W."
        )
        watts = st.number_input("Watts", 1.0, 1_000_000.0, WATTS, 10.0, format="%g", key="estimate_watts",
                                persist_state="session")  # fmt: skip
        price = st.number_input("Price of a kWh, in your currency", 0.0, 1000.0, PRICE, 0.01, format="%.2f",
                                key="estimate_price", persist_state="session")  # fmt: skip
    return watts, price


def kilowatt_hours(seconds: float, watts: float) -> float:
    """What so many watts take in that time."""
    return seconds * watts / 3.6e6


def energy_text(energy: float) -> str:
    """'0.42 Wh', '165 Wh', '1.65 kWh'."""
    return f"{1000 * energy:,.3g} Wh" if round(1000 * energy) < 1000 else f"{energy:,.2f} kWh"


def cost_text(cost: float) -> str:
    """'0.05'; 'under 0.01'."""
    return f"{cost:,.2f}" if cost >= 0.01 or cost == 0 else "under 0.01"


def percent(share: float | None) -> str:
    """A share in percent with one decimal; a dash where there is no number."""
    return "–" if share is None else f"{share:.1%}"
