"""Pictures from the clipboard, as a browser sends them, or something else."""

import base64
import io
from types import SimpleNamespace

import pytest
from PIL import Image

from alexnet_explorer.ui import bringing, pictures


def a_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("sent", [None, 7, "no base64 ☺", base64.b64encode(b"no picture").decode()])
def test_what_is_pasted_and_no_picture_changes_nothing(session, sent):
    session["lens_paste"] = SimpleNamespace(picture=sent)
    bringing._take_paste()
    assert "Pasted picture" in session["upload_error"] and "lens" not in session


def test_a_pasted_picture_is_looked_at(session):
    session["lens_paste"] = SimpleNamespace(picture=base64.b64encode(a_picture()).decode())
    bringing._take_paste()
    assert pictures.open_picture(session["lens"].picture).title == "Pasted picture"
