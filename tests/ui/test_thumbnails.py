"""Pictures as large as there is room."""

import io

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.ui import clickable, thumbnails

NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_a_small_picture_has_its_pixels_repeated():
    shown = np.asarray(thumbnails.fitted(Image.fromarray(NOISE), 280, 200))
    np.testing.assert_array_equal(shown, NOISE.repeat(6, 0).repeat(6, 1))


@pytest.mark.parametrize(
    ("size", "shown"),
    [((560, 200), (280, 100)), ((150, 400), (75, 200)), ((200, 150), (200, 150))],
)
def test_a_large_one_keeps_its_shape(size, shown):
    assert thumbnails.fitted(Image.new("RGB", size), 280, 200).size == shown


def test_a_sheet_has_a_tile_for_each_picture():
    sheet = thumbnails.sheet([Image.fromarray(NOISE)] * 3, 64, 2)
    assert sheet.shape == (2 * 64 + thumbnails.GAP, 2 * 64 + thumbnails.GAP, 3)
    tile = NOISE.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(sheet[:64, -64:], tile)
    np.testing.assert_array_equal(sheet[-64:, :64], tile)
    assert (sheet[-64:, -64:] == 255).all()


def test_any_picture_fills_its_tile():
    images = [Image.new("RGB", size, "teal") for size in ((300, 100), (20, 30), (1, 900))]
    assert (thumbnails.sheet(images, 64, 3)[:, :64] == (0, 128, 128)).all()


def test_photographs_travel_as_a_jpeg_and_maps_without_loss(monkeypatch):
    sent = {}
    monkeypatch.setattr(clickable, "_component", lambda: lambda **arguments: sent.update(arguments))

    def picture(**how):
        clickable.tiles(NOISE, clickable.Grid(1, 1, 32, 32), "key", "", None, str, print, **how)
        length = int.from_bytes(sent["data"][:4], "little")
        return Image.open(io.BytesIO(sent["data"][4 + length :]))

    assert picture().format == "PNG" and picture().convert("RGB").tobytes() == NOISE.tobytes()
    assert picture(photographs=True).format == "JPEG" and picture(photographs=True).size == (32, 32)
