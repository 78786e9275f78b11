"""Attribution by the maps of a layer, enlarged to the picture: a `Question` with a layer → (1, 1, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor

from .attribution import BATCH, NotApplicable, Question
from .gradient_methods import guided_backprop
from .hooks import record


def grad_cam(question: Question) -> Tensor:
    """The layer's maps weighted by their mean gradients, summed, negative values cut off."""
    from captum.attr import LayerGradCam

    model, layer = question.model, _layer_with_maps(question, "Grad-CAM")
    coarse: Tensor = LayerGradCam(model, model.get_submodule(layer)).attribute(question.x, question.target).detach()
    return _enlarged(_positive(coarse, layer, "Grad-CAM"), question)


def guided_grad_cam(question: Question) -> Tensor:
    """Guided backpropagation times Grad-CAM, pixel by pixel: (1, C, H, W)."""
    _layer_with_maps(question, "Guided Grad-CAM")
    return guided_backprop(question) * grad_cam(question)


def layer_cam(question: Question) -> Tensor:
    """The layer's maps weighted at each place by its gradient where that is positive, summed, negative cut off."""
    layer = _layer_with_maps(question, "Layer-CAM")
    maps: list[Tensor] = []

    def start_here(module: object, inputs: object, output: Tensor) -> Tensor:
        maps.append(output.detach().requires_grad_())
        return maps[0]

    with question.model.get_submodule(layer).register_forward_hook(start_here), torch.enable_grad():
        logit = question.model(question.x)[0, question.target]
    (gradient,) = torch.autograd.grad(logit, maps)
    coarse = (gradient.relu() * maps[0].detach()).sum(1, keepdim=True)
    return _enlarged(_positive(coarse, layer, "Layer-CAM"), question)


@torch.inference_mode()
def score_cam(question: Question) -> Tensor:
    """The layer's maps, each weighted by the logit of the picture seen through it, summed, negative cut off.

    Algorithm 1 of the paper: each map is enlarged and brought to 0–1; there the picture is seen, elsewhere the
    baseline; the weights are the softmax of the logits over the maps. Maps without any contrast are left out.
    """
    layer = _layer_with_maps(question, "Score-CAM")
    with record(question.model, [layer]) as outputs:
        question.model(question.x)
    maps = outputs[layer][0, :, None]
    maps = maps[maps.amax((1, 2, 3)) > maps.amin((1, 2, 3))]
    if not len(maps):
        raise NotApplicable(f"Score-CAM shows the picture through the maps of {layer}, and each of its "
                            f"{len(outputs[layer][0])} maps has the same value everywhere.")  # fmt: skip
    forward, baseline = question.counting(len(maps)), question.baseline
    logits = []
    for part in maps.split(BATCH):
        low, high = part.amin((1, 2, 3), keepdim=True), part.amax((1, 2, 3), keepdim=True)
        mask = _enlarged((part - low) / (high - low), question)
        logits.append(forward(baseline + mask * (question.x - baseline))[:, question.target])
    weights = torch.cat(logits).softmax(0)
    coarse = (weights[:, None, None, None] * maps).sum(0, keepdim=True)
    return _enlarged(_positive(coarse, layer, "Score-CAM"), question)


def _layer_with_maps(question: Question, title: str) -> str:
    assert question.layer
    if len(question.model.layers[question.layer].output) != 3:
        raise NotApplicable(f"{title} needs maps with a height and a width, and {question.layer} has single units.")
    return question.layer


def _positive(coarse: Tensor, layer: str, title: str) -> Tensor:
    """What speaks for the class, if anything does."""
    if not (coarse > 0).any():
        raise NotApplicable(
            f"{title} shows where {layer} speaks for the class, and here it does nowhere: the weighted sum of its maps "
            f"is {float(coarse.max()):.2g} at most. Try another layer or class."
        )
    return coarse.relu()


def _enlarged(coarse: Tensor, question: Question) -> Tensor:
    """Bilinearly, to the size of the picture."""
    from captum.attr import LayerAttribution

    fine: Tensor = LayerAttribution.interpolate(coarse, question.x.shape[2:], "bilinear")
    return fine
