"""What a study is: one small file that says what is changed, how often, and what is measured.

    id: dropout-digits
    base: {preset: alexnet-32, data: digits, set: {data.augmentation: none}}
    factors:
      dropout: {with: {}, without: {model.dropout: 0}}
    seeds: [1, 2, 3, 4, 5]
    stop: {epochs: 20}
    measure: {metric: test/top1_error}

YAML or JSON. Everything is checked before anything is trained; a fault is one line that names the field.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..config import DECIDED_ELSEWHERE, ConfigError, RunConfig, explain, preset_config

Design = Literal["one-off", "one-on", "full", "fractional"]
Along = Literal["epoch", "seconds", "images"]
Direction = Literal["lower", "higher"]
ReadingName = Literal["ten-crop", "neighbours", "tower-colour"]  # of inspection/readings.py, which needs PyTorch

MOST_RUNS = 2000
MOST_BYTES = 2**18  # of a study file
SWEEP_SEED = 1000  # far from the seeds of any study: the rate is chosen on runs that are not counted

# What a run is measured by: the last value of each is in its metrics.
METRICS = (
    *(f"{part}/{name}" for part in ("test", "val", "clean") for name in ("top1_error", "top5_error", "loss")),
    "epoch/train_top1_error", "epoch/train_loss", "train/top1_error", "train/loss",
)  # fmt: skip

UNITS: dict[Along, str] = {"epoch": "epochs", "seconds": "seconds", "images": "images"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,59}", text):
        raise ValueError("write small letters, digits and dashes, 60 at most, a dash not first")
    return text


Name = Annotated[str, AfterValidator(_name)]
Settings = dict[str, Any]
Label = Annotated[str, Field(min_length=1, max_length=60)]


class Base(_Part):
    """What all arms have in common."""

    preset: str
    data: str = "digits"
    set: Settings = Field({}, description="fields of the config, as --set has them")


class Until(_Part):
    """The error at which a run ends, with the epoch in which it falls to it."""

    metric: Literal["val/top1_error", "clean/top1_error"]
    at: float = Field(gt=0, lt=1)


class Stop(_Part):
    """When a run ends."""

    epochs: int = Field(ge=1, le=100_000)
    until: Until | None = None


class Sweep(_Part):
    """Each arm trains with its own best value of a field, found on runs with a seed that the study leaves out."""

    field: str = "train.learning_rate"
    values: tuple[float, ...] = Field(min_length=2)
    epochs: int = Field(ge=1, le=100_000)
    seeds: tuple[int, ...] = Field((SWEEP_SEED,), min_length=1)
    choose: str = Field("val/top1_error", description="the value whose last one is lowest is taken")

    @field_validator("values")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError("write rising numbers, each once")
        return values

    @field_validator("choose")
    @classmethod
    def _on_validation(cls, name: str) -> str:
        if name not in ("val/top1_error", "val/loss"):
            raise ValueError("allowed are val/top1_error and val/loss: what is chosen on test/… can no longer be "
                             "tested there")  # fmt: skip
        return name


class Measure(_Part):
    """What is read off each run: its last value of a metric, or how long it took to bring the metric down.

    A reading looks at the trained network instead, and compares two ways to do so within each run.
    """

    metric: str = "test/top1_error"
    less: str = Field("", description="a metric that is subtracted: the gap between test and training error, say")
    to_reach: float | None = Field(None, gt=0, description="an error is a share: 0.25 is 25 %")
    along: Along = "epoch"
    reading: ReadingName | None = None

    @field_validator("metric", "less")
    @classmethod
    def _known(cls, name: str) -> str:
        if name and name not in METRICS:
            raise ValueError(f"there is no such metric; allowed are {', '.join(METRICS)}")
        return name

    @property
    def is_time(self) -> bool:
        return self.to_reach is not None

    @property
    def metrics(self) -> list[str]:
        """What a run has to have measured."""
        return [name for name in (self.metric, self.less) if name and not self.reading]

    @property
    def unit(self) -> str:
        """Of what is compared: the difference of errors, or the ratio of times."""
        if self.is_time:
            return f"times the {UNITS[self.along]}"
        return "percentage points" if self.reading or self.metric.endswith("_error") else ""

    @property
    def name(self) -> str:
        """'test/top1_error', 'epochs to val/top1_error 0.25', 'test/top1_error less clean/top1_error'."""
        if self.is_time:
            return f"{UNITS[self.along]} to {self.metric} {self.to_reach:g}"
        return self.reading or " less ".join(self.metrics)

    def fault(self, place: str, until: Until | None) -> str:
        """What is wrong with it, in a study whose runs end there, in words that name the field; empty where nothing is.

        `place`: of the measure in the file.
        """
        if self.less and (self.is_time or self.less.endswith("_error") != self.metric.endswith("_error")):
            return f"{place}.less={self.less!r}: what is subtracted is an error from an error, or a loss from a loss"
        if self.to_reach is None:
            return ""
        given = f"{place}.to_reach={self.to_reach:g}"
        if self.metric.endswith("_error") and self.to_reach >= 1:
            return f"{given}: an error is a share, below 1; write 0.25 for 25 %"
        if self.metric.startswith("test/"):
            return f"{given}: {self.metric} is measured once, when a run ends; choose val/… or clean/… to see it fall"
        if until and until.metric == self.metric and until.at > self.to_reach:
            return f"{given}: the runs end before, at stop.until.at={until.at:g}; write the same there, or less"
        return ""


class Aspect(_Part):
    """A further part of a claim: measured on the same runs, or out of reach here."""

    id: Name
    says: str
    measure: Measure | None = None
    direction: Direction | None = Field(None, description="of what is measured, as in the claim")
    size: float | None = Field(None, description="the paper's figure, in points or as a ratio")
    takes: str = Field("", description="what it would take to test this part, where it cannot be measured here")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.takes) == bool(self.measure) or bool(self.measure) != bool(self.direction):
            raise ValueError("give measure and direction, or takes: what it would take to test it")
        return self


class Claim(_Part):
    """What the paper says of the change from a factor's first level to another, and what would bear it out."""

    says: str
    section: str = ""
    direction: Direction = Field(description="of the other level, against the first one")
    size: float | None = Field(None, description="the paper's figure, in points or as a ratio")
    size_counts: bool = Field(False, description="whether the size, too, can be expected here: same data, same measure")
    aspects: tuple[Aspect, ...] = Field((), description="what else the paper says there")

    @field_validator("aspects")
    @classmethod
    def _each_once(cls, aspects: tuple[Aspect, ...]) -> tuple[Aspect, ...]:
        if len({aspect.id for aspect in aspects}) != len(aspects):
            raise ValueError("an id stands twice")
        return aspects


