"""What an attribution will take, told before it starts: its passes through the network, and the time of one."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch

from .attribution import Question

PROBED = 4  # pictures at once in the probe


class Passes(NamedTuple):
    """How many pictures the network answers, and for how many of them a gradient comes back."""

    forward: int
    back: int


def passes(question: Question, method: str) -> Passes:
    """How many passes a method takes to answer a question that was asked for it."""
    settings, size = question.settings, question.x.shape[2]
    match method:
        case "smoothgrad" | "gradient-shap":
            return Passes(settings.samples or 0, settings.samples or 0)
        case "integrated-gradients":
            return Passes(settings.steps, settings.steps)
        case "deeplift":
            return Passes(4, 2)  # the picture and the baseline at once, and both again for the sum
        case "lrp":
            return Passes(2, 1)
        case "guided-grad-cam":
            return Passes(2, 2)
        case "score-cam":
            return Passes(1 + question.model.layers[question.layer or ""].output[0], 0)
        case "occlusion":
            assert settings.window and settings.stride
            return Passes(1 + (math.ceil((size - settings.window) / settings.stride) + 1) ** 2, 0)
        case "feature-ablation":
            return Passes(1 + settings.superpixels, 0)
        case "lime" | "kernel-shap":
            return Passes(settings.samples or 0, 0)
    return Passes(1, 1)


def seconds_of_pass(question: Question) -> tuple[float, float]:
    """The time of one picture forward, and back, among a few at once: measured now, after a first pass unmeasured."""
    x = question.x.repeat(PROBED, 1, 1, 1).requires_grad_()
    question.model(question.x)
    start = time.perf_counter()
    logits = question.model(x)[:, question.target]
    between = time.perf_counter()
    torch.autograd.grad(logits.sum(), x)
    return (between - start) / PROBED, (time.perf_counter() - between) / PROBED


def estimate(question: Question, method: str) -> float:
    """Seconds that a method is likely to take, from a probe of one pass."""
    forward, back = seconds_of_pass(question)
    number = passes(question, method)
    return number.forward * forward + number.back * back
