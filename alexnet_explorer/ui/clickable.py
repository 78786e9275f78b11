"""A picture made of tiles that can be clicked: the maps of a mosaic, the positions of a map.

Streamlit's pictures do not tell where they are clicked. A tile can also be reached with the arrow keys, and is chosen
with Enter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import streamlit as st

from alexnet_explorer.inspection.mosaic import RGB
from alexnet_explorer.ui.sending import UNPACK, jpeg, pack, png


@dataclass(frozen=True)
class Grid:
    """How tiles lie in a picture, row by row: sizes in pixels of the picture."""

    count: int
    columns: int
    width: int
    height: int
    gap: int = 1


def tiles(
    picture: RGB,
    grid: Grid,
    key: str,
    alt: str,
    chosen: int | None,
    label: Callable[[int], str],
    on_choose: Callable[[int], None],
    *,
    photographs: bool = False,
) -> None:
    """Draw a picture (H, W, 3) at its own size, or as wide as there is room.

    The tile `chosen` is outlined; `label` names a tile while the pointer rests on it. `on_choose` is called with the
    number of the tile that was clicked, before the page is drawn again. `photographs` travel as a JPEG, with a fifth of
    the bytes.
    """

    def take() -> None:
        number = st.session_state[key].tile
        if isinstance(number, int) and 0 <= number < grid.count:  # it comes from a browser
            on_choose(number)

    _component()(
        key=key,
        data=pack(
            {
                "pixels": [picture.shape[1], picture.shape[0]],
                "grid": asdict(grid),
                "alt": alt,
                "chosen": chosen,
                "labels": [label(number) for number in range(grid.count)],
            },
            [jpeg(picture) if photographs else png(picture)],
        ),
        on_tile_change=take,
    )


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("alexnet_explorer_tiles", html=_HTML, css=_CSS, js=_JS)


_HTML = """
<div class="frame"><img draggable="false"><div class="mark chosen"></div><div class="mark over"></div></div>
<div class="label" aria-live="polite"></div>
"""

_CSS = """
.frame { position: relative; display: block; max-width: 100%; outline-offset: 2px; line-height: 0; cursor: pointer; }
.frame:focus-visible { outline: 2px solid var(--st-primary-color); }
img { width: 100%; height: auto; image-rendering: pixelated; user-select: none; }
.mark { position: absolute; display: none; box-sizing: border-box; pointer-events: none; }
.chosen { outline: 2px solid var(--st-primary-color); box-shadow: 0 0 0 3px white; }
.over { outline: 1px dashed black; box-shadow: 0 0 0 1px white; }
.label { min-height: 1.4em; font: 0.875rem var(--st-font); color: var(--st-text-color); opacity: 0.7; }
"""

_JS = (
    UNPACK
    + """
export default function({ data, setTriggerValue, parentElement }) {
  const { pictures, pixels, grid, alt, chosen, labels } = unpack(data);
  const frame = parentElement.querySelector(".frame"), image = frame.querySelector("img");
  const [marked, over] = frame.querySelectorAll(".mark"), label = parentElement.querySelector(".label");
  const rows = Math.ceil(grid.count / grid.columns);
  // A redrawing must not take the keys away from a visitor who has moved on meanwhile.
  if (!frame.walking || frame.at >= grid.count) frame.at = chosen ?? 0;

  show(image, pictures[0]);
  image.alt = alt;
  frame.style.width = pixels[0] + "px";
  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", alt + ". Arrow keys move, Enter chooses.");

  const place = (mark, tile) => {
    mark.style.display = tile === null || tile === undefined ? "none" : "block";
    const column = tile % grid.columns, row = Math.floor(tile / grid.columns);
    const across = (value) => 100 * value / pixels[0] + "%", down = (value) => 100 * value / pixels[1] + "%";
    mark.style.left = across(column * (grid.width + grid.gap));
    mark.style.top = down(row * (grid.height + grid.gap));
    mark.style.width = across(grid.width);
    mark.style.height = down(grid.height);
  };
  const rest = () => { place(over, null); label.textContent = chosen === null ? "" : labels[chosen]; };
  const look = (tile) => { place(over, tile); label.textContent = labels[tile]; };
  const tileOf = (event) => {
    const box = image.getBoundingClientRect();
    const x = (event.clientX - box.left) * pixels[0] / box.width;
    const y = (event.clientY - box.top) * pixels[1] / box.height;
    const column = Math.min(grid.columns - 1, Math.max(0, Math.floor(x / (grid.width + grid.gap))));
    const row = Math.min(rows - 1, Math.max(0, Math.floor(y / (grid.height + grid.gap))));
    const tile = row * grid.columns + column;
    return tile < grid.count ? tile : null;
  };

  place(marked, chosen);
  frame.walking ? look(frame.at) : rest();
  frame.onmousemove = (event) => { const tile = tileOf(event); tile === null ? rest() : look(tile); };
  frame.onmouseleave = rest;
  frame.onblur = () => { frame.walking = false; rest(); };
  const choose = (tile) => { frame.at = tile; frame.walking = false; setTriggerValue("tile", tile); };
  frame.onclick = (event) => { const tile = tileOf(event); if (tile !== null) choose(tile); };
  frame.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.columns, ArrowUp: -grid.columns }[event.key];
    if (step !== undefined) {
      if (frame.at + step >= 0 && frame.at + step < grid.count) frame.at += step;
      frame.walking = true;
      look(frame.at);
    } else if (event.key === "Enter" || event.key === " ") {
      choose(frame.at);
    } else {
      return;
    }
    event.preventDefault();
  };
}
"""
)
