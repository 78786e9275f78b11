"""Which pixels speak for a class: five methods, through Captum, one shape for all.

Every map explains the class's logit (before the softmax, which would mix the other classes in). Where a method
needs a baseline it is zero after normalisation, which is the training set's mean image or mean colour.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from alexnet_explorer.config import ConfigError

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel

Progress = Callable[[float], None]

_BATCH = 16  # pictures evaluated at once: bounds the memory (1.3 GB in all for the network of 2012)


class NotApplicable(ValueError):
    """The method says nothing about this network or layer; the message gives the reason in a sentence."""


@dataclass(frozen=True)
class Method:
    """An attribution method, as a page presents it."""

    key: str
    title: str
    explanation: str  # one sentence
    paper: str
    signed: bool  # the map tells for the class from against it
    needs_layer: bool = False
    slow: bool = False  # many evaluations of the network: reports progress


METHODS: dict[str, Method] = {
    method.key: method
    for method in (
        Method(
            "saliency",
            "Saliency",
            "How much the class's score reacts to the slightest change of each pixel: the largest |gradient| of its "
            "three colours.",
            "Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013, arXiv:1312.6034",
            signed=False,
        ),
        Method(
            "integrated-gradients",
            "Integrated gradients",
            "What each pixel adds to the class's score, or takes from it, on the way from the mean image to this "
            "picture; the map sums to the difference of the two scores.",
            "Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017, arXiv:1703.01365",
            signed=True,
            slow=True,
        ),
        Method(
            "grad-cam",
            "Grad-CAM",
            "Where the maps of a layer that raise the class's score are active, as coarse as that layer's maps are.",
            "Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks, 2016, arXiv:1610.02391",
            signed=False,
            needs_layer=True,
        ),
        Method(
            "guided-backprop",
            "Guided backpropagation",
            "The gradient with every negative one cut off at each ReLU, which is sharp, but tells more about the "
            "picture's edges than about the class.",
            "Springenberg et al.: Striving for Simplicity, 2014, arXiv:1412.6806",
            signed=False,
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How far the class's score falls when a window of the picture is covered with the mean colour.",
            "Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013, arXiv:1311.2901",
            signed=True,
            slow=True,
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Attribution:
    """One map, and what it explains."""

    method: str
    target: int  # index of the class
    layer: str | None  # of Grad-CAM, by this network's own name
    map: NDArray[np.float32]  # (H, W), of the network's input size
    seconds: float
    signed: bool


def attribute(
    loaded: LoadedModel,
    image: Image.Image,
    method: str,
    target: int | None = None,
    layer: str | None = None,
    *,
    steps: int = 50,
    window: int | None = None,
    stride: int | None = None,
    progress: Progress | None = None,
) -> Attribution:
    """Explain the logit of class `target` (None: the predicted class) for the centre crop of a picture.

    `layer` is Grad-CAM's, by default the last convolution's activation (`relu5`); `steps` is integrated gradients'
    number of points on the path; `window` and `stride`, in pixels, are occlusion's: by default a seventh of the
    input's size, and half the window. `progress` is called with the share that is done, rising to 1, by the slow
    methods. The model's lock is held throughout, since Captum hooks the network; no hook or gradient stays behind.

    Raises ConfigError where a setting is not allowed, NotApplicable where the method says nothing about this
    network or layer, KeyError where it has no such layer.
    """
    import captum.attr  # noqa: F401 - half a second that is no part of the method's time

    if method not in METHODS:
        raise ConfigError(f"method={method!r}: allowed are {', '.join(METHODS)}")
    model, x = loaded.model, loaded.preprocessing(image)
    report = progress or (lambda share: None)
    with loaded.lock:
        start = time.perf_counter()
        target = _class(model, x, target)
        own_layer = None
        match method:
            case "saliency":
                heat = _saliency(model, x, target)
            case "integrated-gradients":
                heat = _integrated_gradients(model, x, target, steps, report)
            case "grad-cam":
                own_layer = model.resolve(layer) if layer else _last_maps(model)
                heat = _grad_cam(model, x, target, own_layer)
            case "guided-backprop":
                heat = _guided_backprop(model, x, target)
            case _:
                heat = _occlusion(model, x, target, window, stride, report)
        seconds = time.perf_counter() - start
    return Attribution(method, target, own_layer, heat[0].detach().numpy(), seconds, METHODS[method].signed)


def _class(model: AlexNet, x: Tensor, target: int | None) -> int:
    """The class to explain: the one asked for, if it exists, or the predicted one."""
    with torch.inference_mode():
        logits = model(x)[0]
    if target is None:
        return int(logits.argmax())
    if not 0 <= target < len(logits):
        raise ConfigError(f"target={target}: allowed are classes 0 to {len(logits) - 1}")
    return target


# Each method: the network, a picture (1, C, H, W), a class → its map (1, H, W).


def _saliency(model: AlexNet, x: Tensor, target: int) -> Tensor:
    """The largest |gradient| over the channels."""
    from captum.attr import Saliency

    gradient: Tensor = Saliency(model).attribute(x.requires_grad_(), target)  # absolute values
    return gradient.amax(1)


def _guided_backprop(model: AlexNet, x: Tensor, target: int) -> Tensor:
    """The largest |guided gradient| over the channels, so that it compares with saliency value by value."""
    from captum.attr import GuidedBackprop

    if not any(isinstance(module, nn.ReLU) for module in model.modules()):
        raise NotApplicable(
            f"Guided backpropagation only changes the gradient of ReLUs; this network has {model.config.activation}, "
            "so that its map would be saliency's."
        )
    gradient: Tensor = GuidedBackprop(model).attribute(x.requires_grad_(), target)
    return gradient.abs().amax(1)


def _integrated_gradients(model: AlexNet, x: Tensor, target: int, steps: int, progress: Progress) -> Tensor:
    """x · ∫ gradient(αx) dα from 0 to 1, summed over the channels: sums to logit(x) − logit(0)."""
    from captum.attr import IntegratedGradients

    if steps < 1:
        raise ConfigError(f"steps={steps}: allowed are numbers from 1")
    method = IntegratedGradients(_counting(model, steps, progress))
    shares: Tensor = method.attribute(x, 0, target, n_steps=steps, internal_batch_size=_BATCH)
    return shares.sum(1)


def _grad_cam(model: AlexNet, x: Tensor, target: int, layer: str) -> Tensor:
    """The layer's maps weighted by their mean gradients, summed, negative values cut off, enlarged bilinearly."""
    from captum.attr import LayerAttribution, LayerGradCam

    if len(model.layers[layer].output) != 3:
        raise NotApplicable(f"Grad-CAM needs maps with a height and a width, and {layer} has single units.")
    coarse = LayerGradCam(model, model.get_submodule(layer)).attribute(x, target, relu_attributions=True)
    fine: Tensor = LayerAttribution.interpolate(coarse, x.shape[2:], "bilinear")
    return fine[:, 0]


