"""What a page shows, as files: a picture as PNG, a table as CSV, arrays as npz."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from alexnet_explorer.inspection.mosaic import RGB, to_png

_KINDS = {
    "png": ("PNG", "image/png", "The picture as it is shown"),
    "csv": ("CSV", "text/csv", "The numbers as a table"),
    "npz": ("npz", "application/zip", "The arrays, for numpy.load"),
}


def offer(
    key: str,
    name: str,
    *,
    png: Callable[[], RGB] | None = None,
    csv: Callable[[], str] | None = None,
    npz: Callable[[], Mapping[str, NDArray[np.generic]]] | None = None,
) -> None:
    """A row of download buttons; what a file holds is computed when it is asked for.

    `name`: of the files, in words; characters that a file name should not have become hyphens.
    """
    files: dict[str, Callable[[], bytes]] = {}
    if png:
        files["png"] = lambda: to_png(png())
    if csv:
        files["csv"] = lambda: csv().encode("utf-8-sig")  # by which Excel knows UTF-8
    if npz:
        files["npz"] = lambda: pack(npz())
    with st.container(horizontal=True, gap="small") if len(files) > 1 else nullcontext():
        for kind, content in files.items():
            label, mime, help_ = _KINDS[kind]
            st.download_button(
                label, content, f"{file_name(name)}.{kind}", mime, key=f"download_{key}_{kind}", help=help_,
                icon=":material/download:", type="tertiary", on_click="ignore",
            )  # fmt: skip


def file_name(words: str) -> str:
    """Words as a file name, of letters, digits, dots, hyphens and underscores."""
    return re.sub(r"[^\w.]+", "-", words).strip("-.")[:120] or "download"


def pack(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The bytes of a compressed .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
