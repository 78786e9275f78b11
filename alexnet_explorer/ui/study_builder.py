"""A study of one's own, put together on the page: what is changed, how often, and how long it will take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import streamlit as st

from alexnet_explorer.config import DECIDED_ELSEWHERE, MODEL_PRESETS, ConfigError, RunConfig
from alexnet_explorer.data.packed import list_sets
from alexnet_explorer.data.sources import SOURCES
from alexnet_explorer.files import slug, write_atomic
from alexnet_explorer.studies import process
from alexnet_explorer.studies.ledger import own_folder, shipped
from alexnet_explorer.studies.results import aliased
from alexnet_explorer.studies.statistics import StatisticsError
from alexnet_explorer.studies.study import Design, Study, parse, write
from alexnet_explorer.ui import forecasting, surveying
from alexnet_explorer.ui.run_fields import short
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
UNTIL = {"val/top1_error": "validation error", "clean/top1_error": "training error, without augmentation"}
CLEAN_PASSES = 2  # an epoch, where the training error ends a run
RATES = (0.003, 0.01, 0.03, 0.1)
SHOWN_ALIASES = 4
# Of the config, what a study decides elsewhere in its file.
RESERVED = {*DECIDED_ELSEWHERE, "train.seed", "train.epochs", "train.until", "train.until_metric", "train.freeze"}


@dataclass(frozen=True)
class Plan:
    """What a visitor chose."""

    title: str = ""
    preset: str = "alexnet-32"
    data: str = "digits"
    factors: Sequence[str] = ("dropout",)  # of `FACTORS`
    own: Sequence[tuple[str, str]] = ()  # fields of the config and their levels, with semicolons between
    design: str = "full"
    seeds: int = 5
    epochs: int = 10
    measure: str = "test/top1_error"
    until: float = 0.0  # the error at which a run ends, 0–1; 0: after all epochs
    until_metric: str = "val/top1_error"
    sweep_epochs: int = 0  # 0: no sweep
    rates: str = ", ".join(map(str, RATES))
    base: Sequence[tuple[str, str]] = ()  # fields of the config and their values, for all arms
    budget_hours: float = 0.0  # 0: none


def show() -> None:
    """The controls, what they make, and the button that keeps it."""
    plan = _choose()
    try:
        study = made(plan)
    except ConfigError as error:
        st.info(plain(str(error)), icon=":material/edit:")
        return
    arms = ", ".join(f"*{plain(arm.name)}*" for arm in study.arms()[:4]) + (" …" if len(study.arms()) > 4 else "")
    trials = study.count() - len(study.arms()) * len(study.seeds)
    tried = f", and {trials} to find their rates" if trials else ""
    seeds = f"{len(study.seeds)} seed{'s' * (len(study.seeds) > 1)}"
    st.markdown(f"**{study.count()} runs**: {len(study.arms())} arms ({arms}) with {seeds} each{tried}.")
    _tell_aliases(study)
    there = study.base.data == "digits" or any(packed.name == study.base.data for packed in list_sets())
    forecasting.show(surveying.countable(study), "builder", by_itself=there)
    st.button("Keep this study", icon=":material/save:", key="builder_keep", on_click=keep, args=(study,),
              disabled=not plan.title.strip())  # fmt: skip
    if not plan.title.strip():
        st.caption("Give it a title first.")
    with st.expander("Its file", icon=":material/description:"):
        st.code(write(study), language="yaml")


def _choose() -> Plan:
    """The controls; what is rarely needed is folded away."""
    left, right = st.columns(2)
    with left:
        title = st.text_input("Title", key="builder_title", placeholder="Dropout on digits", max_chars=60)
        preset = st.selectbox("Preset", list(MODEL_PRESETS), index=list(MODEL_PRESETS).index("alexnet-32"),
                              key="builder_preset")  # fmt: skip
        data = st.selectbox("Data set", list(dict.fromkeys([*SOURCES, *(packed.name for packed in list_sets())])),
                            key="builder_data")  # fmt: skip
        factors = st.pills("What is changed", list(FACTORS), selection_mode="multi", default=["dropout"],
                           key="builder_factors", wrap=True)  # fmt: skip
        design_place = st.container()
    with right:
        seeds = st.number_input("Seeds, the same for each arm", 1, 50, 5, key="builder_seeds",
                                help="With fewer than three an interval says next to nothing")  # fmt: skip
        epochs = st.number_input("Epochs, at most", 1, 1000, 10, key="builder_epochs")
        measure = st.selectbox("Measured", list(MEASURES), format_func=MEASURES.__getitem__, key="builder_measure")
        sweep = st.toggle("Each arm at its own best learning rate", key="builder_sweep",
                          help="Tried beforehand, on another seed; the validation error decides")  # fmt: skip
    swept, rates = 0, Plan.rates
    if sweep:
        one, other = st.columns(2)
        rates = one.text_input("Rates that are tried", Plan.rates, key="builder_rates")
        swept = int(other.number_input("Epochs of each trial", 1, 1000, 3, key="builder_sweep_epochs"))
    with st.expander("More: any other setting, a budget, where a run ends", icon=":material/tune:",
                     key="builder_more"):  # fmt: skip
        one, other = st.columns(2)
        with one:
            own = _fields("More that is changed", "builder_own", "levels",
                          "Levels with semicolons between, as in 0.01; 0.03; the first is the baseline")  # fmt: skip
        with other:
            base = _fields("Other settings of all arms", "builder_base", "value",
                           "As in --set: 0.03, on, or 32,64,96,96,64")  # fmt: skip
        one, two, three = st.columns(3, vertical_alignment="bottom")
        until = one.number_input("A run ends at an error of, percent", 0.0, 99.0, 0.0, key="builder_until",
                                 help="0: after all epochs")  # fmt: skip
        metric = two.selectbox("Which error that is", list(UNTIL), format_func=UNTIL.__getitem__,
                               key="builder_until_metric")  # fmt: skip
        budget = three.number_input("Budget, hours of training", 0.0, 10_000.0, 0.0, key="builder_budget",
                                    help="No run is started after so many, and rows that lack some stay open; "
                                    "0: no limit")  # fmt: skip
    several = len(factors) + len(own) > 1
    designs = [name for name in get_args(Design) if name != "fractional" or len(factors) + len(own) > 2]
    design = design_place.selectbox("Design", designs, index=designs.index("full"), format_func=DESIGNS.__getitem__,
                                    key="builder_design", disabled=not several)  # fmt: skip
    return Plan(
        title, preset, data, tuple(factors), own, design if several else "full", int(seeds), int(epochs), measure,
        until / 100, metric, swept, rates, base, budget,
    )  # fmt: skip


def _fields(label: str, key: str, column: str, words: str) -> list[tuple[str, str]]:
    """A table in which a visitor names fields of the config, and what they are to be."""
    st.markdown(label)
    rows = st.data_editor(
        [{"field": "", column: ""}], key=key, num_rows="dynamic", hide_index=True,
        column_config={
            "field": st.column_config.SelectboxColumn("Field", options=["", *described()], width="medium"),
            column: st.column_config.TextColumn(column.capitalize(), width="medium", help=words),
        },
    )  # fmt: skip
    st.caption(words)
    given = [(row["field"], row[column]) for row in rows]
    found = [(name, str(text).strip()) for name, text in given if name and text and str(text).strip()]
    for name in dict.fromkeys(name for name, _ in given if name):
        if said := described().get(name):
            st.caption(f"`{name}`: {plain(said)}")
    return found


@cache
def described() -> Mapping[str, str]:
    """The fields of the config that a study can set, each with what the config says of it."""
    return {
        f"{part}.{name}": field.description or ""
        for part, of in RunConfig.model_fields.items()
        for name, field in of.annotation.model_fields.items()  # type: ignore[union-attr]
        if f"{part}.{name}" not in RESERVED
    }


def _tell_aliases(study: Study) -> None:
    """What a fraction of all combinations cannot tell apart."""
    if study.design != "fractional":
        return
    try:
        told = aliased(study)
    except StatisticsError as error:
        st.warning(plain(str(error)), icon=":material/warning:")
        return
    more = f" And {len(told) - SHOWN_ALIASES} more of this kind." if len(told) > SHOWN_ALIASES else ""
    st.caption(plain(". ".join(told[:SHOWN_ALIASES])) + "." + more)


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
    keep(study)


def remove(study: Study) -> None:
    """The button that deletes a study of the visitor's, after a question; its runs stay."""
    with st.popover("Delete", icon=":material/delete:", key="builder_delete"):
        st.markdown("The study file goes, for good, and its training ends. Its runs stay on the page Runs.")
        st.button("Delete the study", key="builder_delete_yes", on_click=_remove, args=(study.id,))