def _last_maps(model: AlexNet) -> str:
    """The activation of the last convolution that is there."""
    return [layer.name for layer in model.layers.values() if layer.kind == "activation" and len(layer.output) == 3][-1]


def _occlusion(
    model: AlexNet, x: Tensor, target: int, window: int | None, stride: int | None, progress: Progress
) -> Tensor:
    """The fall of the logit when a window is covered, the mean of all windows that cover the pixel."""
    from captum.attr import Occlusion

    channels, size = x.shape[1:3]
    window = max(1, size // 7) if window is None else window
    if not 1 <= window <= size:
        raise ConfigError(f"window={window}: allowed are 1 to {size} pixels")
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= stride <= window:
        raise ConfigError(f"stride={stride}: allowed are 1 to {window} pixels, or the window would leave gaps")
    places = (math.ceil((size - window) / stride) + 1) ** 2
    falls: Tensor = Occlusion(_counting(model, places + 1, progress)).attribute(
        x, (channels, window, window), (channels, stride, stride), 0, target, perturbations_per_eval=_BATCH
    )
    return falls[:, 0]  # a window covers all channels, and each of them has the whole fall


def _counting(model: AlexNet, total: int, progress: Progress) -> Callable[[Tensor], Tensor]:
    """The network as a function that reports which share of `total` pictures it has seen."""
    seen = 0

    def forward(x: Tensor) -> Tensor:
        nonlocal seen
        logits: Tensor = model(x)
        seen += len(x)
        progress(seen / total)
        return logits

    return forward
