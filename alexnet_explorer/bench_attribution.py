"""The speed of the attribution methods on the network of 2012, beside plain Captum's and one pass of the network.

Plain Captum has its own defaults but for what the method's settings say: it covers one part of the picture at a time,
and takes all steps or samples of a gradient at once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import MODEL_PRESETS, ModelConfig
from .data.preprocess import Preprocessing
from .data.samples import load_sample
from .inspection.attribution import NotApplicable, Question, activations_of_maps, answer
from .inspection.methods import METHODS, Settings
from .inspection.superpixels import superpixels
from .model import AlexNet, initialise

SETTINGS = Settings(window=15, stride=8)
ROUNDS = 15  # of each method, fewer where they take
SECONDS = 20.0  # together

Say = Callable[[str], None]


@dataclass(frozen=True)
class AttributionResult:
    """One method's time: the median of its rounds, in each of which ours, Captum's and one pass take turns."""

    method: str
    seconds: float | None  # None: the method does not apply to this network
    captum_seconds: float | None  # None: Captum has no such method
    passes_ratio: float | None  # our time by that of one forward and one backward pass beside it
    largest_difference: float | None  # of the two results, as a share of the largest value; None of a random method
    not_applicable: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AttributionBench:
    """All methods, and the median of all single passes: one picture forward, and the gradient of its pixels back."""

    results: list[AttributionResult]
    forward_backward_seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def attribution(
    say: Say = lambda text: None,
    methods: Sequence[str] = tuple(METHODS),
    config: ModelConfig = MODEL_PRESETS["alexnet"],
    settings: Settings = SETTINGS,
    seconds: float = SECONDS,
) -> AttributionBench:
    """Measure the methods on a network of `config` with He's random weights, whose scores are of the order of one."""
    model = AlexNet(config.model_copy(update={"init": "modern"})).eval().requires_grad_(False)
    initialise(model, 0)
    grey = torch.full((config.in_channels, 1, 1), 127.5)
    x = Preprocessing(config.input_size, config.input_size, grey, grey / 2)(load_sample("coffee"))
    results: list[AttributionResult] = []
    single: list[float] = []
    for method in methods:
        layer = activations_of_maps(model)[-1] if METHODS[method].needs_layer else None
        own = settings.filled(method, config.input_size)
        question = Question(model, x, 0, torch.zeros_like(x), own, layer)
        results.append(_measure(question, method, single, say, seconds))
    return AttributionBench(results, statistics.median(single) if single else _timed(lambda: one_pass(question))[0])


def _measure(question: Question, method: str, single: list[float], say: Say, seconds: float) -> AttributionResult:
    plain = PLAIN.get(method)
    try:
        answer(question, method)  # what is imported or built the first time is not measured
    except NotApplicable as reason:
        say(f"{method}: {reason}")
        return AttributionResult(method, None, None, None, None, str(reason))
    ours: list[float] = []
    theirs: list[float] = []
    passes: list[float] = []
    difference: float | None = None
    start = time.perf_counter()
    while not ours or (len(ours) < ROUNDS and time.perf_counter() - start < seconds):
        passes.append(_timed(lambda: one_pass(question))[0])
        spent, result = _timed(lambda: answer(question, method))
        ours.append(spent)
        if plain is None:
            continue
        say(f"{method}: {spent:.3f} s; plain Captum")
        spent, captums = _timed(lambda: plain(question).detach())
        theirs.append(spent)
        if not METHODS[method].random:
            difference = float((result - captums).abs().max() / captums.abs().max())
    single += passes
    found = AttributionResult(
        method, statistics.median(ours), statistics.median(theirs) if theirs else None,
        statistics.median(ours) / statistics.median(passes), difference,
    )  # fmt: skip
    say(in_words(found))
    return found


