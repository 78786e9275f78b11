"""Which pixels speak for a class: attribution methods, through Captum where it has them, one shape for all.

Every map explains the class's logit (before the softmax, which would mix the other classes in). A method is a function
of a `Question`; the methods are in `gradient_methods`, `reference_methods`, `layer_methods` and
`perturbation_methods`, in words in `methods`. What is drawn at random comes from a generator of the question's own: a
global one would be shared with other visitors, whose maps would change each other's.
"""

from __future__ import annotations

import copy
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from alexnet_explorer.config import ConfigError

from .methods import METHODS, BaselineName, Settings

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel

Progress = Callable[[float], None]

BATCH = 16  # pictures evaluated at once: bounds the memory, with _ROOM
_ROOM = threading.BoundedSemaphore(2)  # that many visitors' batches have their values kept for a way back at once
BLUR = 1 / 16  # standard deviation of the blurred baseline, as a share of the picture's side

# Captum tells of its hooks each time; here they are on a copy of the network that nobody else sees.
warnings.filterwarnings("ignore", message=r"Setting (forward, )?backward hooks", category=UserWarning)


class NotApplicable(ValueError):
    """The method says nothing about this network, layer or picture; the message gives the reason in a sentence."""


@dataclass(frozen=True, eq=False)
class Question:
    """What a method is asked: why does this network give this picture that logit?

    `model` belongs to the question alone, so that it can be hooked; `x` and `baseline` are (1, C, H, W), normalised;
    `layer` is the network's own name of the layer of `settings`, for methods that need one.
    """

    model: AlexNet
    x: Tensor
    target: int
    baseline: Tensor
    settings: Settings = field(default_factory=Settings)
    layer: str | None = None
    report: Progress = lambda share: None

    @property
    def leaf(self) -> Tensor:
        """The picture as a tensor of its own that takes a gradient."""
        return self.x.detach().clone().requires_grad_()

    def generator(self) -> torch.Generator:
        """The source of what is drawn at random, at its start."""
        return torch.Generator().manual_seed(self.settings.seed)

    def counting(self, total: int) -> Callable[[Tensor], Tensor]:
        """The network as a function that reports which share of `total` pictures it has seen."""
        seen = 0

        def forward(x: Tensor) -> Tensor:
            nonlocal seen
            # In this order the convolutions and LRN of a batch take a seventh less time on a processor.
            logits: Tensor = self.model(x.contiguous(memory_format=torch.channels_last))
            seen += len(x)
            self.report(min(1.0, seen / total))
            return logits

        return forward


@dataclass(frozen=True, eq=False)
class Attribution:
    """One map, and what it explains."""

    method: str
    target: int  # index of the class
    layer: str | None  # of a method that needs one, by this network's own name
    map: NDArray[np.float32]  # (H, W), of the network's input size
    values: NDArray[np.float32]  # before the channels are pooled: (C, H, W), or (1, H, W) of a method with one
    seconds: float
    signed: bool
    settings: Settings


def attribute(
    loaded: LoadedModel,
    image: Image.Image,
    method: str,
    target: int | None = None,
    settings: Settings | None = None,
    *,
    progress: Progress | None = None,
) -> Attribution:
    """Explain the logit of class `target` (None: the predicted class) for the centre crop of a picture.

    `progress` is called with the share that is done, rising to 1, by the slow methods; what it raises ends them. The
    work is done on a copy of the network that shares its weights, so that several visitors can ask at once.

    Raises ConfigError where a setting is not allowed, NotApplicable where the method says nothing about this
    network, layer or picture, KeyError where there is no such layer.
    """
    return explain(ask(loaded, image, method, target, settings, progress), method)


def sweep(
    loaded: LoadedModel,
    image: Image.Image,
    method: str,
    target: int | None = None,
    settings: Settings | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Attribution | NotApplicable]:
    """`attribute` by the maps of a layer, for the activation of every convolution that is there, first to last.

    By the layers' names; the reason where the method says nothing about a layer. Raises ConfigError as `attribute`
    does, and where the method is none that needs a layer.
    """
    asked = ask(loaded, image, method, target, settings, progress)
    if not METHODS[method].needs_layer:
        allowed = ", ".join(key for key, one in METHODS.items() if one.needs_layer)
        raise ConfigError(f"method={method!r}: only those by a layer's maps can be swept over layers: {allowed}")
    layers = activations_of_maps(asked.model)
    found: dict[str, Attribution | NotApplicable] = {}

    def report(share: float) -> None:
        asked.report((len(found) + share) / len(layers))

    for layer in layers:
        settings = replace(asked.settings, layer=layer)
        try:
            found[layer] = explain(replace(asked, layer=layer, settings=settings, report=report), method)
        except NotApplicable as reason:
            found[layer] = reason
    return found


