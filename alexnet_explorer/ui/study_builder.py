"""A study of one's own, put together on the page: what is changed, how often, and how long it will take."""

from __future__ import annotations

import json
from typing import Any, get_args

import streamlit as st

from alexnet_explorer.config import MODEL_PRESETS, ConfigError
from alexnet_explorer.data.packed import list_sets
from alexnet_explorer.data.sources import SOURCES
from alexnet_explorer.files import slug, write_atomic
from alexnet_explorer.studies.ledger import own_folder, shipped
from alexnet_explorer.studies.study import Design, Study, parse, write
from alexnet_explorer.ui import probing
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

# The paper's ideas, each with its levels, the paper's own first.
FACTORS: dict[str, dict[str, dict[str, Any]]] = {
    "activation": {"relu": {"model.activation": "relu"}, "tanh": {"model.activation": "tanh"}},
    "dropout": {"0.5": {"model.dropout": 0.5}, "none": {"model.dropout": 0.0}},
    "pooling": {"overlapping": {"model.pooling": "overlapping"}, "plain": {"model.pooling": "non-overlapping"}},
    "lrn": {"with": {"model.lrn": True}, "without": {"model.lrn": False}},
    "weights": {"2012": {"model.init": "2012"}, "modern": {"model.init": "modern"}},
    "input": {"2012": {"data.scaling": "2012"}, "standard": {"data.scaling": "standard"}},
    "augmentation": {"crops and flips": {"data.augmentation": "flip,crop"}, "none": {"data.augmentation": "none"}},
}
DESIGNS: dict[str, str] = {
    "full": "every combination",
    "one-off": "one changed at a time, from the paper's",
    "one-on": "one of the paper's at a time",
    "fractional": "half of the combinations",
}
ARRIVAL = "epochs to the error at which a run ends"
MEASURES = {"test/top1_error": "test error", "val/top1_error": "validation error", ARRIVAL: ARRIVAL}
RATES = (0.003, 0.01, 0.03, 0.1)


def show() -> None:
    """The controls, what they make, and the button that keeps it."""
    left, right = st.columns(2)
    with left:
        title = st.text_input("Title", key="builder_title", placeholder="Dropout on digits", max_chars=60)
        preset = st.selectbox("Preset", list(MODEL_PRESETS), index=list(MODEL_PRESETS).index("alexnet-32"),
                              key="builder_preset")  # fmt: skip
        data = st.selectbox("Data set", list(dict.fromkeys([*SOURCES, *(packed.name for packed in list_sets())])),
                            key="builder_data")  # fmt: skip
        factors = st.pills("What is changed", list(FACTORS), selection_mode="multi", default=["dropout"],
                           key="builder_factors", wrap=True)  # fmt: skip
        designs = [name for name in get_args(Design) if name != "fractional" or len(factors) > 2]
        design = st.selectbox("Design", designs, index=designs.index("full"), format_func=DESIGNS.__getitem__,
                              key="builder_design", disabled=len(factors) < 2)  # fmt: skip
    with right:
        seeds = st.number_input("Seeds, the same for each arm", 1, 50, 5, key="builder_seeds",
                                help="With fewer than three an interval says next to nothing")  # fmt: skip
        epochs = st.number_input("Epochs, at most", 1, 1000, 10, key="builder_epochs")
        until = st.number_input("A run ends at a validation error of, percent", 0.0, 99.0, 0.0, key="builder_until",
                                help="0: after all epochs")  # fmt: skip
        measure = st.selectbox("Measured", list(MEASURES), format_func=MEASURES.__getitem__, key="builder_measure")
        sweep = st.toggle("Each arm at its own best learning rate", key="builder_sweep",
                          help=f"Tried beforehand, on another seed: {', '.join(map(str, RATES))}; the validation error "
                          "decides")  # fmt: skip
        if sweep:
            swept = st.number_input("Epochs of each trial", 1, 1000, 3, key="builder_sweep_epochs")
    try:
        study = made(
            title, preset, data, factors, design if len(factors) > 1 else "full", int(seeds), int(epochs), measure,
            int(swept) if sweep else 0, until / 100,
        )  # fmt: skip
    except ConfigError as error:
        st.info(plain(str(error)))
        return
    arms = ", ".join(f"*{plain(arm.name)}*" for arm in study.arms()[:4]) + (" …" if len(study.arms()) > 4 else "")
    st.markdown(f"**{study.count()} runs**: {len(study.arms())} arms ({arms}) with {len(study.seeds)} seeds each.")
    trials = study.count() - len(study.arms()) * len(study.seeds)
    total = trials * (study.sweep.epochs if study.sweep else 0) + (study.count() - trials) * study.stop.epochs
    probing.show_estimate(study.config(study.arms()[0], study.seeds[0]), total, "_builder")
    st.button("Keep this study", icon=":material/save:", key="builder_keep", on_click=_keep, args=(study,),
              disabled=not title.strip())  # fmt: skip
    if not title.strip():
        st.caption("Give it a title first.")
    with st.expander("Its file", icon=":material/description:"):
        st.code(write(study), language="yaml")


