"""Pictures that a visitor brings: files, the clipboard, the camera."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import streamlit as st

from alexnet_explorer.data.images import MAX_BYTES, ImageError
from alexnet_explorer.ui import lens, pictures
from alexnet_explorer.ui.text import plain

_UPLOAD, _PASTE, _CAMERA, _PHOTO, _ERROR = "lens_upload", "lens_paste", "lens_camera", "lens_photo", "upload_error"
_SEEN = "lens_upload_seen"  # the uploader lists a file for as long as it is not taken from its list


def show() -> None:
    """The ways to bring a picture; one that comes is looked at from then on."""
    st.file_uploader(
        "Your own pictures", pictures.UPLOAD_TYPES, accept_multiple_files=True, key=_UPLOAD, on_change=_take_files,
        max_upload_size=MAX_BYTES // 2**20,
        help=f"The last {pictures.MOST_UPLOADS} stay in the list above, for as long as this page is open.",
    )  # fmt: skip
    _component()(key=_PASTE, data={"most": MAX_BYTES}, on_picture_change=_take_paste)
    # The browser asks for the camera as soon as the control is there: only who wants it gets it, once.
    if st.toggle("Camera", key=_CAMERA):
        st.camera_input("Take a picture", key=_PHOTO, on_change=_take_photo, label_visibility="collapsed")
    if message := st.session_state.pop(_ERROR, ""):
        st.error(plain(message), icon=":material/broken_image:")


def _take_files() -> None:
    files = st.session_state[_UPLOAD]
    before = st.session_state.get(_SEEN, frozenset())
    st.session_state[_SEEN] = frozenset(file.file_id for file in files)
    new = [file for file in files if file.file_id not in before]
    _keep([(file.getvalue(), file.name) for file in new[-pictures.MOST_UPLOADS :]])


def _take_photo() -> None:
    if photo := st.session_state[_PHOTO]:
        _keep([(photo.getvalue(), "Photograph")])
        st.session_state[_CAMERA] = False


def _take_paste() -> None:
    sent: Any = st.session_state[_PASTE].picture  # it comes from a browser
    try:
        data = base64.b64decode(sent, validate=True) if isinstance(sent, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    _keep([(data, "Pasted picture")])


def _keep(brought: Iterable[tuple[bytes, str]]) -> None:
    """Keep pictures for this session, and look at the first of them."""
    chosen = ""
    for data, title in brought:
        try:
            name = pictures.keep_upload(data, title)
        except ImageError as error:
            st.session_state[_ERROR] = str(error)
            continue
        chosen = chosen or name
    if chosen:
        lens.change(picture=chosen, target=None)


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    return st.components.v2.component("alexnet_explorer_paste", html=_HTML, css=_CSS, js=_JS)


_HTML = """
<button type="button">Paste a picture</button> <span class="hint">or Ctrl+V</span>
<div class="status" role="status"></div>
"""

_CSS = """
button { font: 0.875rem var(--st-font); color: var(--st-text-color); background: var(--st-background-color);
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius); padding: 0.25rem 0.75rem;
  cursor: pointer; }
button:hover, button:focus-visible { color: var(--st-primary-color); border-color: var(--st-primary-color); }
.hint, .status { font: 0.8rem var(--st-font); color: var(--st-text-color); opacity: 0.7; }
"""

_JS = """
export default function({ data, setTriggerValue, parentElement }) {
  const button = parentElement.querySelector("button"), status = parentElement.querySelector(".status");

  const send = (blob) => {
    if (blob.size > data.most) {
      status.textContent = `This picture has more than ${Math.round(data.most / 1e6)} MB: save it smaller.`;
      return;
    }
    const reader = new FileReader();
    reader.onload = () => { status.textContent = ""; setTriggerValue("picture", reader.result.split(",", 2)[1]); };
    reader.readAsDataURL(blob);
  };
  const paste = (event) => {
    if (!button.isConnected) { document.removeEventListener("paste", paste); return; }
    const target = event.composedPath()[0];
    if (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement) return;
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) send(file); else status.textContent = "The clipboard holds no picture.";
  };
  button.onclick = async () => {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((one) => one.startsWith("image/"));
        if (type) { send(await item.getType(type)); return; }
      }
      status.textContent = "The clipboard holds no picture.";
    } catch {
      status.textContent = "The browser does not let a page read the clipboard: press Ctrl+V.";
    }
  };
  // This runs again whenever the page does: one listener is enough.
  if (parentElement.paste) document.removeEventListener("paste", parentElement.paste);
  parentElement.paste = paste;
  document.addEventListener("paste", paste);
}
"""
