"""Files of what a page shows."""

import io

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from alexnet_explorer.ui.downloads import file_name, pack


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("alexnet-64 conv1, cat.jpg", "alexnet-64-conv1-cat.jpg"),
        ("../../etc/passwd", "etc-passwd"),
        ("ünïcode ✓", "ünïcode"),
        ("///", "download"),
        ("x" * 500, "x" * 120),
    ],
)
def test_file_names_are_safe(words, name):
    assert file_name(words) == name


def test_packed_arrays_come_back_without_pickle():
    arrays = {"conv1": np.random.default_rng(0).random((2, 3), dtype=np.float32)}
    with np.load(io.BytesIO(pack(arrays)), allow_pickle=False) as found:
        assert np.array_equal(found["conv1"], arrays["conv1"])


def test_a_button_for_each_kind_that_is_offered():
    def page():
        from alexnet_explorer.ui import downloads

        downloads.offer("table", "two numbers", csv=lambda: "a,b\n1,2\n")
        downloads.offer("nothing", "nothing")

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert [button.proto.label for button in app.get("download_button")] == ["CSV"]
