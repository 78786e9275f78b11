"""The command line that trains a config: what a page shows of a plan, and a report of a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from .config import DECIDED_ELSEWHERE, MODEL_PRESETS, RunConfig, preset_config

_OPTIONS = ("train.epochs", "train.seed", "train.freeze")  # fields with an option of their own
_ANY_PRESET = "alexnet-32"


def command_line(config: RunConfig, base: RunConfig | None) -> str:
    """The command that starts the same run: what it begins from, data, and the fields in which it differs from `base`.

    `base` is what the command line makes of a preset, or of a network to begin from, and of the data; None where that
    is not known, so that every field is told. The number of classes and the digest are left out, as the data decide
    them.
    """
    preset = config.model.preset if config.model.preset in MODEL_PRESETS else _ANY_PRESET
    origin = ["--init", config.train.init] if config.train.init else ["--preset", preset]
    words = ["python", "-m", "alexnet_explorer", "train", *origin, "--data", config.data.name]
    for field, value in differences(config, base).items():
        if field in _OPTIONS:
            words += [f"--{field.removeprefix('train.')}", ",".join(value) if isinstance(value, list) else str(value)]
        else:
            words += ["--set", f"{field}={_as_text(value)}"]
    return shlex.join(words)


def repeat_command(config: RunConfig) -> str:
    """The command that trains a run's config again, wherever its data, and the weights that it began from, are known.

    A network of no preset that is known here is told as what differs from another one.
    """
    if config.train.init:  # what a fine-tuning begins with depends on its data
        return command_line(config, None)
    preset = config.model.preset if config.model.preset in MODEL_PRESETS else _ANY_PRESET
    return command_line(config, preset_base(preset, config.data.name))


def preset_base(preset: str, data: str) -> RunConfig:
    """What the command line makes of a preset and the label of a data set. Raises ConfigError."""
    return preset_config(preset, Path(data).name or data)


def differences(config: RunConfig, base: RunConfig | None) -> dict[str, Any]:
    """The dotted fields in which a config differs from another one (None: all), but for those `--set` cannot set."""
    before = base.flat() if base else {}
    changed = {name: value for name, value in config.flat().items() if name not in before or value != before[name]}
    return {name: value for name, value in changed.items() if name not in DECIDED_ELSEWHERE}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
