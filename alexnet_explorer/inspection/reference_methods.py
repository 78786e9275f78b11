"""Attribution that shares out the class's logit, or how far it is from a baseline's: a `Question` → (1, C, H, W)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .attribution import BATCH, NotApplicable, Question, sharing
from .gradient_methods import noisy_copies, number_of_samples

WORST_ERROR = 0.25  # of the sum that is to be shared out: a map that misses more of it is not drawn
GAMMA = 0.25  # Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019, doi:10.1007/978-3-030-28954-6_10


def integrated_gradients(question: Question) -> Tensor:
    """(x − baseline) · ∫ gradient along the way between them: sums to logit(x) − logit(baseline)."""
    from captum.attr import IntegratedGradients

    steps = question.settings.steps
    method = IntegratedGradients(question.counting(steps))
    batch = math.ceil(steps / max(1, round(steps / BATCH)))  # even ones: no last one of a few pictures
    shares: Tensor = method.attribute(
        question.x, question.baseline, question.target, n_steps=steps, internal_batch_size=batch
    )
    return shares


def gradient_shap(question: Question) -> Tensor:
    """The mean of (x' − baseline) · gradient at a point that is drawn between the two, for noisy copies x' of x.

    As Captum's `GradientShap`, but for two things: the generator is the question's own, and one point is drawn in each
    of as many equal parts of the way as there are samples, which brings the sum several times nearer to its mean.
    """
    from captum.attr import Saliency

    samples, baseline, generator = number_of_samples(question), question.baseline, question.generator()
    method = Saliency(question.counting(samples))
    total, drawn = torch.zeros_like(question.x), 0
    for noisy in noisy_copies(question, generator):
        part = torch.arange(drawn, drawn + len(noisy)).view(-1, 1, 1, 1)
        share = (part + torch.rand(part.shape, generator=generator)) / samples
        way = noisy - baseline
        point = (baseline + share * way).requires_grad_()
        total += (way * method.attribute(point, question.target, abs=False)).sum(0)
        drawn += len(noisy)
    return total / samples


def deeplift(question: Question) -> Tensor:
    """The rescale rule: each layer's difference from the baseline's, shared out in proportion to what made it.

    Raises NotApplicable where the map's sum is too far from logit(x) − logit(baseline).
    """
    from captum.attr import DeepLift

    shares: Tensor
    shares, error = DeepLift(question.model).attribute(
        question.leaf, question.baseline, question.target, return_convergence_delta=True
    )
    _check_sum(
        shares, float(error.detach()), "DeepLift", "the difference from the baseline's score",
        "its rules do not cover a normalisation over several units, and of overlapping pooling windows they lose some",
    )  # fmt: skip
    return shares


def lrp(question: Question) -> Tensor:
    """Relevance by the γ-rule in convolutions and LRP-0 above, by which each input takes its part of the sum.

    With LRP-0 everywhere it would be input × gradient in a network of ReLUs. Raises NotApplicable where a layer has no
    rule, or where the relevance that reaches the pixels is too far from the logit.
    """
    from captum.attr import LRP
    from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS
    from captum.attr._utils.lrp_rules import GammaRule

    class Relevance(LRP):  # type: ignore[misc]
        def _restore_state(self) -> None:
            """Nothing to restore, and it would write to the weights that others read meanwhile."""

    model = sharing(question.model)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Dropout):
            model.set_submodule(name, nn.Dropout(module.p).eval())  # Captum knows the class itself, no subclass
        if isinstance(module, nn.Conv2d):
            module.rule = GammaRule(GAMMA)
            module.weight = nn.Parameter(module.weight.detach().clone(), requires_grad=False)  # the rule changes it
    ruled = (*SUPPORTED_LAYERS_WITH_RULES, *SUPPORTED_NON_LINEAR_LAYERS)
    without = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if not any(module.children()) and type(module) not in ruled
    ]
    if without:
        raise NotApplicable(
            f"LRP hands relevance down by a rule for each kind of layer, and there is none for {', '.join(without)}."
        )
    shares: Tensor
    shares, error = Relevance(model).attribute(question.leaf, question.target, return_convergence_delta=True)
    _check_sum(
        shares, -float(error.detach()), "LRP", "the class's score", "the rest stays with the biases of the layers"
    )
    return shares


def _check_sum(shares: Tensor, excess: float, title: str, whole: str, why: str) -> None:
    """Raise NotApplicable where the values miss the sum that they are the shares of; `excess` is by how much."""
    total = float(shares.detach().sum())
    should = total - excess
    if not abs(excess) <= WORST_ERROR * abs(should):
        raise NotApplicable(
            f"{title}'s map should add up to {whole}, {should:.3g}, and adds up to {total:.3g}, more than "
            f"{WORST_ERROR:.0%} off: {why}."
        )
