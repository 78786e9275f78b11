"""What each network takes the picture for, what it saw of it, and how the paper's ten crops vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from alexnet_explorer.data.samples import SAMPLES, Truth, places
from alexnet_explorer.figures import prediction_bars
from alexnet_explorer.files import csv_text
from alexnet_explorer.inspection.mosaic import RGB, as_colours, mosaic
from alexnet_explorer.ui import downloads, exhibits, thumbnails
from alexnet_explorer.ui.exhibits import Exhibit
from alexnet_explorer.ui.text import plain
from alexnet_explorer.ui.views import COLUMN_GAP, Array, Look, Scale, View, column, enlarged, in_its_colours

if TYPE_CHECKING:
    from alexnet_explorer.inspection.predict import Prediction, TenCrops
    from alexnet_explorer.weights import LoadedModel

MOST_CLASSES = 20  # bars
PICTURE_PIXELS = 280  # side of what was seen
CROP_PIXELS = (72, 128)  # least and largest side of each of the ten


def predictions(top: int = 5) -> View[Array]:
    """The `top` most probable classes as bars, and where a sample is shown, how that compares with what it shows."""
    return View(probabilities_of, lambda look, shares, scale: _draw_predictions(look, shares, top))


def probabilities_of(look: Look) -> Array:
    """Of every class: (N,)."""
    from alexnet_explorer.inspection.predict import probabilities

    return look.remember("probabilities", lambda: probabilities(look.model, look.picture.image))


def _draw_predictions(look: Look, shares: Array, top: int) -> None:
    from alexnet_explorer.inspection.predict import best

    found = best(look.model, shares, top)
    _bars(look, found, "bars")
    st.caption(
        f"It says **{plain(found[0].label)}** with {found[0].probability:.1%}. Trained on "
        f"{plain(look.model.trained_on)}, {len(look.model.classes)} classes."
    )
    if hint := truth(look, shares):
        st.markdown(hint)
    downloads.offer(f"classes {look.model.name}", f"{look.picture.title} {look.model.title}",
                    csv=lambda: table(look.model, shares))  # fmt: skip


def _bars(look: Look, found: Sequence[Prediction], key: str) -> None:
    st.plotly_chart(
        prediction_bars(found, look.colour),
        key=f"{key} {look.model.name}",
        config={"displayModeBar": False},
        alt="; ".join(f"{p.label} {p.probability:.1%}" for p in found),
    )


def table(loaded: LoadedModel, shares: Array) -> str:
    """All classes as CSV, the most probable first."""
    from alexnet_explorer.inspection.predict import best

    rows = [(p.label, p.index, f"{p.probability:.8f}") for p in best(loaded, shares, len(shares))]
    return csv_text([("class", "index", "probability"), *rows])


def truth(look: Look, shares: Array) -> str:
    """What a picture shows, if that is known, beside what the network gives that class, in a sentence or two."""
    label, loaded = look.picture.label, look.model
    if label:  # an image of a data set
        known = Truth(plain(label), frozenset({label}))
    elif look.picture.name in SAMPLES:
        known = SAMPLES[look.picture.name].truth
    else:
        return ""
    right = places(known.classes, loaded.classes, loaded.folders)
    kin = places(known.kin, loaded.classes, loaded.folders)
    said = f"This {'image' if label else 'sample'} shows **{known.words}**"

    def given(found: Sequence[int]) -> str:
        together = " together" if len(found) > 1 else ""
        return (
            f"{_listed([loaded.classes[place] for place in found])}, which it gives {shares[found].sum():.1%}{together}"
        )

    if right:
        verdict = "Its first guess is right." if int(shares.argmax()) in right else "Its first guess is wrong."
        also = f"; near that is {given(kin)}" if kin else ""
        return f"{said}: the network has the class {given(right)}{also}. {verdict}"
    if kin:
        return (f"{said}, for which this network has no class: it cannot be right. The nearest that it has is "
                f"{given(kin)}.")  # fmt: skip
    return (f"{said}. None of this network's {len(loaded.classes)} classes is called that: it can only name what it "
            "finds most like it.")  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return " or ".join(f"“{plain(name)}”" for name in names)


# What it saw


@dataclass(frozen=True)
class Seen:
    """The picture with the frame of what is cut out of it, the crop, and the numbers (C, S, S) that go in."""

    framed: RGB
    crop: RGB
    x: Array


def _see(look: Look) -> Seen:
    from alexnet_explorer.inspection.predict import network_input, seen_box

    small = thumbnails.fitted(look.picture.image, PICTURE_PIXELS, PICTURE_PIXELS)
    box = seen_box(look.model.preprocessing, *small.size)
    pencil = ImageDraw.Draw(small)
    for inset, colour in ((0, "black"), (1, "white"), (2, "black")):
        left, top, right, bottom = (round(edge) for edge in box)
        pencil.rectangle((left + inset, top + inset, right - 1 - inset, bottom - 1 - inset), outline=colour)
    x = look.remember("input", lambda: network_input(look.model, look.picture.image))
    return Seen(np.asarray(small), look.seen(), x)


def _draw_seen(look: Look, seen: Seen, scale: Scale) -> None:
    preprocessing, name = look.model.preprocessing, look.model.name
    times = max(1, min(PICTURE_PIXELS, column(look.width)) // preprocessing.size)
    size = f"{preprocessing.size}×{preprocessing.size}"
    largest = float(np.abs(seen.x).max())
    divided = bool((preprocessing.std != 1).any())
    of_image = preprocessing.mean.shape[1] > 1
    less = "the mean image of its training pictures" if of_image else f"the mean ({_numbers(preprocessing.mean)})"
    over = f", over the deviation ({_numbers(preprocessing.std)})" if divided else ""
    ends = f"±{largest:.3g} {'deviations' if divided else 'grey levels'}"
    pictures = (
        (seen.framed, f"Your picture, {look.picture.image.width}×{look.picture.image.height} pixels; in the frame, "
         "what the network gets to see.", "The picture with a frame around what the network sees"),
        (enlarged(seen.crop, times), f"The part in the frame at {size} pixels.", f"The crop at {size} pixels"),
        (enlarged(mosaic(as_colours(seen.x[None], largest)), times),
         f"What goes in: that less {less}{over}. Grey is 0, full colour {ends}.",
         f"The crop less the mean; values from {seen.x.min():.3g} to {seen.x.max():.3g}"),
    )  # fmt: skip
    room = min(PICTURE_PIXELS, column(look.width))
    exhibits.show(f"seen {name}", [
        Exhibit(picture, caption, alt, photograph=picture is seen.framed or times == 1, room=room)
        for picture, caption, alt in pictures
    ])  # fmt: skip
    downloads.offer(
        f"seen {name}", f"{look.picture.title} as {look.model.title} sees it",
        png=lambda: mosaic(np.stack([seen.crop, _as_bytes(as_colours(seen.x[None], largest)[0])]), columns=2, gap=4),
        npz=lambda: {"crop": seen.crop, "input": seen.x},
    )  # fmt: skip


def _numbers(values: object) -> str:
    """Of each channel: '123, 117, 104'."""
    return ", ".join(f"{value:.3g}" for value in np.asarray(values).ravel())


def _as_bytes(shares: NDArray[np.floating]) -> RGB:
    return np.asarray(np.rint(shares * 255), dtype=np.uint8)


seen_view = View(_see, _draw_seen)


# Ten crops


def ten_crops_view(top: int) -> View[TenCrops]:
    """Each of the ten crops with what the network takes it for, and their average beside the centre alone."""
    return View(_ten_crops, lambda look, found, scale: _draw_ten_crops(look, found, top))


def _ten_crops(look: Look) -> TenCrops:
    from alexnet_explorer.inspection.predict import predict_ten_crops

    return look.remember("ten crops", lambda: predict_ten_crops(look.model, look.picture.image))


def _draw_ten_crops(look: Look, found: TenCrops, top: int) -> None:
    from alexnet_explorer.inspection.predict import PLACES, best

    votes = [best(look.model, shares, 1)[0] for shares in found.shares]
    average = best(look.model, found.average, top)
    side = crop_pixels(look.width)
    named = [f"{place}{mirrored}" for mirrored in ("", ", mirrored") for place in PLACES]
    exhibits.show(f"ten views {look.model.name}", [
        Exhibit(_thumbnail(in_its_colours(look.model, view), side), f"{vote.label} {vote.probability:.0%}",
                f"The crop at the {place}: {vote.label} {vote.probability:.1%}", title=f"{place}:", photograph=True,
                room=side)
        for view, place, vote in zip(found.views, named, votes, strict=True)
    ], min(len(PLACES), (column(look.width) + exhibits.GAP) // (side + exhibits.GAP)))  # fmt: skip
    agreeing = sum(vote.index == average[0].index for vote in votes)
    alone = found.shares[PLACES.index("centre"), average[0].index]
    _bars(look, average, "ten crops")
    st.caption(
        f"The average of the ten says **{plain(average[0].label)}** with {average[0].probability:.1%}; the centre "
        f"alone gives it {alone:.1%}. {agreeing} of the ten crops have it first."
    )
    downloads.offer(
        f"ten crops {look.model.name}", f"{look.picture.title} ten crops {look.model.title}",
        png=lambda: mosaic(found.views, columns=len(PLACES), gap=4), csv=lambda: votes_table(look.model, found),
    )  # fmt: skip


def votes_table(loaded: LoadedModel, found: TenCrops) -> str:
    """The crops and their average as CSV, with the first three classes of each."""
    from alexnet_explorer.inspection.predict import PLACES, best

    table = [["crop", "mirrored", *(f"{what}{n}" for n in (1, 2, 3) for what in ("class", "probability"))]]
    named = [(place, mirrored) for mirrored in ("no", "yes") for place in PLACES]
    for (place, mirrored), shares in zip([*named, ("average", "")], [*found.shares, found.average], strict=True):
        first = best(loaded, shares, 3)
        table.append([place, mirrored, *(value for p in first for value in (p.label, f"{p.probability:.6f}"))])
    return csv_text(table)


def crop_pixels(networks: int) -> int:
    """The side of each crop where so many networks stand side by side: five in a row, else three, else two."""
    least, largest = CROP_PIXELS
    sides = [column(networks) // in_a_row - COLUMN_GAP for in_a_row in (5, 3, 2)]
    return min(largest, next((side for side in sides if side >= least), sides[-1]))


def _thumbnail(view: RGB, side: int) -> RGB:
    """A crop as it is shown: a small one with its pixels repeated, a large one made smaller."""
    if len(view) <= side:
        return enlarged(view, side // len(view))
    return np.asarray(Image.fromarray(view).resize((side, side), Image.Resampling.LANCZOS))