def ask(
    loaded: LoadedModel,
    image: Image.Image,
    method: str,
    target: int | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Question:
    """The question that `attribute` answers. Raises ConfigError, KeyError or NotApplicable as it does."""
    if method not in METHODS:
        raise ConfigError(f"method={method!r}: allowed are {', '.join(METHODS)}")
    settings = (settings or Settings()).filled(method, loaded.preprocessing.size)
    model, x = private(loaded), loaded.preprocessing(image)
    layer = None
    if METHODS[method].needs_layer:
        layer = model.resolve(settings.layer) if settings.layer else activations_of_maps(model)[-1]
    return Question(
        model, x, _class(model, x, target), baseline_of(loaded, image, settings.baseline), settings, layer,
        progress or (lambda share: None),
    )  # fmt: skip


def explain(question: Question, method: str) -> Attribution:
    """The answer to a question that was asked for this method, as a map, with the time it took."""
    import captum.attr  # noqa: F401 - half a second that is no part of the method's time

    start = time.perf_counter()
    values = answer(question, method)
    seconds = time.perf_counter() - start
    return Attribution(
        method, question.target, question.layer, pool(values, method)[0].numpy(), values[0].numpy(), seconds,
        METHODS[method].signed, question.settings,
    )  # fmt: skip


def answer(question: Question, method: str) -> Tensor:
    """What a method says, before its channels are pooled: (1, C, H, W), or (1, 1, H, W) of a method with one map.

    Raises as `attribute` does.
    """
    from . import gradient_methods, layer_methods, perturbation_methods, reference_methods

    functions: dict[str, Callable[[Question], Tensor]] = {
        "saliency": gradient_methods.saliency,
        "input-x-gradient": gradient_methods.input_x_gradient,
        "smoothgrad": gradient_methods.smoothgrad,
        "deconvolution": gradient_methods.deconvolution,
        "guided-backprop": gradient_methods.guided_backprop,
        "integrated-gradients": reference_methods.integrated_gradients,
        "gradient-shap": reference_methods.gradient_shap,
        "deeplift": reference_methods.deeplift,
        "lrp": reference_methods.lrp,
        "grad-cam": layer_methods.grad_cam,
        "guided-grad-cam": layer_methods.guided_grad_cam,
        "layer-cam": layer_methods.layer_cam,
        "score-cam": layer_methods.score_cam,
        "occlusion": perturbation_methods.occlusion,
        "feature-ablation": perturbation_methods.feature_ablation,
        "lime": perturbation_methods.lime,
        "kernel-shap": perturbation_methods.kernel_shap,
    }
    if "baseline" in METHODS[method].settings and torch.equal(question.x, question.baseline):
        raise NotApplicable(
            f"The picture is the baseline itself ({question.settings.baseline}): there is no difference to share out; "
            "choose another baseline."
        )
    with _ROOM if METHODS[method].group in ("gradients", "references") else nullcontext():
        values = functions[method](question).detach()
    if not values.isfinite().all():
        raise NotApplicable(f"{METHODS[method].title} gives values that are no finite numbers: this network's weights "
                            "are too large for it.")  # fmt: skip
    return values


def pool(values: Tensor, method: str) -> Tensor:
    """One value a pixel, (1, C, H, W) → (1, H, W): the sum of a signed method's channels, else the largest |value|."""
    return values.sum(1) if METHODS[method].signed else values.abs().amax(1)


def private(loaded: LoadedModel) -> AlexNet:
    """A copy of the network that shares its weights: hooks on it are seen by nobody else."""
    with loaded.lock:  # while others have hooks on the shared one, they would be copied
        return sharing(loaded.model)


def sharing(model: AlexNet) -> AlexNet:
    """A copy that shares the weights, of a network that nobody else uses meanwhile."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def baseline_of(loaded: LoadedModel, image: Image.Image, name: BaselineName) -> Tensor:
    """The picture in which nothing is there, normalised: (1, C, H, W). `mean` is zero after normalisation."""
    prepare = loaded.preprocessing
    if name == "mean":
        return torch.zeros_like(prepare(image))
    crop = prepare.crop(image.convert("RGB"))
    if name == "blurred":
        plain = crop.filter(ImageFilter.GaussianBlur(BLUR * prepare.size))
    else:
        plain = Image.new("RGB", crop.size, name)
    return prepare.normalise(torch.from_numpy(np.asarray(plain).copy())[None])


def activations_of_maps(model: AlexNet) -> list[str]:
    """The activations of the convolutions that are there, in order."""
    return [layer.name for layer in model.layers.values() if layer.kind == "activation" and len(layer.output) == 3]


def _class(model: AlexNet, x: Tensor, target: int | None) -> int:
    """The class to explain: the one asked for, if it exists, or the predicted one.

    Raises NotApplicable where a score is no finite number, which nothing can be said about.
    """
    with torch.inference_mode():
        logits = model(x)[0]
    if not logits.isfinite().all():
        raise NotApplicable(
            f"{int((~logits.isfinite()).sum())} of the network's {len(logits)} scores are no finite numbers: its "
            "weights have grown beyond all bounds, and there is nothing to explain."
        )
    if target is None:
        return int(logits.argmax())
    if not 0 <= target < len(logits):
        raise ConfigError(f"target={target}: allowed are classes 0 to {len(logits) - 1}")
    return target
