"""Several pictures with a few words under each, side by side as far as there is room.

As one element of the page: of its own, each picture with its caption would be three, and a page of many elements
answers slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from alexnet_explorer.inspection.mosaic import RGB
from alexnet_explorer.ui.sending import UNPACK, jpeg, pack, png


@dataclass(frozen=True)
class Exhibit:
    """A picture (H, W, 3) at its own size, what stands under it, and its text alternative: all plain text.

    A `photograph`, or a map laid over one, travels as a JPEG, with a fifth of the bytes. `room`: pixels for the words,
    where the picture is narrower.
    """

    picture: RGB
    caption: str
    alt: str
    title: str = ""  # before the caption, in bold
    photograph: bool = False
    room: int = 0


GAP = 12  # pixels between two


def show(key: str, exhibits: Sequence[Exhibit], in_a_row: int | None = None) -> None:
    """Draw them, at most so many `in_a_row`, which then is as wide as they are."""
    rooms = [max(one.room, one.picture.shape[1]) for one in exhibits]
    _component()(
        key=key,
        width=in_a_row * max(rooms) + (in_a_row - 1) * GAP if in_a_row else "stretch",
        data=pack(
            {
                "exhibits": [
                    {
                        "caption": one.caption,
                        "alt": one.alt,
                        "title": one.title,
                        "width": one.picture.shape[1],
                        "height": one.picture.shape[0],
                        "room": room,
                    }
                    for one, room in zip(exhibits, rooms, strict=True)
                ],
            },
            [jpeg(one.picture) if one.photograph else png(one.picture) for one in exhibits],
        ),
    )


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("alexnet_explorer_exhibits", html=_HTML, css=_CSS, js=_JS)


_HTML = '<div class="row"></div>'

_CSS = """
.row { display: flex; flex-wrap: wrap; gap: 12px; }
figure { margin: 0; max-width: 100%; }
img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; }
figcaption { margin-top: 4px; font: 0.875rem/1.4 var(--st-font); color: var(--st-text-color); opacity: 0.7;
  overflow-wrap: anywhere; }
"""

_JS = (
    UNPACK
    + """
export default function({ data, parentElement }) {
  const { exhibits, pictures } = unpack(data);
  const row = parentElement.querySelector(".row");
  while (row.children.length > exhibits.length) row.lastChild.remove();
  exhibits.forEach((one, number) => {
    let figure = row.children[number];
    if (!figure) {
      figure = document.createElement("figure");
      const words = document.createElement("figcaption");
      words.append(document.createElement("b"), document.createElement("span"));
      figure.append(document.createElement("img"), words);
      row.append(figure);
    }
    const [image, words] = figure.children;
    figure.style.width = one.room + "px";
    image.width = one.width;
    image.height = one.height;
    image.alt = one.alt;
    show(image, pictures[number]);
    words.children[0].textContent = one.title;
    words.children[1].textContent = (one.title && one.caption ? " " : "") + one.caption;
  });
}
"""
)
