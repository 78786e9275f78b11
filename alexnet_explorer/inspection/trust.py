"""Whether to believe a map: figures of one attribution, of the network and the picture that it is of.

    map = attribute(loaded, image, "integrated-gradients")
    trust(loaded, image, map).figures["deletion"].verdict     # 'holds', 'doubtful', 'fails' or 'says nothing'

What is measured here is judged in `verdicts`. All of it is done on copies of the network, with random numbers of its
own, so that several visitors at once get what each would get alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from alexnet_explorer.config import ConfigError
from alexnet_explorer.model import initialise

from . import perturbing, verdicts
from .attribution import (
    Attribution,
    NotApplicable,
    Progress,
    Question,
    answer,
    ask,
    baseline_of,
    pool,
    private,
)
from .costs import seconds_of_pass
from .methods import METHODS
from .perturbing import RANDOM_ORDERS, STEPS, Kind, Reference
from .superpixels import superpixels
from .verdicts import ALL, Figure, Trust

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel

NOISE_LEVELS = 5  # grey levels of 256, a share of 0.02 of the range: what Captum's `sensitivity_max` takes by default
NOISE_DRAWS = 10  # Captum's default, too
ROUNDING = 1e-6  # of a map's largest value: what varies by less is the same everywhere
REDRAWN = 3  # networks with all weights drawn anew
REDRAWN_SEED = 1_000_003  # of the first; no training begins from it, so that none of its own first weights come back
_ELSEWHERE = 4  # maps of `perturbing.elsewhere`

References = Mapping[str, Reference]


@dataclass(frozen=True)
class Cost:
    """What a figure takes: how often the map is computed anew, and how many pictures the network looks at besides."""

    maps: int = 0
    pictures: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.maps + other.maps, self.pictures + other.pictures)

    def seconds(self, of_a_map: float, of_a_picture: float) -> float:
        """The time, where a map takes so many seconds (see `Attribution.seconds`), and a picture so many."""
        return self.maps * of_a_map + self.pictures * of_a_picture


def cost(model: AlexNet, figure: str, references: References | None = None) -> Cost:
    """What one trust figure of a map of a network takes, with the references that are there already."""
    if figure == "completeness":
        return Cost(pictures=2)
    if figure in ("deletion", "insertion"):
        return Cost(pictures=(STEPS + 1) * (1 + _ELSEWHERE)) + (
            Cost() if figure in (references or {}) else reference_cost()
        )
    return Cost(maps=len(learned(model)) + REDRAWN - 1 if figure == "randomisation" else NOISE_DRAWS)


def seconds(
    loaded: LoadedModel,
    image: Image.Image,
    attribution: Attribution,
    figures: Sequence[str] = ALL,
    references: References | None = None,
) -> float:
    """How long `trust` is likely to take, from the time that the map took and a probe of a few pictures."""
    question = ask(loaded, image, attribution.method, attribution.target, attribution.settings)
    return sum(_times(question, attribution, figures, references or {}))


def _times(question: Question, attribution: Attribution, figures: Sequence[str], references: References) -> list[float]:
    of_a_picture, _ = seconds_of_pass(question)
    return [cost(question.model, key, references).seconds(attribution.seconds, of_a_picture) for key in figures]


def reference_cost() -> Cost:
    """What the reference of deletion, or that of insertion, takes."""
    return Cost(pictures=(STEPS + 1) * (RANDOM_ORDERS + 1))


def reference(loaded: LoadedModel, image: Image.Image, kind: Kind, progress: Progress | None = None) -> Reference:
    """What random orders of the pixels, and the one from the centre outwards, do to this picture.

    The same for every method and class: `trust` takes it, so that it need not be worked out for each.
    """
    blurred = baseline_of(loaded, image, "blurred")
    return perturbing.reference(
        private(loaded), loaded.preprocessing(image), blurred, kind, progress or (lambda share: None)
    )


def trust(
    loaded: LoadedModel,
    image: Image.Image,
    attribution: Attribution,
    progress: Progress | None = None,
    figures: Sequence[str] = ALL,
    references: References | None = None,
) -> Trust:
    """The trust figures of a map that `attribute` made of this network and this picture; see `verdicts.FIGURES`.

    `progress` is called with the share that is done, rising to 1; what it raises ends the work. `references` are those
    of `reference` by their kinds, where they are known. Raises ConfigError for a figure that is not there.
    """
    for key in figures:
        if key not in ALL:
            raise ConfigError(f"figures={key!r}: allowed are {', '.join(ALL)}")
    import captum.attr  # noqa: F401 - half a second in which nothing could be stopped

    references = references or {}
    measures: dict[str, Callable[[_Map], Figure]] = {
        "completeness": _completeness,
        "deletion": lambda map: _perturbation(map, "deletion", references.get("deletion")),
        "insertion": lambda map: _perturbation(map, "insertion", references.get("insertion")),
        "randomisation": _randomisation,
        "sensitivity": _sensitivity,
    }
    question = ask(loaded, image, attribution.method, attribution.target, attribution.settings)
    # The probe takes as long as a map: a figure by itself is not weighed against others.
    times = _times(question, attribution, figures, references) if len(figures) > 1 else [1.0]
    whole = sum(times) or 1.0
    report = progress or (lambda share: None)
    found = {}
    for number, key in enumerate(figures):
        part = partial(_report_part, report, sum(times[:number]) / whole, times[number] / whole)
        found[key] = measures[key](_Map(loaded, image, attribution, question, part))
        part(1.0)
    return Trust(found)


def _report_part(report: Progress, before: float, own: float, share: float) -> None:
    """Tell how much of the whole is done, of a part before which so much was done, and which is so much of it."""
    report(min(1.0, before + own * share))


def learned(model: AlexNet) -> list[str]:
    """The layers with weights, from the last to the first."""
    return [layer.name for layer in reversed(model.layers.values()) if layer.kind in ("conv", "fc")]


@dataclass(frozen=True, eq=False)
class _Map:
    """A map under examination, with the question that it answers."""

    loaded: LoadedModel
    image: Image.Image
    attribution: Attribution
    question: Question
    report: Progress

    def again(self, part: int, parts: int, question: Question) -> NDArray[np.float32]:
        """The map (H, W) of another question; the `part`-th of `parts` that are computed."""
        method = self.attribution.method
        question = replace(question, report=lambda share: self.report((part + share) / parts))
        map: NDArray[np.float32] = pool(answer(question, method), method)[0].numpy()
        self.report((part + 1) / parts)
        return map


def _completeness(map: _Map) -> Figure:
    method, question = METHODS[map.attribution.method], map.question
    if method.sums_to is None:
        return verdicts.nothing(
            "completeness", f"{method.title} does not promise that its values add up to anything."
        )  # fmt: skip
    with torch.inference_mode():
        here, there = question.model(torch.cat([question.x, question.baseline]))[:, question.target].tolist()
    due = here - there if method.sums_to == "rise" else here
    values = map.attribution.values.astype(np.float64)
    if "superpixels" in method.settings:
        patches = superpixels(question.x, question.settings.superpixels).numpy()[0]
        values = values / np.bincount(patches.ravel())[patches]
    return verdicts.completeness(float(values.sum()), due, float(np.abs(values).sum()), method.sums_to, method.random)


def _perturbation(map: _Map, kind: Kind, known: Reference | None) -> Figure:
    question, target = map.question, map.question.target
    blurred = baseline_of(map.loaded, map.image, "blurred")
    maps = [map.attribution.map, *perturbing.elsewhere(map.attribution.map)]
    share = len(maps) / (len(maps) + (0 if known else RANDOM_ORDERS + 1))
    own, *others = perturbing.curves(
        question.model, question.x, blurred, kind, [perturbing.order(one) for one in maps],
        lambda done: map.report(done * share),
    )[..., target].tolist()  # fmt: skip
    if known is None:
        known = perturbing.reference(
            question.model, question.x, blurred, kind, lambda done: map.report(share + done * (1 - share))
        )
    return verdicts.perturbation(
        kind,
        verdicts.Perturbed(own, known.random[..., target].tolist(), known.centre[..., target].tolist(), others),
    )  # fmt: skip


def _randomisation(map: _Map) -> Figure:
    """Weights of the network's own initialisation, layer by layer from the top, Adebayo et al.'s cascade.

    Weights that only changed places would keep their mean, below 0 say, which is enough to leave some maps blank.
    """
    if _is_flat(map.attribution.map):
        return verdicts.nothing("randomisation", "The map is the same everywhere: it has no order to be compared.")
    layers, signed = learned(map.loaded.model), METHODS[map.attribution.method].signed
    count = len(layers) + REDRAWN - 1
    sizes, signs = [], []
    cascade, fresh = private(map.loaded), redrawn(map.loaded, REDRAWN_SEED)
    for number, name in enumerate(layers):
        changed, drawn = cascade.get_submodule(name), fresh.get_submodule(name)
        changed.weight, changed.bias = drawn.weight, drawn.bias  # the network's own Parameters stay as they are
        size, sign = _likeness(map, number, count, cascade)
        sizes.append(size)
        signs.append(sign)
    del cascade, fresh, changed, drawn  # before the next is drawn: 2012's network has 240 MB of weights
    others = (
        _likeness(map, count - REDRAWN + seed, count, redrawn(map.loaded, REDRAWN_SEED + seed))[0]
        for seed in range(1, REDRAWN)
    )
    return verdicts.randomisation(layers, sizes, signs if signed else None, [sizes[-1], *others])


def _likeness(map: _Map, part: int, parts: int, model: AlexNet) -> tuple[float | None, float | None]:
    """Rank correlations of the map with that of another network: of their sizes, and with their signs.

    None where there is no other map: a blank one, or one of which the method has nothing to say.
    """
    original = map.attribution.map
    try:
        other = map.again(part, parts, replace(map.question, model=model))
    except NotApplicable:
        return None, None
    return rank_correlation(np.abs(original), np.abs(other)), rank_correlation(original, other)


def redrawn(loaded: LoadedModel, seed: int) -> AlexNet:
    """A network of the same shape with the weights that it might have begun its training with."""
    model = private(loaded)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty_like(parameter), requires_grad=False))
    initialise(model, seed)
    return model


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Spearman's, of two maps of one shape; None where one of them is the same everywhere, but for rounding."""
    from scipy import stats

    if _is_flat(a) or _is_flat(b):
        return None
    return float(stats.spearmanr(a.ravel(), b.ravel()).statistic)


def _is_flat(values: NDArray[np.floating]) -> bool:
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def _sensitivity(map: _Map) -> Figure:
    """max ‖Φ(x + δ) − Φ(x)‖ / ‖Φ(x)‖ over δ drawn evenly from |δ| ≤ r, the class staying the same (Yeh et al. 2019)."""
    original, x = map.attribution.map, map.question.x
    size = float(np.linalg.norm(original))
    if size == 0:
        reason = "The map is blank, and a change of it has no size to be compared with."
        return verdicts.nothing("sensitivity", reason)
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for number in range(NOISE_DRAWS):
        noise = (2 * torch.rand(x.shape, generator=generator) - 1) * NOISE_LEVELS / map.loaded.preprocessing.std
        try:
            change = map.again(number, NOISE_DRAWS, replace(map.question, x=x + noise)) - original
        except NotApplicable as reason:
            return verdicts.lost_in_noise(str(reason), NOISE_LEVELS)
        largest = max(largest, float(np.linalg.norm(change)) / size)
    return verdicts.sensitivity(largest, NOISE_LEVELS, NOISE_DRAWS)
