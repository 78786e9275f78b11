"""Which number the page Arithmetic explains, and by which numbers the visitor came to it: in the session, in the link.

Layer and unit are the lens's; the page adds the position (`at=ROW,COLUMN`), the numbers on the way
(`via=LAYER:UNIT:ROW:COLUMN,…`), and of a convolution the input map that is shown (`map`), or the pixel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import streamlit as st

from alexnet_explorer.inspection.steps import PIXELS, Outputs, Place, before, exists, strongest
from alexnet_explorer.ui import lens, own_link

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet

_KEY = "arithmetic_trail"
NAMES = ("at", "via", "map", "pixel")
_NUMBERS = re.compile(r"\d{1,6}(,\d{1,6})*")
_PLACE = re.compile(r"([a-z]+\d+):(\d{1,6}):(\d{1,6}):(\d{1,6})")


@dataclass(frozen=True)
class Trail:
    """The place of a number. `chosen`: its position was, else it is the strongest of its map."""

    place: Place
    chosen: bool = False
    via: tuple[Place, ...] = ()  # the first is where the visitor began; each is made of the next one, among others
    map: int | None = None  # the input map that is shown in detail; None: that which contributes most
    pixel: Place | None = None  # of the first convolution's patch; None: that which contributes most


def read(query: Mapping[str, str], model: AlexNet, outputs: Outputs, layer: str, unit: int) -> Trail:
    """The trail of a link's query, at a unit of a layer. What does not fit this network counts as not given."""
    at = _numbers(query.get("at", ""), 2)
    place = Place(layer, unit, *at)
    chosen = bool(at) and outputs[layer].ndim == 3 and exists(model, place)
    if not chosen:
        place = strongest(outputs[layer], layer, unit)
    via = tuple(Place(found[1], *map(int, found.groups()[1:])) for found in _PLACE.finditer(query.get("via", "")))
    whole = all(exists(model, one) for one in via) and all(
        before(model, one.layer) == other.layer for one, other in pairwise((*via, place))
    )
    number, pixel = _numbers(query.get("map", ""), 1), _numbers(query.get("pixel", ""), 3)
    return Trail(
        place, chosen, via if whole else (), number[0] if number else None, Place(PIXELS, *pixel) if pixel else None
    )


def write(trail: Trail) -> dict[str, str]:
    """The query of a link that reopens it; what is not chosen is empty."""
    place, pixel = trail.place, trail.pixel
    return {
        "at": f"{place.row},{place.column}" if trail.chosen else "",
        "via": ",".join(f"{one.layer}:{one.unit}:{one.row}:{one.column}" for one in trail.via),
        "map": "" if trail.map is None else str(trail.map),
        "pixel": f"{pixel.unit},{pixel.row},{pixel.column}" if pixel else "",
    }


def _numbers(text: str, count: int) -> tuple[int, ...]:
    """So many numbers with commas between; none where it is anything else."""
    numbers = tuple(map(int, text.split(","))) if _NUMBERS.fullmatch(text) else ()
    return numbers if len(numbers) == count else ()


def current(model: AlexNet, outputs: Outputs, layer: str, unit: int) -> Trail:
    """This session's trail, as far as it belongs to this unit of this layer; the link is brought in line.

    Another unit, chosen above, is looked at in the same position; another layer where it is strongest.
    """
    given = {name: own_link.start(name, "", str, _KEY) for name in NAMES}
    here = {"layer": layer, "unit": str(unit)}
    kept: dict[str, str] = st.session_state.get(_KEY, here | given)
    if kept["layer"] != layer:
        kept = {}
    elif kept["unit"] != str(unit):
        kept = {"at": kept["at"]}
    trail = read(kept, model, outputs, layer, unit)
    st.session_state[_KEY] = here | write(trail)
    for name, value in write(trail).items():
        own_link.write(name, value or None)
    return trail


def change(trail: Trail) -> None:
    """Explain this from now on."""
    lens.change(layer=trail.place.layer, unit=trail.place.unit)
    st.session_state[_KEY] = {"layer": trail.place.layer, "unit": str(trail.place.unit)} | write(trail)


def go(trail: Trail, place: Place) -> None:
    """On to a number that this one is made of."""
    change(Trail(place, chosen=True, via=(*trail.via, trail.place)))


def back(trail: Trail, steps: int) -> None:
    """Back to the number that stands so many steps before the end of the way."""
    change(Trail(trail.via[-steps], chosen=True, via=trail.via[:-steps]))


def move(trail: Trail, row: int, column: int) -> None:
    """To another position of the same map, which begins the way anew."""
    change(Trail(replace(trail.place, row=row, column=column), chosen=True))