class Study(_Part):
    """A study file. The first level of each factor is the baseline."""

    id: Name
    title: str = Field("", max_length=120)
    question: str = ""
    claim: Claim | None = None
    base: Base
    factors: dict[Label, dict[Label, Settings]] = Field({}, max_length=12)
    design: Design = Field(
        "full",
        description="one-off: the first levels, and each factor changed alone; one-on: the last levels, and each "
        "factor brought to its first alone; full: every combination; fractional: a chosen part of them",
    )
    generators: dict[str, tuple[str, ...]] = Field(
        {}, description="fractional: {d: [a, b, c]} gives d the level that is the product of the others'"
    )
    contrast: str = Field("", description="the factor whose levels are compared, at each level of the others")
    headline: dict[str, str] = Field(
        {}, description="the contrast that stands for the study: levels of the other factors, and of this one if it "
        "has more than two"
    )  # fmt: skip
    seeds: tuple[int, ...] = Field(max_length=200)
    stop: Stop
    sweep: Sweep | None = None
    measure: Measure = Measure()
    hours: float | None = Field(
        None, gt=0, description="what all of its runs take on 2 cores, one after another, by a few measured steps"
    )
    budget_hours: float | None = Field(
        None, gt=0, description="no run is started after so many hours of training; what lacks runs then stays open"
    )
    notes: str = ""

    @field_validator("factors", mode="before")
    @classmethod
    def _labels_are_text(cls, factors: object) -> object:
        """YAML reads `2012:` as a number and `off:` as false."""
        if not isinstance(factors, dict):
            return factors
        return {
            _label(name): {_label(level): {} if settings is None else settings for level, settings in levels.items()}
            if isinstance(levels, dict) else levels
            for name, levels in factors.items()
        }  # fmt: skip

    @field_validator("headline", mode="before")
    @classmethod
    def _levels_are_text(cls, levels: object) -> object:
        return {_label(k): _label(v) for k, v in levels.items()} if isinstance(levels, dict) else levels

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("give one seed or more")
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed stands twice")
        return seeds

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.factors) == bool(self.measure.reading):
            raise ValueError("give factors, or a measure.reading, which compares within each run")
        for name, levels in self.factors.items():
            if len(levels) < 2:
                raise ValueError(f"factors.{name}: give two levels or more")
        fields = {name: {f for level in levels.values() for f in level} for name, levels in self.factors.items()}
        if self.sweep:
            fields["sweep"] = {self.sweep.field}
            if set(self.sweep.seeds) & set(self.seeds):
                raise ValueError(
                    "sweep.seeds: take others than the study's, or its runs would be chosen for their luck"
                )
        for (one, mine), (other, its) in itertools.combinations(fields.items(), 2):
            if both := mine & its:
                raise ValueError(f"{one} and {other} both set {min(both)}: a field belongs to one factor")
        of_the_study = {"model.preset", "train.seed", "train.epochs", "train.until", "train.until_metric"}
        reserved = {*of_the_study, *DECIDED_ELSEWHERE}
        if wrong := set().union(*fields.values(), self.base.set) & reserved:
            raise ValueError(f"{min(wrong)} is not for a factor or base.set: seeds, stop and base have it")
        if self.contrast and self.contrast not in self.factors:
            raise ValueError(f"contrast={self.contrast!r}: allowed are {', '.join(self.factors)}")
        for name, level in self.headline.items():
            if level not in self.factors.get(name, {}):
                raise ValueError(f"headline.{name}={level!r}: there is no such level of a factor")
        if (self.design == "fractional") != bool(self.generators):
            raise ValueError("generators belong to design=fractional, which needs them: {d: [a, b, c]}")
        for name, product in self.generators.items():
            if unknown := [factor for factor in (name, *product) if factor not in self.factors]:
                raise ValueError(f"generators.{name}: there is no factor {unknown[0]!r}")
            if name in product or set(product) & set(self.generators) or len(product) < 2:
                raise ValueError(f"generators.{name}: write two factors or more that are not generated themselves")
        if self.generators and any(len(levels) != 2 for levels in self.factors.values()):
            raise ValueError("design=fractional is for factors of two levels")
        if (count := self.count()) > MOST_RUNS:
            raise ValueError(f"that makes {count} runs; allowed are {MOST_RUNS}")
        names = [arm.name for arm in self.arms()]
        if self.headline and not any(self.is_headline(contrast) for contrast in self.contrasts()):
            raise ValueError("headline: it names none of the contrasts; give a level of each factor but the "
                             "contrast's, and of this one if it has more than two")  # fmt: skip
        if len(set(names)) != len(names):
            raise ValueError("two arms have the same levels")
        self._check_configs()
        products = [frozenset(product) for product in self.generators.values()]
        if len(set(products)) != len(products):
            raise ValueError("generators: two factors are the product of the same others, so that they would always "
                             "change together")  # fmt: skip
        if wrong_measure := next(filter(None, self._faults_of_measures()), ""):
            raise ValueError(wrong_measure)
        return self

    def _check_configs(self) -> None:
        """Build what is to be trained. Raises ConfigError, and ValueError where two arms would train the same."""
        known: dict[str, str] = {}
        arms = self.arms()
        for arm in arms:
            same = known.setdefault(_trained(self.config(arm, self.seeds[0])), arm.name)
            if same != arm.name:
                raise ValueError(f"the arms {same!r} and {arm.name!r} are the same training: a level sets what is set "
                                 "already, or what this network has no layer for")  # fmt: skip
            if self.sweep:
                for value in self.sweep.values:
                    self.config(arm, self.seeds[0], value, self.sweep.epochs)
        for seed in (*self.seeds, *(self.sweep.seeds if self.sweep else ())):
            self.config(arms[0], seed)
        if self.measure.reading == "tower-colour" and self.config(arms[0], self.seeds[0]).model.towers != 2:
            raise ValueError("measure.reading: tower-colour compares two towers; write model.towers: 2 in base.set")

    def _faults_of_measures(self) -> Iterator[str]:
        aspects = self.claim.aspects if self.claim else ()
        measures = {f"claim.aspects.{aspect.id}.measure": aspect.measure for aspect in aspects if aspect.measure}
        if measures and self.measure.reading:
            yield "claim.aspects: a study whose measure is a reading measures nothing else"
        elif measures and not self.main_contrast():
            yield "claim.aspects: a measure is of the contrast that stands for the study; name it in headline"
        for place, measure in {"measure": self.measure, **measures}.items():
            yield measure.fault(place, self.stop.until)
            if measure.reading and place != "measure":
                yield f"{place}.reading: a reading is the whole study's, in measure"
            for arm in self.arms():
                train, needed = self.config(arm, self.seeds[0]).train, [m for m in measure.metrics if m[:5] == "clean"]
                if needed and not train.clean_passes:
                    of = f" ({arm.name} has none)" if arm.name else ""
                    yield f"{place}: {needed[0]} needs train.clean_passes, at least 1, in base.set{of}"

    def on(self, data: str) -> Study:
        """The same study on another data set, by its name."""
        return self.model_copy(update={"base": self.base.model_copy(update={"data": data})})

    def count(self) -> int:
        """How many runs it takes, those of the sweep included."""
        sweep = len(self.sweep.values) * len(self.sweep.seeds) if self.sweep else 0
        return self._arm_count() * (len(self.seeds) + sweep)

    def _arm_count(self) -> int:
        """`len(self.arms())`, also where that would be millions."""
        levels = [len(levels) for name, levels in self.factors.items() if name not in self.generators]
        if self.design == "one-off":
            return 1 + sum(count - 1 for count in levels)
        return 1 + len(levels) if self.design == "one-on" else math.prod(levels)

    def epochs(self) -> int:
        """Passes over the training images that all of its runs make, at most."""
        sweep = len(self.sweep.values) * len(self.sweep.seeds) * self.sweep.epochs if self.sweep else 0
        return self._arm_count() * (len(self.seeds) * self.stop.epochs + sweep)

    def arms(self) -> list[Arm]:
        """What is trained: each arm with each seed. The baseline comes first."""
        names = list(self.factors)
        levels = {name: list(of) for name, of in self.factors.items()}
        if self.design in ("one-off", "one-on"):
            start, tried = (0, slice(1, None)) if self.design == "one-off" else (-1, slice(0, 1))
            base = {name: levels[name][start] for name in names}
            others = [{**base, name: level} for name in names for level in levels[name][tried]]
            return [self._arm(base), *map(self._arm, others)]
        free = [name for name in names if name not in self.generators]
        arms = []
        for chosen in itertools.product(*(levels[name] for name in free)):
            taken = dict(zip(free, chosen, strict=True))
            for name, product in self.generators.items():
                sign = math.prod(1 if taken[factor] == levels[factor][0] else -1 for factor in product)
                taken[name] = levels[name][0 if sign > 0 else 1]
            arms.append(self._arm({name: taken[name] for name in names}))
        return arms

    def _arm(self, levels: Mapping[str, str]) -> Arm:
        settings = {
            field: value for name, level in levels.items() for field, value in self.factors[name][level].items()
        }
        return Arm(tuple(levels.items()), settings)

    def config(self, arm: Arm, seed: int, swept: float | None = None, epochs: int | None = None) -> RunConfig:
        """The config of one run. Raises ConfigError. `swept`: the value of the sweep's field; `epochs`: of the sweep.

        A sweep's run goes through all of its epochs, so that all values are read at the same place.
        """
        settings = {**self.base.set, **arm.settings, "train.seed": seed, "train.epochs": epochs or self.stop.epochs}
        if self.stop.until and epochs is None:
            settings |= {"train.until": self.stop.until.at, "train.until_metric": self.stop.until.metric}
        if self.sweep and swept is not None:
            settings[self.sweep.field] = swept
        return preset_config(self.base.preset, self.base.data).with_settings(settings)

    def is_headline(self, contrast: Contrast) -> bool:
        """Whether this contrast was named, in the file, as the one that stands for the study."""
        if not self.headline:
            return False
        levels = {**contrast.at, contrast.factor: contrast.level}
        named = {
            **({contrast.factor: contrast.level} if len(self.factors[contrast.factor]) == 2 else {}),
            **self.headline,
        }
        return levels == named

    def main_contrast(self) -> Contrast | None:
        """The contrast that stands for the study: the one that was named beforehand, or the only one."""
        contrasts = self.contrasts()
        return contrasts[0] if len(contrasts) == 1 else next(filter(self.is_headline, contrasts), None)

    def contrasts(self) -> list[Contrast]:
        """The pairs of arms that are compared; none where main effects are read instead."""
        arms = {arm.levels: arm for arm in self.arms()}
        found = []
        if self.design in ("one-off", "one-on"):
            base, *others = arms.values()
            for other in others:
                # The first level is the baseline here as well, so that a claim says the same in every design.
                pair = (base, other) if self.design == "one-off" else (other, base)
                changed = dict(set(pair[1].levels) - set(pair[0].levels))
                found.append(Contrast(*pair, {}, *next(iter(changed.items()))))
            return found
        for arm in arms.values() if self.contrast else ():
            first, *rest = self.factors[self.contrast]
            if dict(arm.levels)[self.contrast] != first:
                continue
            at = {name: level for name, level in arm.levels if name != self.contrast}
            for level in rest:
                levels = tuple((name, level if name == self.contrast else own) for name, own in arm.levels)
                if levels in arms:
                    found.append(Contrast(arm, arms[levels], at, self.contrast, level))
        return found


