"""What a session keeps of the pictures that a visitor uploads."""

import io

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.data.images import MAX_SIDE, ImageError
from alexnet_explorer.data.samples import SAMPLES
from alexnet_explorer.ui import pictures
from alexnet_explorer.ui.pictures import MOST_UPLOADS


def png(seed, size=(30, 20)):
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def own_session(session):
    return session


def test_an_upload_comes_back_with_its_pixels_and_its_title():
    name = pictures.keep_upload(png(1), "my picture.png")
    found = pictures.open_picture(name)
    assert found.title == "my picture.png"
    assert np.array_equal(np.asarray(found.image), np.asarray(Image.open(io.BytesIO(png(1)))))
    assert list(pictures.names()) == [name, *SAMPLES]


def test_the_same_file_again_is_the_same_picture():
    assert pictures.keep_upload(png(1), "a.png") == pictures.keep_upload(png(1), "b.png")
    assert len(pictures.names()) == 1 + len(SAMPLES)


def test_the_oldest_uploads_go():
    names = [pictures.keep_upload(png(seed), f"{seed}.png") for seed in range(MOST_UPLOADS + 3)]
    assert list(pictures.names()) == [*names[3:], *SAMPLES]
    assert [pictures.open_picture(name) for name in names[:3]] == [None] * 3
    assert all(pictures.open_picture(name) for name in names[3:])


def test_no_file_is_kept_but_the_picture_that_pages_need(session):
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 1000), "teal").save(buffer, "JPEG")
    file = buffer.getvalue() + bytes(3_000_000)  # much in it that is no picture
    found = pictures.open_picture(pictures.keep_upload(file, "panorama.jpg"))
    assert found.image.size == (MAX_SIDE, MAX_SIDE // 4)
    assert session["uploads"] == {found.name: ("panorama.jpg", found.image)}


@pytest.mark.parametrize("data", [b"", b"no picture", png(1)[:60]], ids=["empty", "text", "cut off"])
def test_a_file_that_is_no_picture_leaves_nothing_behind(data):
    with pytest.raises(ImageError, match=r"holiday\.jpg"):
        pictures.keep_upload(data, "holiday.jpg")
    assert list(pictures.names()) == list(SAMPLES)


def test_a_picture_of_another_session_is_not_there():
    assert pictures.open_picture("upload-0123456789ab") is None


def test_every_sample_opens():
    for name, sample in SAMPLES.items():
        assert pictures.open_picture(name).title == sample.title
        assert pictures.square_thumbnail(name).size == (240, 240)
