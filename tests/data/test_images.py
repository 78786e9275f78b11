import io
import struct
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet_explorer.data.images import MAX_BYTES, MAX_SIDE, ImageError, picture_size, read_image, read_square

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photograph(width=60, height=40):
    """A smooth picture, which every format keeps nearly as it is: red to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], -1).astype(np.uint8))


def png(width, height, rows=b"", bits=8, colour=0):
    """A PNG file made by hand; `rows` are the scanlines, each after a filter byte."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pixels(data):
    image = read_image(data, "picture")
    assert image.mode == "RGB"
    return np.asarray(image)


def close(data, expected, tolerance=6):
    assert np.abs(pixels(data).astype(int) - np.asarray(expected)).max() <= tolerance


# Right pictures


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_its_pixels(kind):
    best = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    image = photograph() if kind != "GIF" else photograph().quantize(256)
    close(encode(image, kind, **best), image.convert("RGB"))


@pytest.mark.parametrize("kind", ("JPEG", "PNG", "WEBP", "TIFF"))
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phone_picture_is_turned_as_its_exif_says(kind, orientation):
    upright = photograph()
    # What a camera stores so that the named turn brings it upright (EXIF 2.3, 4.6.4): the inverse of each.
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = upright.transpose(stored) if stored is not None else upright
    best = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    close(encode(image, kind, exif=exif, **best), upright)


def test_a_compressed_tiff_is_turned_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photograph().transpose(Image.Transpose.ROTATE_90), "TIFF", exif=exif, compression="tiff_lzw")
    close(data, photograph(), 0)


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        close(data, np.full((10, 20, 3), (255, 0, 0)), 0)


def test_cmyk():
    for colour in ("red", "white", "black", "blue"):
        image = Image.new("RGB", (16, 16), colour)
        close(encode(image.convert("CMYK"), "JPEG", quality=95), image, 8)


def test_greyscale_and_black_and_white():
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    close(encode(grey), np.repeat(np.asarray(grey)[..., None], 3, -1), 0)
    chequered = Image.fromarray(np.indices((8, 8)).sum(0) % 2 == 0)
    close(encode(chequered), np.repeat(np.asarray(chequered)[..., None] * 255, 3, -1), 0)


def test_transparency_is_laid_on_white():
    colour = np.zeros((1, 3, 4), np.uint8)
    colour[0] = (255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 255, 128)
    on_white = np.array([[(255, 0, 0), (255, 255, 255), (127, 127, 255)]])
    close(encode(Image.fromarray(colour)), on_white, 1)
    close(encode(Image.fromarray(colour), "WEBP", lossless=True, exact=True), on_white, 1)

    grey = np.array([[[0, 255], [0, 0], [100, 128]]], np.uint8)  # LA
    close(encode(Image.fromarray(grey)), np.array([[[0] * 3, [255] * 3, [177] * 3]]), 1)