def in_words(result: AttributionResult) -> str:
    """One line about a method."""
    if result.seconds is None:
        return f"{result.method:<22} does not apply: {result.not_applicable}"
    said = f"{result.method:<22} {result.seconds:7.3f} s, {result.passes_ratio:6.1f} times one pass forward and back"
    if result.captum_seconds is not None:
        said += (
            f"; plain Captum {result.captum_seconds:.3f} s ({result.captum_seconds / result.seconds:.2f} times ours)"
        )
    if result.largest_difference is not None:
        said += f", largest difference {result.largest_difference:.0e} of the largest value"
    return said


def one_pass(question: Question) -> Tensor:
    """The yardstick: the network's answer, and the gradient of the class's logit with respect to the pixels."""
    leaf = question.leaf
    (gradient,) = torch.autograd.grad(question.model(leaf)[0, question.target], leaf)
    return gradient


def _timed(act: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = act()
    return time.perf_counter() - start, result


# Plain Captum


def _attribute(name: str, *arguments: str) -> Callable[[Question], Tensor]:
    """`captum.attr.NAME(model).attribute(x, target=…, …)`, with those of the question's values that are named."""

    def run(question: Question) -> Tensor:
        import captum.attr

        settings, x = question.settings, question.leaf
        values: dict[str, Callable[[], Any]] = {
            "baselines": lambda: question.baseline,
            "n_steps": lambda: settings.steps,
            "n_samples": lambda: settings.samples,
            "stdevs": lambda: _deviation(question),
            "feature_mask": lambda: superpixels(question.x, settings.superpixels),
        }
        method = getattr(captum.attr, name)(question.model)
        result: Tensor = method.attribute(
            x, target=question.target, **{argument: values[argument]() for argument in arguments}
        )
        return result

    return run


def _deviation(question: Question) -> float:
    assert question.settings.noise is not None
    return question.settings.noise * float(question.x.max() - question.x.min())


def _smoothgrad(question: Question) -> Tensor:
    from captum.attr import NoiseTunnel, Saliency

    result: Tensor = NoiseTunnel(Saliency(question.model)).attribute(
        question.leaf, nt_samples=question.settings.samples, stdevs=_deviation(question), target=question.target,
        abs=False,
    )  # fmt: skip
    return result


def _grad_cam(question: Question) -> Tensor:
    from captum.attr import LayerGradCam

    coarse = LayerGradCam(question.model, question.model.get_submodule(question.layer or "")).attribute(
        question.x, question.target, relu_attributions=True
    )
    return F.interpolate(coarse, question.x.shape[2:], mode="bilinear")


def _guided_grad_cam(question: Question) -> Tensor:
    from captum.attr import GuidedGradCam

    result: Tensor = GuidedGradCam(question.model, question.model.get_submodule(question.layer or "")).attribute(
        question.leaf, question.target, interpolate_mode="bilinear"
    )
    return result


def _occlusion(question: Question) -> Tensor:
    from captum.attr import Occlusion

    channels, window, stride = question.x.shape[1], question.settings.window, question.settings.stride
    result: Tensor = Occlusion(question.model).attribute(
        question.x, (channels, window, window), (channels, stride, stride), question.baseline, question.target
    )
    return result[:, :1]


PLAIN: dict[str, Callable[[Question], Tensor]] = {
    "saliency": _attribute("Saliency"),
    "input-x-gradient": _attribute("InputXGradient"),
    "smoothgrad": _smoothgrad,
    "deconvolution": _attribute("Deconvolution"),
    "guided-backprop": _attribute("GuidedBackprop"),
    "integrated-gradients": _attribute("IntegratedGradients", "baselines", "n_steps"),
    "gradient-shap": _attribute("GradientShap", "baselines", "n_samples", "stdevs"),
    "deeplift": _attribute("DeepLift", "baselines"),
    "grad-cam": _grad_cam,
    "guided-grad-cam": _guided_grad_cam,
    "occlusion": _occlusion,
    "feature-ablation": _attribute("FeatureAblation", "baselines", "feature_mask"),
    "lime": _attribute("Lime", "baselines", "n_samples", "feature_mask"),
    "kernel-shap": _attribute("KernelShap", "baselines", "n_samples", "feature_mask"),
}
"""Plain Captum's methods on the question's settings. Of LRP no two sets of rules are alike; the rest it has not."""
