"""The visitor's pictures: samples that ship with the libraries, what was uploaded in this session, a data set's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import streamlit as st
from PIL import Image, ImageOps

from alexnet_explorer.data.images import read_image
from alexnet_explorer.data.samples import SAMPLES, load_sample
from alexnet_explorer.inspection.picture_sets import of_name

UPLOAD_TYPES = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]
MOST_UPLOADS = 8
_KEY, _LAST = "uploads", "picture_of_a_set"


@dataclass(frozen=True)
class Picture:
    """A picture under the name that the lens knows it by."""

    name: str
    title: str
    image: Image.Image
    label: str | None = None  # its class, where it is an image of a data set

    @property
    def key(self) -> str:
        """What tells its content from others', for caches."""
        return self.name


def names() -> dict[str, str]:
    """The pictures to choose from, by name with their titles: uploads first."""
    return {name: title for name, (title, _) in _uploads().items()} | {
        name: sample.title for name, sample in SAMPLES.items()
    }


def open_picture(name: str) -> Picture | None:
    """The picture of that name, or None where it is not there: an upload of another session, a set not on this machine.

    `set-<key>-<number>` is an image of a packed set (`inspection.picture_sets`).
    """
    if name in SAMPLES:
        return Picture(name, SAMPLES[name].title, _sample(name))
    if name in _uploads():
        title, image = _uploads()[name]
        return Picture(name, title, image)
    return _of_a_set(name)


def _of_a_set(name: str) -> Picture | None:
    last: Picture | None = st.session_state.get(_LAST)  # a page asks several times; to look for a set takes a while
    if last and last.name == name:
        return last
    if (found := of_name(name)) is None:
        return None
    pictures, number = found
    label = pictures.label(number)
    title = f"{label} · image {number} of {pictures.name}"
    st.session_state[_LAST] = picture = Picture(name, title, pictures.picture(number), label)
    return picture


def keep_upload(data: bytes, title: str) -> str:
    """Keep an uploaded picture for this session and give its name. Raises ImageError where it is none.

    It is kept as decoded, which `read_image` bounds, so that no page decodes it again.
    """
    name = f"upload-{hashlib.sha256(data).hexdigest()[:12]}"
    uploads = _uploads()
    if name not in uploads:
        uploads[name] = (title, read_image(data, title))
        for oldest in list(uploads)[:-MOST_UPLOADS]:
            del uploads[oldest]
    return name


def _uploads() -> dict[str, tuple[str, Image.Image]]:
    uploads: dict[str, tuple[str, Image.Image]] = st.session_state.setdefault(_KEY, {})
    return uploads


@st.cache_resource(max_entries=16, show_spinner=False)
def square_thumbnail(name: str) -> Image.Image:
    """The centre of a sample, 240 pixels on a side."""
    return ImageOps.fit(_sample(name), (240, 240))


@st.cache_resource(max_entries=16, show_spinner=False)
def _sample(name: str) -> Image.Image:
    return load_sample(name)
