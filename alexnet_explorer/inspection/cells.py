"""A few numbers as a picture: a cell each, in colour, with the number written in it where there is room."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .mosaic import RGB, Colormap, colourise

GAP = 1  # pixels between cells
LARGEST = 56  # pixels of a cell's side
LEGIBLE = 38  # the least side of a cell in which a number can be read
CAPTION = 18  # pixels of the line below a tile
_LINES, _PADDING, _HATCH = 128, 236, 188  # greys
_FONT_SIZE = 12


def side(columns: int, space: int) -> int:
    """The side of cells of which so many stand in a row of `space` pixels."""
    return max(3, min(LARGEST, (space + GAP) // columns - GAP))


def cells(
    values: NDArray[np.floating],
    size: int,
    colormap: Colormap,
    vmin: float,
    vmax: float,
    inside: NDArray[np.bool_] | None = None,
) -> RGB:
    """Numbers (h, w) as squares of `size` pixels, `GAP` apart: (H, W, 3).

    From `LEGIBLE` on each has its number in it, with as many decimals as the largest needs for three digits. Where
    `inside` (h, w) is False there is padding: hatched.
    """
    height, width = values.shape
    step = size + GAP
    shades = colourise(values, colormap, vmin, vmax)
    image = Image.new("RGB", (width * step - GAP, height * step - GAP), (_LINES, _LINES, _LINES))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT_SIZE)
    decimals = places(float(np.abs(values[np.isfinite(values)]).max(initial=0.0)))
    for row, column in np.ndindex(height, width):
        left, top = column * step, row * step
        padding = inside is not None and not inside[row, column]
        shade = _hatched(size) if padding else Image.new("RGB", (size, size), tuple(shades[row, column].tolist()))
        image.paste(shade, (left, top))
        if size >= LEGIBLE:
            dark = padding or np.dot(shades[row, column], (0.299, 0.587, 0.114)) > 128
            text = "0" if padding else _drawn(written(float(values[row, column]), decimals))
            middle = (left + size / 2, top + size / 2)
            draw.text(middle, text, fill="black" if dark else "white", font=font, anchor="mm")
    return np.asarray(image)


def captioned(tiles: Sequence[RGB], captions: Sequence[str], width: int, columns: int) -> RGB:
    """Pictures of one size, each in the middle of `width` pixels with a line of text below, row by row, on white."""
    height = tiles[0].shape[0] + CAPTION
    rows = math.ceil(len(tiles) / columns)
    shape = (min(columns, len(tiles)) * (width + GAP) - GAP, rows * (height + GAP) - GAP)
    image = Image.new("RGB", shape, (255, 255, 255))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT_SIZE)
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left, top = number % columns * (width + GAP), number // columns * (height + GAP)
        image.paste(Image.fromarray(tile), (left + (width - tile.shape[1]) // 2, top))
        draw.text((left + width / 2, top + height - CAPTION / 2), _drawn(caption), fill="black", font=font, anchor="mm")
    return np.asarray(image)


def sheet(pictures: Sequence[RGB]) -> RGB:
    """Pictures below one another on white, each at its own size."""
    width = max(picture.shape[1] for picture in pictures)
    padded = [
        np.pad(picture, ((0, 12), (0, width - picture.shape[1]), (0, 0)), constant_values=255) for picture in pictures
    ]
    return np.concatenate(padded)


def places(largest: float, digits: int = 3) -> int:
    """The decimals with which a number has so many digits, from 0 to 9: 2 for 1.23 with three, 4 for 0.0123."""
    if not math.isfinite(largest) or largest <= 0:
        return 0
    return min(9, max(0, digits - 1 - math.floor(math.log10(largest))))


def written(value: float, decimals: int) -> str:
    """A number with so many decimals, and a true minus; nothing below half of the last one has a sign."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _drawn(text: str) -> str:
    return text.replace("−", "-")  # which Pillow's own font lacks


def _hatched(size: int) -> Image.Image:
    diagonal = np.add.outer(np.arange(size), np.arange(size)) % 6 == 0
    return Image.fromarray(np.where(diagonal, _HATCH, _PADDING).astype(np.uint8)).convert("RGB")
