"""From arrays to pictures: colours, mosaics of maps and kernels, maps laid over a photograph.

Signed values are drawn in 'diverging', blue for negative and red for positive, white at zero; magnitudes in
'viridis' or 'magma', which grow lighter evenly. All three read the same to colour-blind visitors.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colormap = Literal["viridis", "magma", "diverging", "grey"]
RGB = NDArray[np.uint8]

# Evenly spaced points of the published tables: Smith and van der Walt's viridis and magma, ColorBrewer's RdBu.
_ANCHORS: dict[Colormap, str] = {
    "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    "magma": "000004 180f3d 440f76 721f81 9e2f7f cd4071 f1605d fd9668 feca8d fcfdbf",
    "diverging": "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
    "grey": "000000 ffffff",
}
# A grey that is in no coloured table: a diverged network's NaN shows.
_NO_NUMBER = np.array([128, 128, 128], dtype=np.uint8)
# How far along the diverging map's ends `overlay` goes: its darkest blue and its darkest red, over a picture, look
# alike to who sees no red.
_ENDS_OVER_A_PICTURE = 0.8
TITLE_PIXELS = 22  # height of the strip that `titled` puts above a picture


def colour_table(colormap: Colormap) -> RGB:
    """The 256 colours of a map, from its lowest value to its highest: (256, 3)."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _ANCHORS[colormap].split()], dtype=np.float64)
    place = np.linspace(0, 1, 256)
    points = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(place, points, channel) for channel in anchors.T], axis=1).round().astype(np.uint8)


