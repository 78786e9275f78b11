"""Small pictures with a few words under each, to choose one of; where there is little room they stand in one row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from alexnet_explorer.ui.sending import UNPACK, pack


@dataclass(frozen=True)
class Card:
    """A picture as the bytes of a PNG file, its name, and one line or two about it."""

    png: bytes
    title: str
    about: str
    fixed: bool = False  # nothing to choose


def choose(key: str, cards: Sequence[Card], chosen: int | None, on_choose: Callable[[int], None]) -> None:
    """Draw the cards, the `chosen` one outlined; `on_choose` is called with the number of the one that was clicked."""

    def take() -> None:
        number = st.session_state[key].card
        if isinstance(number, int) and 0 <= number < len(cards) and not cards[number].fixed:  # it comes from a browser
            on_choose(number)

    _component()(
        key=key,
        data=pack(
            {"chosen": chosen, "cards": [{"title": c.title, "about": c.about, "fixed": c.fixed} for c in cards]},
            [card.png for card in cards],
        ),
        on_card_change=take,
    )


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("alexnet_explorer_cards", html=_HTML, css=_CSS, js=_JS)


_HTML = '<div class="room"><div class="cards"></div></div>'

_CSS = """
.room { container-type: inline-size; }
.cards { display: flex; flex-wrap: wrap; gap: 4px; padding: 3px; }
@container (max-width: 420px) { .cards { flex-wrap: nowrap; overflow-x: auto; } }
button { flex: none; width: 80px; display: flex; flex-direction: column; align-items: center; padding: 3px;
  border: 1px solid transparent; border-radius: 4px; background: none; cursor: pointer;
  color: var(--st-text-color); font: 0.75rem/1.3 var(--st-font); text-align: center; }
button:hover:enabled { border-color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); }
button[aria-pressed=true] { border-color: var(--st-primary-color);
  background: color-mix(in srgb, var(--st-primary-color) 15%, transparent); }
button:disabled { cursor: default; }
img { width: 72px; height: 72px; object-fit: none; }
span { opacity: 0.7; font-size: 0.6875rem; white-space: pre-line; }
"""

_JS = (
    UNPACK
    + """
export default function({ data, setTriggerValue, parentElement }) {
  const { cards, chosen, pictures } = unpack(data);
  const frame = parentElement.querySelector(".cards");
  // What is there is changed rather than made anew, so that the one with the keyboard's focus keeps it.
  while (frame.children.length > cards.length) frame.lastChild.remove();
  cards.forEach((card, number) => {
    let button = frame.children[number];
    if (!button) {
      button = document.createElement("button");
      button.append(...["img", "b", "span"].map((tag) => document.createElement(tag)));
      frame.append(button);
    }
    const [image, title, about] = button.children;
    show(image, pictures[number]);
    image.alt = "";
    title.textContent = card.title;
    about.textContent = card.about;
    button.disabled = card.fixed;
    button.setAttribute("aria-pressed", number === chosen);
    button.onclick = () => setTriggerValue("card", number);
  });
  const now = frame.children[chosen];
  if (now && frame.scrollWidth > frame.clientWidth) {
    frame.scrollLeft = now.offsetLeft - (frame.clientWidth - now.offsetWidth) / 2;
  }
}
"""
)
