"""A file of a visitor → an RGB picture, or one sentence that says why not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import jpeg_factory
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAX_BYTES = 20 * 1024**2
MAX_PIXELS = 50_000_000
MAX_SIDE = 1024
"""Larger pictures are shrunk to this longest side, so that pages stay quick."""

# The readers are called one by one, not through Image.open: that warns of pictures far above MAX_PIXELS, and a
# warning can be silenced for the whole process only.
_READERS: tuple[tuple[bytes, Callable[[BytesIO], ImageFile]], ...] = (
    (b"\xff\xd8\xff", jpeg_factory),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF8", GifImageFile),
    (b"RIFF", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
)
# What Pillow raises on damaged files; the last one where the application turns warnings into errors.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    NotImplementedError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip


class ImageError(ValueError):
    """A picture that cannot be read; one sentence for a visitor, which names the file and says what to do."""


def read_image(data: bytes, name: str = "") -> Image.Image:
    """The picture in a JPEG, PNG, GIF, WebP, BMP or TIFF file, as RGB with a longest side of at most `MAX_SIDE`.

    Turned as its EXIF data say; of an animation the first frame; transparency is laid on white. Sixteen bits are
    scaled to eight, numbers without a fixed range (float TIFF) by their largest and smallest where they leave 0–1
    and 0–255. Raises ImageError.
    """
    image = _read(data, name, MAX_SIDE)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return image


def read_square(data: bytes, name: str, size: int) -> Image.Image:
    """As `read_image`, with the short side resized to `size` and the centre cut out: (size, size), RGB."""
    image = _read(data, name, 2 * size)
    if image.size == (size, size):
        return image
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short))


def picture_size(data: bytes, name: str = "") -> tuple[int, int]:
    """Width and height in pixels as the file states them, before any rotation, from its header alone.

    Raises ImageError.
    """
    return _open(data, name).size


def _open(data: bytes, name: str) -> ImageFile:
    """The header is read and the limits are checked; no pixel is decoded."""
    shown = _shown(name)
    if not data:
        raise ImageError(f"{shown} is empty: choose another file.")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{shown} has {len(data) / 1e6:.0f} MB, and pictures of at most {MAX_BYTES / 1e6:.0f} MB "
                         "are read: save it smaller.")  # fmt: skip
    reader = next((reader for signature, reader in _READERS if data.startswith(signature)), None)
    if reader is None:
        raise ImageError(f"{shown} is not a picture of a known format: use JPEG, PNG, GIF, WebP, BMP or TIFF.")
    limit = f"and pictures of at most {MAX_PIXELS // 10**6} million pixels are read: save it smaller."
    try:
        image = reader(BytesIO(data))
    except Image.DecompressionBombError:  # some readers look themselves, with a higher limit
        raise ImageError(f"{shown} has too many pixels, {limit}") from None
    except _DAMAGED:
        raise ImageError(_unreadable(shown)) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{shown} has {width}×{height} pixels, {limit}")
    if not width * height:
        raise ImageError(_unreadable(shown))
    return image


def _read(data: bytes, name: str, enough: int) -> Image.Image:
    """RGB, at its own size; a JPEG whose sides are several times `enough` is decoded at a half, quarter or eighth."""
    image = _open(data, name)
    try:
        image.draft(None, (enough, enough))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)
    except _DAMAGED:
        raise ImageError(_unreadable(_shown(name))) from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_to_8_bits(np.asarray(image, np.float64))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(layer, mask=layer)
        return white
    return image.convert("RGB")


def _to_8_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey values of an unstated range: 0–1, 0–255 or 0–65535 if they fit, else from the lowest to the highest."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 65535:
        low, high = 0.0, next(limit for limit in (1.0, 255.0, 65535.0) if high <= limit)
    return np.rint((values - low) * (255 / (high - low or 1))).astype(np.uint8)


def _shown(name: str) -> str:
    name = "".join(c if c.isprintable() else "?" for c in name)
    if not name:
        return "The file"
    return name if len(name) <= 80 else f"{name[:50]}…{name[-25:]}"


def _unreadable(shown: str) -> str:
    return f"{shown} is damaged, cut off, or of a kind that cannot be read: save it again as JPEG or PNG."