def limits(values: NDArray[np.floating | np.uint8], colormap: Colormap = "viridis") -> tuple[float, float]:
    """The values that get the first and the last colour: to state under a picture, or to share between several.

    Diverging: the largest |value| on either side of zero; else the smallest and the largest value.
    Values that are not finite do not count.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    if colormap == "diverging":
        largest = float(np.abs(finite).max())
        return -largest, largest
    return float(finite.min()), float(finite.max())


def scale_of(arrays: Iterable[NDArray[np.floating]]) -> tuple[float, float]:
    """One scale for several arrays: about zero where any value is below it, else from zero to the largest."""
    ends = [limits(values) for values in arrays]
    low, high = min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)
    return (-max(-low, high), max(-low, high)) if low < 0 else (0.0, high)


def colormap_of(scale: tuple[float, float]) -> Colormap:
    """The colours for such a scale: a diverging map where it goes below zero."""
    return "diverging" if scale[0] < 0 else "viridis"


def colourise(
    values: NDArray[np.floating | np.uint8],
    colormap: Colormap = "viridis",
    vmin: float | None = None,
    vmax: float | None = None,
) -> RGB:
    """Values of any shape in colour: (…,) → (…, 3). Beyond `vmin` and `vmax`, by default `limits`, the ends' colours.

    Where all values are equal they get the middle of a diverging map (so zero is white), the first colour of
    another. What is not a number is grey.
    """
    low, high = limits(values, colormap)
    low, high = low if vmin is None else vmin, high if vmax is None else vmax
    middle = 0.5 if colormap == "diverging" else 0.0
    share = (values - low) / (high - low) if high > low else np.full(values.shape, middle)
    known = ~np.isnan(values)
    index = np.rint(np.clip(np.where(known, share, 0), 0, 1) * 255).astype(np.uint8)
    colours: RGB = colour_table(colormap).take(index, axis=0)
    colours[~known] = _NO_NUMBER
    return colours


def mosaic(
    tiles: NDArray[np.floating | np.uint8],
    columns: int | None = None,
    gap: int = 1,
    zoom: int = 1,
    colormap: Colormap = "viridis",
    vmin: float | None = None,
    vmax: float | None = None,
) -> RGB:
    """Many small maps as one picture, row by row: (N, h, w) or (N, h, w, 3) → (H, W, 3).

    Maps are coloured with one scale for all (`colourise`); tiles with three channels are RGB already, uint8 or
    0–1. A pixel becomes a block of `zoom`×`zoom`; tiles are `gap` pixels of the result apart, and as many in a
    row as make the mosaic square, or `columns`.
    """
    pictures = colourise(tiles, colormap, vmin, vmax) if tiles.ndim == 3 else _as_bytes(tiles)
    pictures = pictures.repeat(zoom, axis=1).repeat(zoom, axis=2)
    count, height, width, _ = pictures.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    # White is the middle of the diverging map, so that its tiles are told apart by black.
    background = 0 if colormap == "diverging" and tiles.ndim == 3 else 255
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    result = np.full(shape, background, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        result[top : top + height, left : left + width] = picture
    result[(rows - 1) * (height + gap) :, (count - 1) % columns * (width + gap) + width :] = 255  # where no tile is
    return result


def fitted(pictures: RGB, side: int) -> RGB:
    """Pictures (N, h, w, 3) in squares of one size, (N, side, side, 3), with white around them.

    A pixel is repeated as often as there is room; larger pictures are averaged down.
    """
    zoom = side // max(pictures.shape[1:3])
    if zoom:
        enlarged = pictures.repeat(zoom, axis=1).repeat(zoom, axis=2)
    else:
        height, width = (max(1, length * side // max(pictures.shape[1:3])) for length in pictures.shape[1:3])
        enlarged = np.stack([
            np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BOX)) for one in pictures
        ])  # fmt: skip
    count, height, width, _ = enlarged.shape
    result = np.full((count, side, side, 3), 255, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    result[:, top : top + height, left : left + width] = enlarged
    return result


def named_grid(tiles: RGB, rows: Sequence[str], columns: Sequence[str], gap: int = 6) -> RGB:
    """Tiles (rows, columns, h, w, 3) as one white sheet (H, W, 3), a name before each row and above each column."""
    across, height, width = tiles.shape[1:4]
    font = ImageFont.load_default(12)
    left = gap + math.ceil(max(map(font.getlength, rows), default=0))
    top = 18
    grid = mosaic(tiles.reshape(-1, height, width, 3), across, gap)
    sheet = Image.new("RGB", (left + grid.shape[1], top + grid.shape[0]), "white")
    sheet.paste(Image.fromarray(grid), (left, top))
    draw = ImageDraw.Draw(sheet)
    for number, name in enumerate(columns):
        draw.text((left + number * (width + gap) + width / 2, top / 2), name, "black", font, "mm")
    for number, name in enumerate(rows):
        draw.text((0, top + number * (height + gap) + height / 2), name, "black", font, "lm")
    return np.asarray(sheet)


def _as_bytes(pictures: NDArray[np.floating | np.uint8]) -> RGB:
    if pictures.dtype == np.uint8:
        return pictures.astype(np.uint8)
    shares = np.nan_to_num(np.clip(pictures, 0, 1), nan=0.5)
    return np.asarray(np.rint(shares * 255), dtype=np.uint8)


def as_colours(weights: NDArray[np.float32], scale: float | None = None) -> NDArray[np.float32]:
    """Kernels (K, 3 or 1, kh, kw) as RGB pictures in 0–1: (K, kh, kw, 3); grey where the picture is grey.

    All kernels share one scale, symmetrical about zero: a weight of 0 is drawn as 0.5, one of `scale` as 1,
    one of −`scale` as 0. By default `scale` is the largest |weight|; give the largest of several networks to
    compare them. The weights apply to normalised pixels.
    """
    largest = scale or float(np.abs(weights).max()) or 1.0
    pictures: NDArray[np.float32] = np.clip(0.5 + weights / (2 * largest), 0, 1)
    return np.moveaxis(pictures, 1, -1).repeat(3 // weights.shape[1], axis=-1)


def own_scales(tiles: NDArray[np.floating]) -> NDArray[np.floating]:
    """Maps (N, h, w), each divided by its own largest |value|, to be drawn from −1 or 0 to 1; zero stays zero."""
    magnitudes = np.where(np.isfinite(tiles), np.abs(tiles), 0).max(axis=(1, 2), keepdims=True)
    return tiles / np.where(magnitudes > 0, magnitudes, 1)


def heat_limit(heat: NDArray[np.floating]) -> float:
    """The |value| that `overlay` draws in full strength: the 99th percentile, or one pixel would leave the rest dark.

    Where fewer than one value in a hundred is not zero it is the largest |value|; values that are not finite do
    not count.
    """
    magnitudes = np.abs(heat[np.isfinite(heat)])
    return float(np.percentile(magnitudes, 99) or magnitudes.max()) if magnitudes.size else 0.0


def overlay(
    picture: RGB, heat: NDArray[np.floating], signed: bool, alpha: float = 0.6, limit: float | None = None
) -> RGB:
    """An attribution map laid over its picture in grey: (H, W, 3) uint8 and (h, w) → (H, W, 3).

    The map is resized bilinearly and makes up a share of `alpha` of the result. A signed map is diverging from
    −`limit` (blue, against the class) to `limit` (red, for it), without the darkest ends of these colours; another
    one is magma from 0 to `limit`; by default `heat_limit`.
    """
    limit = heat_limit(heat) if limit is None else limit
    resized = Image.fromarray(np.nan_to_num(heat).astype(np.float32)).resize(
        (picture.shape[1], picture.shape[0]), Image.Resampling.BILINEAR
    )
    values = np.asarray(resized)
    if signed:
        end = limit / _ENDS_OVER_A_PICTURE
        colours = colourise(np.clip(values, -limit, limit), "diverging", -end, end)
    else:
        colours = colourise(values, "magma", 0.0, limit)
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    return np.rint(np.float32(1 - alpha) * grey + np.float32(alpha) * colours).astype(np.uint8)


def encircled(picture: RGB, mask: NDArray[np.bool_]) -> RGB:
    """A copy of a picture (H, W, 3) with a line around a part of it, white with black inside.

    The mask (h, w) is enlarged to the picture.
    """
    height, width = picture.shape[:2]
    size = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    inside = np.asarray(size, dtype=bool)
    thick = max(1, max(height, width) // 256)
    result = picture.copy()
    core = inside
    for _ in range(thick):
        core = _eroded(core)
    result[inside & ~core] = 0
    around = inside
    for _ in range(thick):
        around = ~_eroded(~around)
    result[around & ~inside] = 255
    return result


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the pixels that have one beside them that is not part of it."""
    padded = np.pad(mask, 1, mode="edge")
    result: NDArray[np.bool_] = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return result


