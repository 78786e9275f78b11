"""Attribution from gradients of the class's logit with respect to the pixels: a `Question` → (1, C, H, W)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .attribution import BATCH, NotApplicable, Question
from .hooks import record


def saliency(question: Question) -> Tensor:
    """The |gradient|."""
    return _told(gradient(question).abs(), question)


def input_x_gradient(question: Question) -> Tensor:
    """The gradient times the pixel, as it is after normalisation: the training set's mean adds nothing."""
    from captum.attr import InputXGradient

    shares: Tensor = InputXGradient(question.model).attribute(question.leaf, question.target)
    return _told(shares, question)


def smoothgrad(question: Question) -> Tensor:
    """The mean gradient of noisy copies of the picture, with its sign, as in the paper."""
    from captum.attr import Saliency

    samples = number_of_samples(question)
    method = Saliency(question.counting(samples))
    total = torch.zeros_like(question.x)
    for noisy in noisy_copies(question, question.generator()):
        total += method.attribute(noisy.requires_grad_(), question.target, abs=False).sum(0)
    return _told(total / samples, question)


def deconvolution(question: Question) -> Tensor:
    """The gradient with each ReLU's replaced by a ReLU of what comes back to it, on or off."""
    from captum.attr import Deconvolution

    return _rectified(question, Deconvolution(question.model), "Deconvolution")


def guided_backprop(question: Question) -> Tensor:
    """The gradient with negative ones cut off at each ReLU."""
    from captum.attr import GuidedBackprop

    return _rectified(question, GuidedBackprop(question.model), "Guided backpropagation")


def gradient(question: Question) -> Tensor:
    """The plain gradient, with its sign."""
    from captum.attr import Saliency

    plain: Tensor = Saliency(question.model).attribute(question.leaf, question.target, abs=False)
    return plain


def number_of_samples(question: Question) -> int:
    """How many pictures a method that draws them draws."""
    assert question.settings.samples
    return question.settings.samples


def noisy_copies(question: Question, generator: torch.Generator) -> Iterator[Tensor]:
    """The picture with noise, as often as the settings say, a batch (N, C, H, W) at a time."""
    assert question.settings.noise is not None
    x, samples = question.x, number_of_samples(question)
    deviation = question.settings.noise * (x.max() - x.min())
    for start in range(0, samples, BATCH):
        yield x + deviation * torch.randn(min(BATCH, samples - start), *x.shape[1:], generator=generator)


def _rectified(question: Question, method: Any, title: str) -> Tensor:
    """The map of one of Captum's two methods that change the gradient at ReLUs, if it is another than the gradient."""
    with _watching(question.model) as changes:
        changed: Tensor = method.attribute(question.leaf, question.target)
    _told(changed, question)
    if not changes:
        plain = gradient(question)
        apart = float((changed - plain).abs().max() / plain.abs().max())
        there = sum(isinstance(module, nn.ReLU) for module in question.model.modules())
        raise NotApplicable(
            f"{title} changes the gradient at ReLUs only, and "
            + (f"there was nothing to change at this network's {there}" if there else "this network has none")
            + f": its map is the plain gradient's (largest difference {apart:.1g} of the largest value). See saliency."
        )
    return changed


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[bool]]:
    """True is in the list after a pass back if a gradient that came to a ReLU was negative where it was on, or positive
    where it was off: where none was, guided backpropagation and deconvolution change nothing."""
    found: list[bool] = []

    def watch(module: nn.Module, inputs: Any, output: Tensor) -> None:
        value = output.detach()

        def look(back: Tensor) -> None:
            if not found and (torch.where(value > 0, -back, back) > 0).any():  # the first one, from above, is enough
                found.append(True)

        output.register_hook(look)

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                hooks.enter_context(module.register_forward_hook(watch))
        yield found


def _told(values: Tensor, question: Question) -> Tensor:
    """The values, if there are any: a gradient of zero everywhere is no map."""
    if values.any():
        return values
    model = question.model
    said = "no pixel's slightest change would move the score of this class"
    names = [layer.name for layer in getattr(model, "layers", {}).values() if layer.kind == "activation"]
    if names:
        with record(model, names) as outputs, torch.inference_mode():
            model(question.x)
        flat = {name: float(_is_flat(model.get_submodule(name), outputs[name]).float().mean()) for name in names}
        worst = max(flat, key=lambda name: flat[name])
        said += f"; at {worst} {flat[worst]:.0%} of the units stand where their activation is flat"
    raise NotApplicable(f"The gradient is zero everywhere: {said}.")


def _is_flat(activation: nn.Module, output: Tensor) -> Tensor:
    """Where the slope of an activation is zero, from what it put out."""
    if isinstance(activation, nn.Tanh):
        return output.abs() == 1
    if isinstance(activation, nn.Sigmoid):
        return (output == 0) | (output == 1)
    return output == 0