def bring() -> None:
    """A study file of the visitor's, kept as it is if it is one."""
    st.file_uploader("Or bring a study file, YAML or JSON", ["yaml", "yml", "json"], key="builder_file",
                     on_change=_take_file, max_upload_size=1)  # fmt: skip


def _take_file() -> None:
    file = st.session_state["builder_file"]
    if file is None:
        return
    try:
        study = parse(file.getvalue(), file.name)
        if study.id in shipped():
            raise ConfigError(f"{file.name}: {study.id} is a study of the ledger: give yours another id")
    except ConfigError as error:
        st.session_state["studies_error"] = str(error)
        return
    _keep(study)


def remove(study: Study) -> None:
    """The button that deletes a study of the visitor's, after a question; its runs stay."""
    with st.popover("Delete", icon=":material/delete:", key="builder_delete"):
        st.markdown("The study file goes, for good. Its runs stay on the page Runs.")
        st.button("Delete the study", key="builder_delete_yes", on_click=_remove, args=(study.id,))


def _remove(study_id: str) -> None:
    try:
        (own_folder(runs_folder()) / f"{study_id}.yaml").unlink(missing_ok=True)
    except OSError as error:
        st.session_state["studies_error"] = f"the study cannot be deleted: {error.strerror}"
    st.query_params.pop("study", None)


def made(
    title: str, preset: str, data: str, factors: list[str], design: str, seeds: int, epochs: int, measure: str,
    sweep_epochs: int = 0, until: float = 0.0,
) -> Study:  # fmt: skip
    """The study of these choices; `until`: the validation error at which a run ends, 0–1, or 0.

    Raises ConfigError, in words for whoever chose them.
    """
    if not factors:
        raise ConfigError("Choose at least one thing that is changed.")
    if measure == ARRIVAL and not until:
        raise ConfigError("Say at which error a run ends, or measure something else.")
    name = slug(title) if title.strip() else "unnamed"
    document: dict[str, Any] = {
        "id": f"own-{name}"[:60] if name in shipped() else name,
        "title": title.strip(),
        "base": {"preset": preset, "data": data, "set": {"train.precision": "fp32"}},
        "factors": {factor: FACTORS[factor] for factor in factors},
        "design": design,
        "seeds": list(range(1, seeds + 1)),
        "stop": {"epochs": epochs},
        "measure": {"metric": measure},
    }
    if until:
        document["stop"] |= {"until": {"metric": "val/top1_error", "at": until}}
    if measure == ARRIVAL:
        document["measure"] = {"metric": "val/top1_error", "to_reach": until}
    if len(factors) == 1:
        document["contrast"] = factors[0]
    if design == "fractional":
        document["generators"] = {factors[-1]: factors[:-1]}
    if sweep_epochs:
        document["sweep"] = {"values": list(RATES), "epochs": sweep_epochs}
    return parse(json.dumps(document), "this study")


def _keep(study: Study) -> None:
    folder = own_folder(runs_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{study.id}.yaml"
        if file.exists() and file.read_text(encoding="utf-8") != write(study):
            st.session_state["studies_error"] = f"there is another study of the name {study.id}: choose another title"
            return
        write_atomic(file, write(study).encode())
    except OSError as error:
        st.session_state["studies_error"] = f"the study cannot be kept: {error.strerror}"
        return
    st.query_params["study"] = study.id