def titled(picture: RGB, title: str) -> RGB:
    """A picture (H, W, 3) under a white strip with its title, cut off where there is no room: (H + 22, W, 3)."""
    title = title.replace("×", "x")  # which Pillow's own font does not have
    font = ImageFont.load_default(13)
    width = picture.shape[1]
    if font.getlength(title) > width:
        while title and font.getlength(f"{title}…") > width:
            title = title[:-1]
        title = f"{title.rstrip()}…"
    strip = Image.new("RGB", (width, TITLE_PIXELS), "white")
    ImageDraw.Draw(strip).text((width / 2, TITLE_PIXELS / 2), title, "black", font, "mm")
    return np.concatenate([np.asarray(strip), picture])


def sheet(pictures: Sequence[tuple[str, RGB]], columns: int) -> RGB:
    """Pictures of one size (H, W, 3) with their titles, row by row on one white sheet."""
    return mosaic(np.stack([titled(picture, title) for title, picture in pictures]), columns, gap=8)


def outlined(picture: RGB, top: int, left: int, bottom: int, right: int) -> RGB:
    """A copy of a picture with a rectangle's border in it, white with black inside, which shows on any colours.

    `bottom` and `right` are not part of the rectangle.
    """
    result = picture.copy()
    part = result[top:bottom, left:right]
    for border, thick, shade in ((part[2:-2, 2:-2], 1, 0), (part, 2, 255)):
        border[:thick] = border[-thick:] = shade
        border[:, :thick] = border[:, -thick:] = shade
    return result


def to_png(picture: RGB) -> bytes:
    """(H, W, 3) uint8 as the bytes of a PNG file, with a palette where 256 colours are enough.

    That loses nothing; a mosaic of maps becomes half as large, in a fraction of the time.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if colours := image.getcolors(256):
        image = _with_palette(picture, np.array([colour for _, colour in colours], dtype=np.uint8))
    image.save(buffer, "PNG")
    return buffer.getvalue()


def to_jpeg(picture: RGB) -> bytes:
    """(H, W, 3) uint8 as the bytes of a JPEG file: a fifth of the PNG of a photograph. Edges keep their colours."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def _with_palette(picture: RGB, colours: RGB) -> Image.Image:
    """A picture as indices of these colours (N, 3), which are all that it has."""
    codes = _codes(colours)
    order = np.argsort(codes)
    image = Image.fromarray(np.searchsorted(codes[order], _codes(picture)).astype(np.uint8))
    image.putpalette(colours[order].tobytes())
    return image


def _codes(colours: RGB) -> NDArray[np.uint32]:
    """One number for each colour: (…, 3) → (…)."""
    padded = np.zeros((*colours.shape[:-1], 4), dtype=np.uint8)
    padded[..., :3] = colours
    return padded.view(np.uint32)[..., 0]
