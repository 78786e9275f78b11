"""Pictures that visitors bring: the right picture, or one sentence, and the visit goes on."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

COLOURS = ((220, 40, 40), (40, 200, 40), (40, 40, 220), (230, 230, 60))  # of the four quarters, row by row
GREYS = tuple((round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in COLOURS)


def quarters(colours=COLOURS, width=64, height=48):
    """A picture whose four quarters have a colour each."""
    picture = np.zeros((height, width, len(colours[0])), np.uint8)
    for place, colour in enumerate(colours):
        top, left = place // 2 * height // 2, place % 2 * width // 2
        picture[top : top + height // 2, left : left + width // 2] = colour
    return Image.fromarray(picture)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bits():
    levels = np.asarray(quarters().convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(levels), "PNG")


def transparent_palette():
    """The upper left quarter is not there: white."""
    image = quarters().quantize(4)
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


def animation():
    return encoded(quarters(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 48), "black")])


def from_a_phone():
    """Taken with the phone on its side: the file holds it turned, and says so."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it
    return encoded(quarters().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def huge_png(side=30_000):
    """A PNG that is small as a file and gigabytes as a picture."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compressobj(1)
    data = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def go_on(visitor):
    """The visitor takes a sample instead."""
    visitor.selectbox(key="lens_picture").select("flower").run()
    assert not visitor.exception
    assert visitor.link["picture"] == "flower" and visitor.drawn


@pytest.mark.parametrize(
    ("name", "file", "colours"),
    [
        ("plain.jpg", lambda: encoded(quarters(), "JPEG", quality=95), COLOURS),
        ("cmyk.jpg", lambda: encoded(quarters().convert("CMYK"), "JPEG", quality=95), COLOURS),
        ("sixteen bits.png", sixteen_bits, GREYS),
        ("grey.jpg", lambda: encoded(quarters().convert("L"), "JPEG", quality=95), GREYS),
        ("palette.png", transparent_palette, ((255, 255, 255), *COLOURS[1:])),
        ("animated.gif", animation, COLOURS),
        ("phone.jpeg", from_a_phone, COLOURS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unusual_picture_is_the_right_picture(visit, name, file, colours):
    visitor = visit("predict").upload(name, file())
    assert not visitor.exception and not visitor.error
    assert visitor.link["picture"].startswith("upload-")
    title, picture = visitor.session_state["uploads"][visitor.link["picture"]]
    assert title == name and picture.size == (64, 48)
    seen = [picture.getpixel(place) for place in ((16, 12), (48, 12), (16, 36), (48, 36))]
    assert np.abs(np.array(seen, int) - colours).max() <= 12
    go_on(visitor)


@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        ("notes.jpg", lambda: b"This is no picture.\n" * 50, "not a picture of a known format"),
        ("cut.jpg", lambda: encoded(quarters(), "JPEG")[:500], "cut off"),
        ("huge.png", huge_png, "30000×30000 pixels"),
        ("empty.png", lambda: b"", "empty"),
    ],
)
def test_what_is_no_picture_is_one_sentence(visit, name, file, reason):
    visitor = visit("predict").upload(name, file())
    assert not visitor.exception
    (error,) = visitor.complaints
    assert name in error and reason in error and "\n" not in error
    assert visitor.link["picture"] == "coffee" and visitor.drawn  # what was there before
    go_on(visitor)


def test_an_upload_follows_the_visitor(visit):
    visitor = visit("predict").upload("mine.png", encoded(quarters(), "PNG"))
    name = visitor.link["picture"]
    assert visitor.selectbox(key="lens_picture").options[0] == "mine.png"
    for page in ("activations", "home", "saliency", "predict"):
        visitor.go(page)
        assert not visitor.exception and visitor.link["picture"] == name
    assert visitor.selectbox(key="lens_picture").value == name


def test_a_new_picture_is_explained_for_what_it_is_itself(visit):
    visitor = visit("saliency", target=3).upload("mine.png", encoded(quarters(), "PNG"))
    assert "target" not in visitor.link
    assert not visitor.exception


def test_an_upload_is_nobody_elses(visit):
    mine = visit("predict").upload("mine.png", encoded(quarters(), "PNG"))
    theirs = visit("predict", picture=mine.link["picture"])
    assert theirs.link["picture"] == "coffee"
    assert "mine.png" not in theirs.selectbox(key="lens_picture").options