def _remove(study_id: str) -> None:
    process.end(study_id, runs_folder())  # nobody could stop it once its study is no longer listed
    try:
        (own_folder(runs_folder()) / f"{study_id}.yaml").unlink(missing_ok=True)
    except OSError as error:
        st.session_state["studies_error"] = f"the study cannot be deleted: {error.strerror}"
    st.query_params.pop("study", None)


def made(plan: Plan) -> Study:
    """The study of these choices. Raises ConfigError, in words for whoever chose them."""
    factors = {name: FACTORS[name] for name in plan.factors} | _own_factors(plan)
    if not factors:
        raise ConfigError("Choose at least one thing that is changed.")
    arrival = plan.measure == ARRIVAL
    if arrival and not plan.until:
        raise ConfigError("Say under 'More' at which error a run ends, or measure something else.")
    name = slug(plan.title) if plan.title.strip() else "unnamed"
    settings = {"train.precision": "fp32"} | {field: _typed(field, text) for field, text in plan.base}
    document: dict[str, Any] = {
        "id": f"own-{name}"[:60] if name in shipped() else name,
        "title": plan.title.strip(),
        "base": {"preset": plan.preset, "data": plan.data, "set": settings},
        "factors": factors,
        "design": plan.design,
        "seeds": list(range(1, plan.seeds + 1)),
        "stop": {"epochs": plan.epochs},
        "measure": {"metric": plan.until_metric, "to_reach": plan.until} if arrival else {"metric": plan.measure},
    }
    if plan.until:
        document["stop"] |= {"until": {"metric": plan.until_metric, "at": plan.until}}
        if plan.until_metric == "clean/top1_error":
            settings.setdefault("train.clean_passes", CLEAN_PASSES)
    if len(factors) == 1:
        document["contrast"] = next(iter(factors))
    if plan.design == "fractional":
        *others, last = factors
        document["generators"] = {last: others}
    if plan.sweep_epochs:
        document["sweep"] = {"values": _rates(plan.rates), "epochs": plan.sweep_epochs}
    if plan.budget_hours:
        document["budget_hours"] = plan.budget_hours
    return parse(json.dumps(document), "this study")


def _own_factors(plan: Plan) -> dict[str, dict[str, dict[str, Any]]]:
    """Factors of any field, named by it, each level by its value."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for field, text in plan.own:
        levels = [level.strip() for level in text.split(";") if level.strip()]
        if len(levels) < 2:
            raise ConfigError(f"{field}: write two levels or more, with a semicolon between: {text}; …")
        if len(set(levels)) < len(levels):
            raise ConfigError(f"{field}: a level stands twice")
        name = field if short(field) in {*plan.factors, *found} else short(field)
        found[name] = {level: {field: _typed(field, level)} for level in levels}
    return found


def _typed(field: str, text: str) -> Any:
    """A number or a truth value where the field is one, as a file is better to read so; else the text."""
    if isinstance(RunConfig().flat().get(field), str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) and math.isfinite(value) else text


def _rates(text: str) -> list[float]:
    try:
        return sorted({float(word) for word in text.replace(";", ",").split(",") if word.strip()})
    except ValueError:
        raise ConfigError(f"Write the rates as numbers with commas between, as in {Plan.rates}.") from None


def keep(study: Study) -> None:
    """Keep a study in the runs folder and look at it; what stands against it is shown with the next drawing."""
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
