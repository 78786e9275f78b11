"""What a visitor chose for the next run: one dictionary of the session.

It holds a preset, or the network that is fine-tuned, a data set, and the fields that were changed since. The widgets
show it and write to it, so that it outlives a walk over the other pages.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from alexnet_explorer.catalogue import find_weights
from alexnet_explorer.commands import differences, preset_base
from alexnet_explorer.config import DECIDED_ELSEWHERE, ConfigError, RunConfig
from alexnet_explorer.data.packed import PackedSet, list_sets
from alexnet_explorer.data.sources import SOURCES
from alexnet_explorer.runs import RunError, config_on, find_run
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.weights_file import WeightsError, check_version, digest_of, read_header

_KEY = "train_settings"
CLASSES = 10  # as each of `SOURCES` has


class Source(NamedTuple):
    """The network that a fine-tuning begins from, as its file's header describes it."""

    name: str
    title: str
    digest: str
    config: RunConfig
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    """The settings as they stand; `config` is None where they do not fit together, for the reason `fault`."""

    base: RunConfig  # before anything was changed: what the command line starts from
    changed: Mapping[str, Any]
    config: RunConfig | None
    fault: str
    packed: PackedSet | None  # None: the data are still to be had
    source: Source | None = None  # None: it begins from new weights
    fitting: tuple[str, ...] = ()  # layers that can begin with the weights of the source

    def value(self, field: str) -> Any:
        """Of a field by its dotted name, as its widget shows it."""
        return self.changed.get(field, self.base.flat()[field])


def settings() -> dict[str, Any]:
    """preset, init (NAME@DIGEST of the network that is fine-tuned, or empty), data, changes by dotted field."""
    found: dict[str, Any] = st.session_state.setdefault(
        _KEY, {"preset": "alexnet-32", "init": "", "data": "digits", "changes": {}}
    )
    return found


def change(field: str, value: Any) -> None:
    """Take over a value of a widget."""
    settings()["changes"][field] = value


def sets() -> dict[str, PackedSet]:
    """The packed sets of this machine by label; of two with the same one the newer, as `prepare` would find."""
    by_age = sorted(list_sets(), key=lambda packed: (packed.folder / "set.json").stat().st_mtime)
    return {packed.name: packed for packed in by_age}


def now(found: Mapping[str, PackedSet]) -> Chosen | None:
    """What is chosen, as it would be trained on the sets `found`.

    None where a network is fine-tuned whose data are still to be had: how depends on them. Raises RunError,
    WeightsError where the network to begin from is not there.
    """
    chosen, packed = settings(), found.get(settings()["data"])
    changed: dict[str, Any] = dict(chosen["changes"])
    source: Source | None = None
    fitting: tuple[str, ...] = ()
    if chosen["init"]:
        if packed is None:
            return None
        from alexnet_explorer.training.finetune import finetune_config, fitting_layers, suggested_freeze

        source = source_of(chosen["init"])
        base = finetune_config(source, packed)
        fitting = tuple(fitting_layers(source, base.model, packed.classes))
        frozen = changed.get("train.freeze", suggested_freeze(source, packed))
        changed["train.freeze"] = [layer for layer in frozen if layer in fitting]
    else:
        base = preset_base(chosen["preset"], chosen["data"])
    try:
        config = base.with_settings(changed)
    except ConfigError as error:
        return Chosen(base, changed, None, str(error).removeprefix("model: "), packed, source, fitting)
    return Chosen(base, changed, planned(config, packed), "", packed, source, fitting)


def planned(config: RunConfig, packed: PackedSet | None) -> RunConfig:
    """The config as it will be trained: with one output for each class of its data, as far as they are known yet."""
    if packed:
        return config_on(config, packed)
    return config.model_copy(update={"model": config.model.model_copy(update={"num_classes": CLASSES})})


def source_of(init: str) -> Source:
    """The network NAME@DIGEST. Raises RunError, WeightsError."""
    return _read_source(init, str(runs_folder()))


@st.cache_resource(max_entries=64, show_spinner=False)
def _read_source(init: str, root: str) -> Source:
    data, name, title = find_weights(init, Path(root))
    metadata = read_header(io.BytesIO(data), name)
    check_version(metadata, name)
    try:
        config, classes = RunConfig.from_json(metadata["config"]), tuple(json.loads(metadata["classes"]))
    except (KeyError, ValueError):
        raise WeightsError(f"{name} does not describe its network as it should: take another copy of it.") from None
    return Source(name, title, digest_of(data), config, classes)


def take_settings_of(run_id: str, found: Iterable[str], changed: str = "") -> str:
    """Begin with the settings of a run, to change some of them. Returns what stands against it, in words, if any.

    `found`: the labels of the data sets of this machine. `changed`: one of them that is changed already, FIELD=VALUE.
    """
    try:
        config = find_run(run_id, runs_folder()).config
        if changed:
            field, _, value = changed.partition("=")
            config = config.with_settings({field: value})
        if config.train.init:
            # Every field: what a fine-tuning begins with depends on its data.
            changes = {field: value for field, value in config.flat().items() if field not in DECIDED_ELSEWHERE}
            origin = {"init": config.train.init}
        else:
            changes = differences(config, preset_base(config.model.preset, config.data.name))
            origin = {"init": "", "preset": config.model.preset}
    except (RunError, ConfigError) as error:
        return f"The settings cannot be taken over: {error}"
    settings().update(origin, changes=changes)
    if config.data.name not in found and config.data.name not in SOURCES:
        return f"The data set {config.data.name!r} is not on this machine: choose another."
    settings()["data"] = config.data.name
    return ""
