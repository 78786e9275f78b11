"""Attribution by the maps of a layer, enlarged to the picture: a `Question` with a layer → (1, 1, H, W)."""

from __future__ import annotations

from torch import Tensor

from .attribution import NotApplicable, Question


def grad_cam(question: Question) -> Tensor:
    """The layer's maps weighted by their mean gradients, summed, negative values cut off."""
    from captum.attr import LayerGradCam

    model, layer = question.model, _layer_with_maps(question, "Grad-CAM")
    coarse = LayerGradCam(model, model.get_submodule(layer)).attribute(
        question.x, question.target, relu_attributions=True
    )
    return _enlarged(coarse, question)


def _layer_with_maps(question: Question, title: str) -> str:
    assert question.layer
    if len(question.model.layers[question.layer].output) != 3:
        raise NotApplicable(f"{title} needs maps with a height and a width, and {question.layer} has single units.")
    return question.layer


def _enlarged(coarse: Tensor, question: Question) -> Tensor:
    """Bilinearly, to the size of the picture."""
    from captum.attr import LayerAttribution

    fine: Tensor = LayerAttribution.interpolate(coarse, question.x.shape[2:], "bilinear")
    return fine
