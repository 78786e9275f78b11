"""Attribution from what happens to the class's logit when parts of the picture are covered: (1, 1, H, W)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from alexnet_explorer.config import ConfigError

from .attribution import BATCH, NotApplicable, Question
from .gradient_methods import number_of_samples
from .superpixels import superpixels

LIME_WIDTH = 0.25  # of the kernel over the cosine distance, as in the authors' code for pictures


@torch.inference_mode()
def occlusion(question: Question) -> Tensor:
    """The fall of the logit when a window is covered, the mean of all windows that cover the pixel.

    As Captum's `Occlusion`: the last window of a row or a column is cut off where it would leave the picture.
    """
    x, settings = question.x, question.settings
    assert settings.window and settings.stride
    size, window, stride = x.shape[2], settings.window, settings.stride
    starts = [stride * step for step in range(math.ceil((size - window) / stride) + 1)]
    places = [(slice(top, top + window), slice(left, left + window)) for top in starts for left in starts]
    forward, whole = question.counting(len(places)), question.model(x)[0, question.target]
    total, count = torch.zeros(x.shape[2:], dtype=torch.float64), torch.zeros(x.shape[2:], dtype=torch.float64)
    for start in range(0, len(places), BATCH):
        part = places[start : start + BATCH]
        covered = x.repeat(len(part), 1, 1, 1)
        for picture, place in zip(covered, part, strict=True):
            picture[:, *place] = question.baseline[0, :, *place]
        falls = whole - forward(covered)[:, question.target]
        for fall, place in zip(falls, part, strict=True):
            total[place] += fall
            count[place] += 1
    return (total / count).float()[None, None]


def feature_ablation(question: Question) -> Tensor:
    """The fall of the logit when one superpixel is covered."""
    from captum.attr import FeatureAblation

    patches = _patches(question)
    falls: Tensor = FeatureAblation(question.counting(int(patches.max()) + 2)).attribute(
        question.x, question.baseline, question.target, feature_mask=patches, perturbations_per_eval=BATCH
    )
    return falls[:, :1]  # a superpixel is covered in all channels, and each of them has the whole fall


def lime(question: Question) -> Tensor:
    """The weights of a ridge regression from which superpixels are seen to the logit.

    As in the authors' code for pictures: each superpixel is seen with probability ½, samples weigh
    exp(−d²/2w²) with the cosine distance d to the whole picture, ridge with penalty 1.
    """
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    generator = question.generator()

    def seen(x: Tensor, **more: Any) -> Tensor:
        return torch.randint(2, (1, more["num_interp_features"]), generator=generator)

    def nearness(x: Tensor, covered: Tensor, seen: Tensor, **more: Any) -> float:
        distance = 1 - math.sqrt(float(seen.float().mean()))
        return math.exp(-(distance**2) / (2 * LIME_WIDTH**2))

    return _fitted(question, lambda forward: Lime(forward, SkLearnRidge(alpha=1.0), nearness, seen))


def kernel_shap(question: Question) -> Tensor:
    """The Shapley value of each superpixel, estimated by Captum's weighted regression; they sum to the difference
    between the picture's logit and the baseline's.

    Each set of superpixels that is drawn is followed by the one of all others, which halves the spread (Covert, Lee:
    Improving KernelSHAP, 2021, arXiv:2012.01536).
    """
    from captum.attr import KernelShap

    generator = question.generator()

    class Drawn(KernelShap):  # type: ignore[misc]
        def kernel_shap_perturb_generator(self, original_inp: Tensor, **kwargs: Any) -> Iterator[Tensor]:
            count = kwargs["num_interp_features"]
            yield torch.ones(1, count, dtype=torch.long)
            yield torch.zeros(1, count, dtype=torch.long)
            while True:
                chosen = torch.multinomial(kwargs["num_select_distribution"].probs, 1, generator=generator)
                seen = torch.zeros(1, count, dtype=torch.long)
                seen[0, torch.randperm(count, generator=generator)[:chosen]] = 1
                yield seen
                yield 1 - seen

    return _fitted(question, Drawn)


def _patches(question: Question) -> Tensor:
    """The superpixels of the picture. Raises NotApplicable where they are one."""
    patches = superpixels(question.x, question.settings.superpixels)
    if int(patches.max()) == 0:
        raise NotApplicable("The picture is a single superpixel, which has nothing to be compared with: ask for more.")
    return patches


def _fitted(question: Question, method: Any) -> Tensor:
    """The weight that a linear model, fitted by one of Captum's methods, gives each pixel's superpixel."""
    patches, samples = _patches(question), number_of_samples(question)
    count = int(patches.max()) + 1
    if samples <= count + 1:
        raise ConfigError(f"samples={samples}: allowed are {count + 2} or more with {count} superpixels")
    weights: Tensor = method(question.counting(samples)).attribute(
        question.x, question.baseline, question.target, feature_mask=patches, n_samples=samples,
        perturbations_per_eval=BATCH, return_input_shape=False,
    )  # fmt: skip
    return weights.flatten()[patches]