@dataclass(frozen=True)
class Arm:
    """One way to train: a level of each factor, and the settings that this makes."""

    levels: tuple[tuple[str, str], ...]
    settings: Settings = field(compare=False)  # which the levels decide

    @property
    def name(self) -> str:
        return ", ".join(f"{factor} {level}" for factor, level in self.levels)


@dataclass(frozen=True)
class Contrast:
    """Two arms that differ in one factor."""

    baseline: Arm
    other: Arm
    at: dict[str, str]  # the levels of the other factors, where they vary between contrasts
    factor: str
    level: str

    @property
    def name(self) -> str:
        where = ", ".join(f"{factor} {level}" for factor, level in self.at.items())
        baseline = dict(self.baseline.levels)[self.factor]
        return f"{self.factor} {self.level} against {baseline}" + (f" ({where})" if where else "")


def _trained(config: RunConfig) -> str:
    """What a config trains, as text: without the settings of layers that its network does not have."""
    kinds = {layer.kind for layer in config.model.layers()}
    absent = tuple(f"model.{kind}" for kind in ("dropout", "lrn", "pool") if kind not in kinds)
    return json.dumps({name: value for name, value in config.flat().items() if not name.startswith(absent)})


def _label(value: object) -> str:
    """A label as it was meant: YAML makes on, off, yes and no of some."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def parse(text: str | bytes, name: str = "the study") -> Study:
    """A study from YAML or JSON. Raises ConfigError with one line that names the field."""
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{name}: it has {len(text)} bytes; allowed are {MOST_BYTES}")
    try:
        document = _document(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else getattr(error, "lineno", None)
        problem = getattr(error, "problem", None) or getattr(error, "msg", None) or "it cannot be read"
        raise ConfigError(f"{name}{f', line {line}' if line else ''}: {problem}; write YAML or JSON") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{name}: write fields and values, as in 'id: dropout-digits'")
    try:
        return Study.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{name}: {explain(error)}") from None
    except (ConfigError, UnicodeError) as error:
        raise ConfigError(f"{name}: {error}") from None


def read(file: Path) -> Study:
    """A study file, which is kept as long as it does not change. Raises ConfigError where it is none."""
    try:
        about = file.stat()
        return _read(file, about.st_mtime_ns, about.st_size)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


@lru_cache(maxsize=256)
def _read(file: Path, changed: int, size: int) -> Study:
    return parse(file.read_bytes(), file.name)


def write(study: Study) -> str:
    """The study as YAML; `parse` gives the same study back."""
    fields = json.loads(study.model_dump_json(exclude_defaults=True))
    return yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _document(text: str | bytes) -> object:
    """What is written there. Flow-style YAML looks like JSON at first."""
    if text.lstrip()[:1] in ("{", b"{"):
        # JSON is YAML, but for characters that it writes as two escapes.
        with suppress(json.JSONDecodeError):
            return json.loads(text, object_pairs_hook=_each_key_once)
    return yaml.load(text, _Loader)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if repeated := next((key for number, key in enumerate(keys) if key in keys[:number]), None):
        raise yaml.constructor.ConstructorError(None, None, f"{repeated!r} stands twice")
    return dict(pairs)


class _Loader(yaml.SafeLoader):
    """YAML without aliases, which can make a small file huge, and in which no key may stand twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not read", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: Sequence[Any] = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads as the same."""


for _side in (_Loader, _Dumper):  # YAML 1.1 takes 1e-4 for text, for want of a point
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )
