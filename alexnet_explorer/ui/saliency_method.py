"""The controls by which a visitor chooses a saliency method and its settings, in the link of the page."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from alexnet_explorer.inspection.methods import GROUPS, METHODS, SETTINGS, Setting, Settings
from alexnet_explorer.ui import own_link

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet

# In the link; `layer` is the lens's there.
LINKS = {name: "at" if name == "layer" else name for name in SETTINGS}
_LAST = "the last convolution's"


def choose(key: str, link: str, usual: str, among: Container[str] = METHODS) -> str:
    """The key of a method; `key` is the widget's, `link` the name in the link, `usual` what needs no place there."""
    options = [method for method in METHODS if method in among]
    start = own_link.start(link, usual, own_link.one_of(options), key)
    chosen = st.selectbox(
        "Method", options, options.index(start), format_func=_named, key=key, persist_state="session", width=320,
    )  # fmt: skip
    method = chosen or usual
    own_link.write(link, None if method == usual else method)
    return method


def _named(key: str) -> str:
    method = METHODS[key]
    return f"{method.title} (slow)" if method.slow else method.title


def explain(key: str) -> None:
    """A method in words, with its paper."""
    method = METHODS[key]
    st.markdown(f"**{method.title}.** {method.explanation} _{GROUPS[method.group][0]}. {method.paper}_")


def settings(method: str, model: AlexNet, size: int, link: str, sweeping: bool = False) -> Settings:
    """The settings that a method has, in a popover; of another one none. What stays as usual is None in the result.

    `model` names the layers, `size` is the side of its input in pixels; `link` is the method's name in the link, whose
    settings are those of the method that it names, if it names one; while all layers are shown (`sweeping`) none is
    chosen.
    """
    own = [name for name in METHODS[method].settings if not (name == "layer" and sweeping)]
    for name, own_name in LINKS.items():
        if name not in METHODS[method].settings:
            own_link.write(own_name, None)
    if not own:
        return Settings()
    linked = own_link.start(link, method, own_link.one_of(METHODS)) == method
    chosen: dict[str, Any] = {}
    with st.popover("Settings", icon=":material/tune:"):
        for name in own:
            usual = vars(Settings(**chosen).filled(method, size))  # the usual stride follows the window
            most = usual["window"] if name == "stride" else size
            value = _control(method, name, usual[name], model, most, linked)
            own_link.write(LINKS[name], None if value == usual[name] else str(value))
            if value != usual[name]:
                chosen[name] = value
    return Settings(**chosen)


def swept_layer(method: str, layers: Sequence[str]) -> str:
    """Which of the layers that are all shown is the chosen one: the last, until one is clicked."""
    key = _key(method, "layer")
    start = own_link.start(LINKS["layer"], layers[-1], own_link.one_of(layers), key)
    layer: str = st.session_state.get(key) or start
    layer = layer if layer in layers else layers[-1]
    own_link.write(LINKS["layer"], None if layer == layers[-1] else layer)
    return layer


def take_layer(method: str, layer: str) -> None:
    """Choose a layer for a method."""
    st.session_state[_key(method, "layer")] = layer


def _key(method: str, name: str) -> str:
    """Of the widget of a setting."""
    return f"setting {method} {name}"


def _control(method: str, name: str, usual: Any, model: AlexNet, most: int, linked: bool) -> Any:
    setting, key, link = SETTINGS[name], _key(method, name), LINKS[name]
    if setting.kind in ("layer", "choice"):
        allowed = _layers(model) if setting.kind == "layer" else setting.choices
        options = [None, *allowed] if setting.kind == "layer" else [*allowed]
        start = own_link.start(link, usual, own_link.one_of(allowed), key) if linked else usual
        if st.session_state.get(key) not in options:  # of another network
            st.session_state.pop(key, None)
        return st.selectbox(
            setting.title, options, options.index(start), format_func=lambda option: option or _LAST, key=key,
            persist_state="session", help=setting.help,
        )  # fmt: skip
    top = setting.most if setting.most is not None else most
    given = own_link.start(link, usual, own_link.number(setting.least, top), key) if linked else usual
    return _number(setting, key, given, top, partial(_forget_stride, method) if name == "window" else None)


def _forget_stride(method: str) -> None:
    """Half of the window that was chosen is the usual one."""
    st.session_state.pop(_key(method, "stride"), None)


def _number(setting: Setting, key: str, start: float, most: float, on_change: Callable[[], None] | None) -> float:
    if st.session_state.get(key, 0) > most:  # of a larger network, or window
        st.session_state.pop(key)
    if setting.kind == "whole":
        return st.number_input(
            setting.title, int(setting.least), int(most), min(int(start), int(most)), key=key, persist_state="session",
            help=setting.help, on_change=on_change,
        )  # fmt: skip
    return st.number_input(
        setting.title, float(setting.least), float(most), float(start), 0.01, key=key, persist_state="session",
        help=setting.help,
    )  # fmt: skip


def _layers(model: AlexNet) -> Sequence[str]:
    """Those with maps, whose units can be weighed."""
    return [layer.name for layer in model.layers.values() if len(layer.output) == 3 and layer.kind != "dropout"]