def test_a_palette_with_transparency():
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    close(encode(image, transparency=1), [[(255, 0, 0), (255, 255, 255), (0, 0, 255)]], 0)
    close(encode(image, "GIF", transparency=1), [[(255, 0, 0), (255, 255, 255), (0, 0, 255)]], 0)
    close(encode(image, transparency=bytes([255, 128, 0])), [[(255, 0, 0), (127, 255, 127), (255, 255, 255)]], 1)


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 256, 257, 1000, 32767, 65535]], np.uint16)
    expected = np.rint(values / 257)
    grey = np.repeat(expected[..., None], 3, -1)
    close(encode(Image.fromarray(values)), grey, 0)
    close(encode(Image.fromarray(values), "TIFF"), grey, 0)
    colour = np.stack([values, values[:, ::-1], values], -1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    close(png(6, 1, rows, bits=16, colour=2), np.rint(colour / 257), 1)  # Pillow takes the high byte


def test_float_tiffs_are_scaled_by_their_range():
    shares = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    grey = np.repeat(np.rint(shares * 255)[..., None], 3, -1)
    for values in (shares, shares * 255, shares * 65535, shares * 3e6 - 1e6):
        close(encode(Image.fromarray(values), "TIFF"), grey, 1)
    close(encode(Image.fromarray((np.rint(shares * 65535)).astype(np.int32)), "TIFF"), grey, 1)
    constant = np.array([[0, np.nan], [np.inf, 0]], np.float32)
    close(encode(Image.fromarray(constant), "TIFF"), np.zeros((2, 2, 3)), 0)


@pytest.mark.parametrize(("size", "shown"), [((1, 5000), (1, MAX_SIDE)), ((5000, 1), (MAX_SIDE, 1)), ((1, 1), (1, 1))])
def test_extreme_shapes(size, shown):
    assert read_image(encode(Image.new("RGB", size, "teal"))).size == shown


@pytest.mark.parametrize("kind", ("JPEG", "PNG"))
def test_large_pictures_are_shrunk_in_proportion(kind):
    image = read_image(encode(photograph(3000, 1500), kind))
    assert image.size == (MAX_SIDE, MAX_SIDE // 2)
    small = np.asarray(photograph(MAX_SIDE, MAX_SIDE // 2)).astype(int)
    assert np.abs(np.asarray(image) - small).mean() < 2


def test_squares_are_the_centre_at_the_size_asked_for():
    data = encode(photograph(90, 30))
    expected = np.asarray(photograph(90, 30).crop((30, 0, 60, 30)).resize((15, 15), Image.Resampling.BILINEAR))
    assert np.abs(np.asarray(read_square(data, "", 15)).astype(int) - expected).max() <= 1
    assert np.array_equal(np.asarray(read_square(encode(photograph(30, 30)), "", 30)), np.asarray(photograph(30, 30)))
    assert read_square(encode(photograph(1, 3000)), "", 64).size == (64, 64)
    large = photograph(900, 640)  # decoded at a quarter of its size
    expected = np.asarray(large.crop((130, 0, 770, 640)).resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(np.asarray(read_square(encode(large, "JPEG", quality=95), "", 64)) - expected).max() <= 6


def test_the_size_is_read_from_the_header():
    for kind in FORMATS:
        assert picture_size(encode(photograph(), kind)) == (60, 40)
    assert picture_size(encode(photograph(), "PNG")[:60]) == (60, 40)


# Clear sentences


def refused(data, *words, name="holiday.jpg"):
    with pytest.raises(ImageError) as caught:
        read_image(data, name)
    sentence = str(caught.value)
    assert sentence.startswith(name)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 200
    for word in words:
        assert word in sentence


def test_what_is_no_picture():
    refused(b"", "is empty")
    for data in (b"Dear diary,\n", b"\0" * 100, b"%PDF-1.7\n", b"PK\x03\x04", b"<svg xmlns='...'></svg>"):
        refused(data, "not a picture of a known format", "use JPEG, PNG")
    # A format that Pillow reads, but that nobody takes photographs in.
    refused(encode(photograph(), "PPM"), "not a picture of a known format")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", FORMATS)
def test_cut_off_pictures(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encode(noise, kind)
    for end in (len(data) // 2, 40, 12):
        refused(data[:end], "damaged, cut off")


def test_pictures_with_too_many_pixels_are_refused_by_their_header():
    rows = bytes(1000)
    tracemalloc.start()
    refused(png(30_000, 30_000, rows), "30000×30000 pixels", "at most 50 million")
    refused(png(2**31 - 1, 2**31 - 1, rows), "save it smaller")
    for kind, place, side in (("GIF", 6, "<HH"), ("BMP", 18, "<ii")):
        data = bytearray(encode(photograph(), kind))
        struct.pack_into(side, data, place, 30_000, 30_000)
        refused(bytes(data), "30000×30000 pixels")
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff\x70\x00" * 2
    refused(webp, "too many pixels")
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def test_a_large_picture_within_pillows_limit_gives_no_warning_either():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refused(png(10_000, 9_500), "10000×9500 pixels")  # Pillow warns from 89 million on
    assert caught == []


def test_files_with_too_many_bytes():
    refused(encode(photograph(), "JPEG") + bytes(MAX_BYTES), "21 MB", "save it smaller")


def test_names_are_shown_on_one_line():
    for name, shown in (("a\nb.jpg", "a?b.jpg is"), ("", "The file is"), ("x" * 300 + ".jpg", "x" * 50 + "…")):
        with pytest.raises(ImageError) as caught:
            read_image(b"", name)
        assert str(caught.value).startswith(shown)
        assert len(str(caught.value)) < 200


# Anything at all


def only_image_errors(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow remarks on odd metadata
        try:
            image = read_image(data, "x")
        except ImageError:
            return
    assert image.mode == "RGB"
    assert max(image.size) <= MAX_SIDE


HEADS = (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM", b"II*\0", b"MM\0*")


@given(st.sampled_from(HEADS), st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_raise_nothing_but_image_errors(head, body):
    only_image_errors(head + body)


def valid_files():
    exif = Image.Exif()
    exif[0x0112] = 6
    colour, small = photograph(12, 9), photograph(12, 9).quantize(8)
    return [
        encode(colour, "JPEG", exif=exif),
        encode(colour, "JPEG", progressive=True),
        encode(colour.convert("CMYK"), "JPEG"),
        encode(colour, "PNG", exif=exif),
        encode(small, "PNG", transparency=bytes([0, 128])),
        encode(Image.fromarray(np.arange(108, dtype=np.uint16).reshape(9, 12) * 600), "PNG"),
        encode(small, "GIF", transparency=1, save_all=True, append_images=[small]),
        encode(colour, "WEBP", exif=exif),
        encode(colour.convert("RGBA"), "WEBP", lossless=True),
        encode(colour, "BMP"),
        encode(small, "BMP"),
        encode(colour, "TIFF"),
        encode(colour, "TIFF", compression="tiff_lzw"),
        encode(Image.fromarray(np.zeros((9, 12), np.float32)), "TIFF"),
    ]


VALID = valid_files()


@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.integers(0, 2000),
)
@settings(max_examples=100, deadline=None)
def test_damaged_pictures_raise_nothing_but_image_errors(data, changes, end):
    damaged = bytearray(data[: max(4, end)])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    only_image_errors(bytes(damaged))


def test_two_visitors_at_once():
    good, cut = encode(photograph(300, 200), "JPEG"), encode(photograph(300, 200), "JPEG")[:2000]
    expected = pixels(good).tobytes()
    wrong = []

    def visit():
        for _ in range(20):
            if pixels(good).tobytes() != expected:
                wrong.append("another picture")
            try:
                read_image(cut)
                wrong.append("a cut picture was taken")
            except ImageError:
                pass

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert wrong == []
