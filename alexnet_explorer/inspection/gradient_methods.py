"""Attribution from gradients of the class's logit with respect to the pixels: a `Question` → (1, C, H, W)."""

from __future__ import annotations

from torch import Tensor, nn

from .attribution import BATCH, NotApplicable, Question


def saliency(question: Question) -> Tensor:
    """The |gradient|."""
    from captum.attr import Saliency

    gradient: Tensor = Saliency(question.model).attribute(_leaf(question.x), question.target)
    return gradient


def guided_backprop(question: Question) -> Tensor:
    """The gradient with negative ones cut off at each ReLU."""
    from captum.attr import GuidedBackprop

    model = question.model
    if not any(isinstance(module, nn.ReLU) for module in model.modules()):
        raise NotApplicable(
            f"Guided backpropagation only changes the gradient of ReLUs; this network has {model.config.activation}, "
            "so that its map would be saliency's."
        )
    gradient: Tensor = GuidedBackprop(model).attribute(_leaf(question.x), question.target)
    return gradient


def integrated_gradients(question: Question) -> Tensor:
    """(x − baseline) · ∫ gradient along the way between them: sums to logit(x) − logit(baseline)."""
    from captum.attr import IntegratedGradients

    steps = question.settings.steps
    method = IntegratedGradients(question.counting(steps))
    shares: Tensor = method.attribute(
        question.x, question.baseline, question.target, n_steps=steps, internal_batch_size=BATCH
    )
    return shares


def _leaf(x: Tensor) -> Tensor:
    """A tensor of its own that takes a gradient."""
    return x.detach().clone().requires_grad_()
