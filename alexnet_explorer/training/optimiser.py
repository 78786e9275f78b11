"""2012's update rule and the ways its learning rate falls [5]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..config import TrainConfig

PLATEAU_DROPS = 3  # the paper divided its rate by 10 three times
STEPS = (0.5, 0.75, 0.9)  # shares of the training after which `step` divides the rate by 10
WARM_UP = 0.25  # share of a one-cycle in which the rate rises


class MomentumSGD:
    """v ← momentum·v − decay·ε·w − ε·g;  w ← w + v, with the rate ε inside the velocity, as the paper writes it.

    `torch.optim.SGD` keeps ε outside: the two agree while ε is constant.
    """

    def __init__(self, parameters: Iterable[Tensor], momentum: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocity = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update from the gradients, which are then cleared."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_mul_(self.velocity, self.momentum)
        torch._foreach_add_(self.velocity, self.parameters, alpha=-self.weight_decay * rate)
        torch._foreach_add_(self.velocity, gradients, alpha=-rate)
        torch._foreach_add_(self.parameters, self.velocity)
        for parameter in self.parameters:
            parameter.grad = None


def learning_rate(train: TrainConfig, progress: float, validation_losses: Sequence[float] = ()) -> float:
    """ε when `progress` (0–1) of the training is done.

    `validation_losses` are those of the epochs done so far; only `plateau` looks at them.
    """
    peak = train.learning_rate
    if train.schedule == "plateau":
        return peak * 0.1 ** plateau_drops(validation_losses, train.patience)
    if train.schedule == "step":
        return peak * 0.1 ** sum(progress >= step for step in STEPS)
    if train.schedule == "cosine":
        return peak * (1 + math.cos(math.pi * progress)) / 2
    if train.schedule == "one-cycle":
        return peak * max(0.04, min(progress / WARM_UP, 1.0)) * min((1 - progress) / (1 - WARM_UP), 1.0)
    return peak


def plateau_drops(losses: Sequence[float], patience: int) -> int:
    """How often the rate has fallen: each time `patience` epochs in a row brought no lower loss, three at most."""
    best, waited, drops = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience and drops < PLATEAU_DROPS:
            waited, drops = 0, drops + 1
    return drops
