"""What a run is: one value, validated, written to and read from JSON.

`RunConfig` = `ModelConfig` + `DataConfig` + `TrainConfig`. Every toggle of every page and every
`--set` of the command line is a field here, so that a run can be told from its config file alone.
Section numbers in brackets are those of the 2012 paper.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Activation = Literal["relu", "tanh", "sigmoid"]
Augmentation = Literal["flip", "crop", "pca-colour", "rotation", "shift", "blur", "zoom"]
LayerKind = Literal["conv", "activation", "lrn", "pool", "fc", "dropout"]
Shape = tuple[int, ...]


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the field and what is allowed."""


class Layer(NamedTuple):
    """One layer of the network, with the sizes of what goes in and what comes out of one image."""

    name: str  # as in the paper: conv1, relu1, lrn1, pool1, … fc8
    kind: LayerKind
    number: int  # the paper's number: 1 for conv1, relu1, …; 8 for fc8
    input: Shape
    output: Shape
    groups: int = 1

    def parameters(self, kernel: int) -> int:
        """Weights and biases of this layer; `kernel` is the side of a convolution's kernel."""
        if self.kind == "conv":
            return self.output[0] * (self.input[0] // self.groups * kernel**2 + 1)
        return self.output[0] * (self.input[0] + 1) if self.kind == "fc" else 0


# Of a network that anybody may describe in a file: far beyond 2012's, and within what a computer holds.
MOST_NUMBERS = 2**27  # of a layer's output, for each picture
MOST_PARAMETERS = 2**31
MOST_NORMALISED = 8192  # maps of a layer that normalises over them


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(_Config):
    """The network. Lists about convolutions have one entry for each, in order; numbers count from 1."""

    preset: str = Field("alexnet-32", description="the preset that this network started from, a label")
    input_size: int = Field(32, ge=8, le=512, description="side of the square input, in pixels")
    in_channels: int = Field(3, ge=1, le=4)
    num_classes: int = Field(10, ge=2, le=100_000)

    widths: tuple[int, ...] = Field((32, 64, 96, 96, 64), description="kernels of each convolution")
    kernels: tuple[int, ...] = Field((5, 5, 3, 3, 3), description="side of the kernels, in pixels")
    strides: tuple[int, ...] = (1, 1, 1, 1, 1)
    paddings: tuple[int, ...] = (2, 2, 1, 1, 1)
    convolutions: tuple[int, ...] = Field(
        (1, 2, 3, 4, 5), description="the convolutions that are there; drop one to ask what depth brings [7]"
    )
    fc_widths: tuple[int, ...] = Field((256, 256), description="fully connected layers before the last one")

    activation: Activation = Field("relu", description="the non-linearity [3.1]")
    towers: int = Field(1, ge=1, le=8, description="separate paths, one a GPU in 2012 [3.2]")
    grouped: tuple[int, ...] = Field((2, 4, 5), description="convolutions that see their own tower only")
    groups: int = Field(
        0, ge=0, le=8, description="parts of those; 0: one a tower; 2 in Caffe's AlexNet, whose LRN spans all maps"
    )

    lrn: bool = Field(True, description="local response normalisation [3.3]")
    lrn_after: tuple[int, ...] = (1, 2)
    lrn_kind: Literal["across-maps", "within-map"] = "across-maps"
    lrn_place: Literal["before-pool", "after-pool"] = "before-pool"
    lrn_size: int = Field(5, ge=1, description="n: neighbouring maps, or the side of the window within a map")
    lrn_alpha: float = Field(1e-4, ge=0, description="α as the paper prints it, not divided by n")
    lrn_beta: float = Field(0.75, ge=0)
    lrn_k: float = Field(2.0, gt=0)

    pooling: Literal["overlapping", "non-overlapping"] = Field(
        "overlapping", description="windows of 3 (overlapping) or 2, two pixels apart [3.4]"
    )
    pool_after: tuple[int, ...] = (1, 2, 5)
    pool_kinds: tuple[Literal["max", "avg"], ...] = ("max", "max", "max")

    dropout: float = Field(0.5, ge=0, le=0.95, description="share of units dropped in training [4.2]")
    dropout_place: Literal["after-fc", "before-fc"] = Field(
        "after-fc", description="on the outputs of the hidden fc layers (2012), or on their inputs (2014)"
    )

    init: Literal["2012", "modern"] = Field(
        "modern", description="2012: fixed deviations, some biases 1 [5]; modern: He's, biases 0"
    )
    init_std: tuple[float, ...] = Field((0.01,), description="2012's deviations, by layer; the last one is repeated")
    bias_one: tuple[int, ...] = Field((2, 4, 5, 6, 7), description="layers whose biases 2012 starts at 1")

    @field_validator("widths", "kernels", "strides", "fc_widths")
    @classmethod
    def _positive(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(value < 1 or value > 65_536 for value in values):
            raise ValueError("every entry must be between 1 and 65536")
        return values

    @field_validator("init_std")
    @classmethod
    def _some_deviation(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or any(value <= 0 for value in values):
            raise ValueError("needs at least one entry, each above 0")
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        count = len(self.widths)
        for field in ("kernels", "strides", "paddings"):
            if len(getattr(self, field)) != count:
                raise ValueError(f"{field} has {len(getattr(self, field))} entries, widths has {count}: give one each")
        for field in ("convolutions", "lrn_after", "pool_after"):
            numbers = getattr(self, field)
            if list(numbers) != sorted(set(numbers)) or any(n < 1 or n > count for n in numbers):
                raise ValueError(f"{field}={list(numbers)}: allowed are rising numbers from 1 to {count}")
        if 1 not in self.convolutions:
            raise ValueError("convolutions: the first one has to stay, filters and pixels are compared there")
        if len(self.pool_kinds) != len(self.pool_after):
            raise ValueError(f"pool_kinds needs one entry for each of pool_after={list(self.pool_after)}")
        if self.lrn_size % 2 == 0:
            raise ValueError(f"lrn_size={self.lrn_size}: allowed are odd numbers, so that a map has as many "
                             "neighbours on either side")  # fmt: skip
        for layer in self.layers():
            if math.prod(layer.output) > MOST_NUMBERS:
                raise ValueError(f"{layer.name} would put out {math.prod(layer.output):,} numbers for each picture: "
                                 f"allowed are {MOST_NUMBERS:,}")  # fmt: skip
            if layer.kind == "lrn" and self.lrn_kind == "across-maps" and layer.output[0] > MOST_NORMALISED:
                raise ValueError(f"{layer.name} has {layer.output[0]} maps: allowed are {MOST_NORMALISED}")
        if (count := self.parameters()) > MOST_PARAMETERS:
            raise ValueError(f"it would have {count:,} parameters: allowed are {MOST_PARAMETERS:,}")
        return self

    def layers(self) -> list[Layer]:
        """The network's layers in order.

        Raises ValueError, naming the layer, where towers do not divide the channels or a map vanishes.
        """
        layers: list[Layer] = []
        shape: Shape = (self.in_channels, self.input_size, self.input_size)

        def add(name: str, kind: LayerKind, number: int, output: Shape, groups: int = 1) -> None:
            nonlocal shape
            layers.append(Layer(name, kind, number, shape, output, groups))
            shape = output

        def add_lrn(n: int) -> None:
            if self.lrn and n in self.lrn_after and n in self.convolutions:
                add(f"lrn{n}", "lrn", n, shape)

        for n, (width, kernel, stride, padding) in enumerate(
            zip(self.widths, self.kernels, self.strides, self.paddings, strict=True), 1
        ):
            if n in self.convolutions:
                groups = (self.groups or self.towers) if n in self.grouped else 1
                if width % self.towers or width % (self.groups or 1) or shape[0] % groups:
                    field = "groups" if self.groups else "towers"
                    raise ValueError(f"{field}={getattr(self, field)} does not divide the channels of conv{n} "
                                     f"({shape[0]} in, {width} out)")  # fmt: skip
                side = (shape[1] + 2 * padding - kernel) // stride + 1
                if padding < 0 or side < 1:
                    raise ValueError(f"conv{n}: nothing is left of a {shape[1]}×{shape[1]} map under a kernel of "
                                     f"{kernel}×{kernel} with stride {stride}, padding {padding}")  # fmt: skip
                add(f"conv{n}", "conv", n, (width, side, side), groups)
                add(f"{self.activation}{n}", "activation", n, shape)
            if self.lrn_place == "before-pool":
                add_lrn(n)
            if n in self.pool_after:
                if shape[1] < 2:
                    raise ValueError(f"pool{n}: the {shape[1]}×{shape[1]} map pools away to nothing; "
                                     "take a larger input_size or fewer pool_after")  # fmt: skip
                # 3/2 rounding up and 2/2 rounding down agree for every size, so the toggle changes none.
                add(f"pool{n}", "pool", n, (shape[0], shape[1] // 2, shape[2] // 2))
            if self.lrn_place == "after-pool":
                add_lrn(n)

        shape = (shape[0] * shape[1] * shape[2],)
        first = len(self.widths) + 1
        for n, width in enumerate(self.fc_widths, first):
            if self.dropout and self.dropout_place == "before-fc":
                add(f"drop{n}", "dropout", n, shape)
            add(f"fc{n}", "fc", n, (width,))
            add(f"{self.activation}{n}", "activation", n, (width,))
            if self.dropout and self.dropout_place == "after-fc":
                add(f"drop{n}", "dropout", n, (width,))
        last = first + len(self.fc_widths)
        add(f"fc{last}", "fc", last, (self.num_classes,))
        return layers

    @property
    def paths(self) -> int:
        """Into how many towers kernels fall: Caffe's AlexNet has two in its grouped convolutions, one in its LRN."""
        return max(self.towers, self.groups)

    def parameters(self) -> int:
        """The number of weights and biases, without building the network."""
        return sum(
            layer.parameters(self.kernels[layer.number - 1] if layer.kind == "conv" else 1) for layer in self.layers()
        )


class DataConfig(_Config):
    """The training data, by label and digest (never by a path), and how a batch is made of it."""

    name: str = Field("digits", min_length=1, max_length=120, description="the label of a data set of this machine")
    digest: str = Field("", description="of the packed images; filled in when the run is created")
    augmentation: tuple[Augmentation, ...] = Field((), description="random changes of the training images [4.1]")
    rotation: float = Field(15.0, ge=0, le=30, description="largest angle, in degrees")
    shift: float = Field(0.1, ge=0, le=0.2, description="largest shift, as a share of the size")
    zoom: float = Field(0.6, ge=0.2, le=1, description="least share of the side that a zoomed image shows")
    scaling: Literal["standard", "2012"] = Field(
        "standard",
        description="standard: mean 0, deviation 1 for each channel; 2012: 0–255 less the mean image",
    )
    val_fraction: float = Field(0.1, gt=0, le=0.5, description="share of the training images kept for val/…")
    split_seed: int = Field(0, ge=0, description="chooses the images kept for val/…; the same for paired seeds")

    @field_validator("augmentation", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, str):
            value = [] if value in ("", "none") else value.split(",")
        return value

    @field_validator("augmentation")
    @classmethod
    def _sorted(cls, value: tuple[Augmentation, ...]) -> tuple[Augmentation, ...]:
        return tuple(name for name in get_args(Augmentation) if name in value)


# In the environment of a training that the queue starts: how many threads it may take.
MOST_THREADS = "ALEXNET_EXPLORER_MOST_THREADS"


class TrainConfig(_Config):
    """How it is trained [5]."""

    epochs: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(128, ge=1, le=65_536)
    optimiser: Literal["momentum", "muon"] = Field(
        "momentum", description="momentum: 2012's update [5]; muon: of 2024, the inner convolutions move orthogonally"
    )
    learning_rate: float = Field(0.01, gt=0, le=100, description="ε: the first one (the highest of a one-cycle)")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, le=1)
    schedule: Literal["constant", "plateau", "step", "cosine", "one-cycle"] = Field(
        "one-cycle", description="plateau is 2012's: a tenth when val/loss stops falling (in 2012 the error)"
    )
    warm_up: float = Field(0.25, gt=0, lt=1, description="one-cycle: share of the training in which the rate rises")
    patience: int = Field(5, ge=1, description="plateau: epochs without a lower val/loss before the rate falls")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="fp32 repeats to the bit; auto takes bf16 where the hardware has it"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="steps by torch.compile, on a GPU as CUDA graphs; auto: on a GPU in bf16, if a test finds it pays"
    )  # fmt: skip
    threads: int = Field(
        0, ge=0, le=1024,
        description="CPU threads; 0: all cores; in the queue at most all but one, which is kept for the page"
    )  # fmt: skip
    average: float = Field(
        0.0, ge=0, le=1,
        description="share of the training, its last part, whose weights are averaged: their mean is validated and kept"
    )  # fmt: skip
    clean_passes: int = Field(
        0, ge=0, le=100, description="times an epoch that training images are looked at as validation images are"
    )
    clean_images: int = Field(0, ge=0, description="training images that such a clean pass sees; 0: all")
    until: float = Field(0.0, ge=0, lt=1, description="the last epoch is that in which `until_metric` falls to this")
    until_metric: Literal["val/top1_error", "clean/top1_error"] = "val/top1_error"
    snapshot_layers: tuple[str, ...] = Field((), description="layers kept at epochs 0, 1, 2, 4, …; none named: all")
    init: str = Field("", description="fine-tuning: the weights that it begins from, NAME@DIGEST; chosen by --init")
    freeze: tuple[str, ...] = Field((), description="layers that keep the weights that they begin with")

    @model_validator(mode="after")
    def _measures_what_ends_it(self) -> Self:
        if self.until and self.until_metric == "clean/top1_error" and not self.clean_passes:
            raise ValueError("until_metric=clean/top1_error needs clean_passes, at least 1")
        return self

    @field_validator("init")
    @classmethod
    def _names_weights(cls, value: str) -> str:
        if value and not re.fullmatch(r"[^/\\]+@[0-9a-f]{16}", value):
            raise ValueError("allowed is the name of a network and the digest of its weights, as in "
                             "alexnet-32-relu@0123456789abcdef")  # fmt: skip
        return value

    @field_validator("snapshot_layers", "freeze", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return [name for name in value.split(",") if name] if isinstance(value, str) else value


class RunConfig(_Config):
    """Everything that decides what a run computes."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _pictures_fit(self) -> Self:
        if self.model.in_channels not in (1, 3):
            raise ValueError(f"model.in_channels={self.model.in_channels}: allowed are 3 (RGB) and 1 (grey)")
        return self

    @model_validator(mode="after")
    def _layers_exist(self) -> Self:
        names = [layer.name for layer in self.model.layers() if layer.kind in ("conv", "fc")]
        for field in ("snapshot_layers", "freeze"):
            for name in getattr(self.train, field):
                if name not in names:
                    raise ValueError(f"train.{field}: there is no {name!r}; allowed are {', '.join(names)}")
        if set(self.train.freeze) == set(names):
            raise ValueError("train.freeze names every layer, and nothing is left to learn: leave one out")
        return self

    def to_json(self) -> str:
        """Indented JSON; `from_json` gives the same value back."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> RunConfig:
        """Raises ConfigError with one line for a human where the text is not a valid config."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(explain(error)) from None

    def flat(self) -> dict[str, Any]:
        """Every field by its dotted name: {"model.activation": "relu", …}."""
        return {
            f"{part}.{field}": value
            for part, fields in json.loads(self.model_dump_json()).items()
            for field, value in fields.items()
        }

    def with_settings(self, settings: Mapping[str, Any]) -> RunConfig:
        """A copy with dotted fields changed, `{"model.activation": "tanh"}`.

        Text is read as JSON where the field is not text itself. Raises ConfigError.
        """
        parts: dict[str, dict[str, Any]] = json.loads(self.model_dump_json())
        for name, value in settings.items():
            part, _, field = name.partition(".")
            if part not in parts or field not in parts[part]:
                known = sorted(self.flat())
                near = [known_name for known_name in known if known_name.endswith("." + (field or part))]
                hint = f"did you mean {near[0]}?" if near else f"fields are {', '.join(known)}"
                raise ConfigError(f"{name}: there is no such field; {hint}")
            parts[part][field] = _read(value, parts[part][field])
        try:
            return RunConfig.model_validate(parts)
        except ValidationError as error:
            raise ConfigError(explain(error)) from None

    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the config: equal configs, equal digests."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _read(value: Any, current: Any) -> Any:
    """A value of the command line, which is text, as the field's own type; `32,64` is a list."""
    if not isinstance(value, str) or isinstance(current, str):
        return value
    if isinstance(current, list):
        text = value.strip()
        items = text.removeprefix("[").removesuffix("]").split(",") if text not in ("", "none", "[]") else []
        return [_read_scalar(item.strip()) for item in items]
    return _read_scalar(value)


def _read_scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"on": True, "off": False, "True": True, "False": False}.get(text, text.strip("\"'"))


# Pydantic's faults as people say them, by their type.
_PLAIN = {
    "extra_forbidden": "there is no such field",
    "missing": "it is missing",
    "too_short": "give {min_length} or more; there are {actual_length}",
    "too_long": "give {max_length} at most; there are {actual_length}",
    "string_too_short": "write something",
    "string_too_long": "write {max_length} characters at most",
    "greater_than": "write a number above {gt:g}",
    "greater_than_equal": "write a number of {ge:g} or more",
    "less_than": "write a number below {lt:g}",
    "less_than_equal": "write a number of {le:g} at most",
    "literal_error": "allowed are {expected}",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "finite_number": "write a finite number",
    "string_type": "write text",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "tuple_type": "write a list",
    "dict_type": "write fields and values",
    "model_type": "write fields and values",
    "model_attributes_type": "write fields and values",
}


def explain(error: ValidationError) -> str:
    """The first fault of a pydantic error as one line that names the field and what is allowed."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("", "[key]"))
    words = _PLAIN.get(first["type"])
    message = words.format(**first.get("ctx", {})) if words else first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f"={given!r:.80}" if isinstance(given, str | int | float | bool) else ""
    return f"{place}{shown}: {message}" if place else message


_ALEXNET = ModelConfig(
    preset="alexnet", input_size=227, num_classes=1000, widths=(96, 256, 384, 384, 256), kernels=(11, 5, 3, 3, 3),
    strides=(4, 1, 1, 1, 1), paddings=(0, 2, 1, 1, 1), fc_widths=(4096, 4096), towers=2, init="2012",
)  # fmt: skip

MODEL_PRESETS: dict[str, ModelConfig] = {
    "alexnet": _ALEXNET,
    "alexnet-torchvision": _ALEXNET.model_copy(
        update={
            "preset": "alexnet-torchvision", "input_size": 224, "widths": (64, 192, 384, 256, 256),
            "paddings": (2, 2, 1, 1, 1), "towers": 1, "lrn": False, "dropout_place": "before-fc", "init": "modern",
        }
    ),
    "alexnet-64": ModelConfig(
        preset="alexnet-64", input_size=64, num_classes=200, widths=(64, 192, 384, 256, 256), kernels=(7, 5, 3, 3, 3),
        strides=(2, 1, 1, 1, 1), paddings=(3, 2, 1, 1, 1), fc_widths=(1024, 1024),
    ),
    "alexnet-32": ModelConfig(dropout=0.2),  # half of 256 units would starve so small a network
    # cuda-convnet's layers-18pct, the published network nearest to the one of figure 1 [3.1].
    "convnet-2012": ModelConfig(
        preset="convnet-2012", widths=(32, 32, 64), kernels=(5, 5, 5), strides=(1, 1, 1), paddings=(2, 2, 2),
        convolutions=(1, 2, 3), fc_widths=(), grouped=(2,), lrn_kind="within-map", lrn_place="after-pool", lrn_size=3,
        lrn_alpha=5e-5 / 9, lrn_k=1.0, pool_after=(1, 2, 3), pool_kinds=("max", "avg", "avg"), dropout=0.0,
        init_std=(1e-4, 0.01), bias_one=(),
    ),
}  # fmt: skip

PRESET_NOTES: dict[str, str] = {
    "alexnet": "The network of 2012: 227×227 pixels, two towers, LRN, 60,965,224 parameters.",
    "alexnet-torchvision": "The 2014 network that torchvision calls AlexNet: narrower, one tower, no LRN.",
    "alexnet-64": "Eight layers for 64×64 pixels, with all of 2012's ingredients.",
    "alexnet-32": "Eight layers for 32×32 pixels, half a million parameters: minutes on a laptop.",
    "convnet-2012": "The four-layer CIFAR-10 network of cuda-convnet, on which the paper measured ReLU against tanh.",
}


# Fields that say what was decided in another place, and where.
DECIDED_ELSEWHERE: dict[str, str] = {
    "model.preset": "choose it by --preset",
    "model.num_classes": "the data decide it",
    "data.name": "choose the data by --data",
    "data.digest": "the data decide it",
    "train.init": "choose it by --init",
}


def preset_config(preset: str, data: str = "digits", num_classes: int | None = None) -> RunConfig:
    """The config that a preset starts from, for a data set's label. Raises ConfigError for an unknown preset."""
    if preset not in MODEL_PRESETS:
        raise ConfigError(f"preset={preset!r}: allowed are {', '.join(MODEL_PRESETS)}")
    model = MODEL_PRESETS[preset]
    if num_classes:
        model = model.model_copy(update={"num_classes": num_classes})
    # A mirrored digit is another sign, or none.
    augmentation: tuple[Augmentation, ...] = ("crop",) if data == "digits" else ("flip", "crop")
    if preset == "alexnet":  # as in 2012 [4, 5]
        train = TrainConfig(epochs=90, schedule="plateau")
        augmentation = (*augmentation, "pca-colour")
        return RunConfig(
            model=model, data=DataConfig(name=data, augmentation=augmentation, scaling="2012"), train=train
        )
    rate = 0.06 if preset == "alexnet-32" and data != "digits" else 0.03
    train = TrainConfig(epochs=30, learning_rate=rate)
    return RunConfig(model=model, data=DataConfig(name=data, augmentation=augmentation), train=train)
