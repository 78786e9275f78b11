"""2012's update rule and the ways its learning rate falls [5]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..config import TrainConfig
from ..model import AlexNet

PLATEAU_DROPS = 3  # the paper divided its rate by 10 three times
STEPS = (0.5, 0.75, 0.9)  # shares of the training after which `step` divides the rate by 10


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
        _momentum_step(self.parameters, self.velocity, rate, self.momentum, self.weight_decay)


def _momentum_step(
    parameters: list[Tensor], velocity: list[Tensor], rate: float, momentum: float, weight_decay: float
) -> None:
    # Frozen ones have no gradient, and do not decay either.
    learning = [place for place, parameter in enumerate(parameters) if parameter.grad is not None]
    parameters, velocity = [parameters[place] for place in learning], [velocity[place] for place in learning]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if parameters and parameters[0].is_cuda:
        _fused_step(parameters, gradients, velocity, rate, momentum, weight_decay)
    else:
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, parameters, alpha=-weight_decay * rate)
        torch._foreach_add_(velocity, gradients, alpha=-rate)
        torch._foreach_add_(parameters, velocity)
    for parameter in parameters:
        parameter.grad = None


def _fused_step(
    parameters: list[Tensor], gradients: list[Tensor], velocity: list[Tensor], rate: float, momentum: float,
    weight_decay: float,
) -> None:  # fmt: skip
    """The same update as one kernel: PyTorch's, made to keep ε inside the velocity.

    It scales the gradient, takes its negative, adds decay times weight, and then w ← w − lr·v.
    """
    torch._fused_sgd_(
        parameters, gradients, velocity, weight_decay=-weight_decay * rate, momentum=momentum, lr=-1.0, dampening=0.0,
        nesterov=False, maximize=True, is_first_step=False,
        grad_scale=torch.full((), 1 / rate if rate else math.inf, device=parameters[0].device),
    )  # fmt: skip


class Muon(MomentumSGD):
    """MomentumSGD, but the matrices of the inner layers move in a direction whose singular values are all about 1.

    v ← momentum·v + g;  w ← (1 − decay·ε)·w − ε·√max(1, rows/columns)·O(g + momentum·v), O being `orthogonalised`.
    `inner` gives the number of towers for each parameter (by its place) that is updated so; a convolution's kernels
    are the rows, each tower is a matrix of its own. Source: Jordan et al., "Muon", 2024.
    """

    def __init__(
        self, parameters: Iterable[Tensor], momentum: float, weight_decay: float, inner: Mapping[int, int]
    ) -> None:
        super().__init__(parameters, momentum, weight_decay)
        self.inner = inner

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update from the gradients, which are then cleared."""
        for place, towers in self.inner.items():
            weight, velocity = self.parameters[place], self.velocity[place]
            assert weight.grad is not None
            velocity.mul_(self.momentum).add_(weight.grad)
            towards = weight.grad.add(velocity, alpha=self.momentum).reshape(towers, len(weight) // towers, -1)
            scale = math.sqrt(max(1.0, towards.shape[1] / towards.shape[2]))
            weight.mul_(1 - self.weight_decay * rate)
            weight.sub_(orthogonalised(towards).reshape(weight.shape), alpha=rate * scale)
            weight.grad = None
        outer = [place for place in range(len(self.parameters)) if place not in self.inner]
        _momentum_step(
            [self.parameters[place] for place in outer], [self.velocity[place] for place in outer], rate,
            self.momentum, self.weight_decay,
        )  # fmt: skip


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """(B, rows, columns) → matrices of the same singular vectors, with singular values between 0.7 and 1.2.

    Newton and Schulz's iteration with a polynomial that lifts small singular values fast.
    """
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    result: Tensor = x.mT if tall else x
    return result


def optimiser_for(model: AlexNet, train: TrainConfig) -> MomentumSGD:
    """The optimiser that `train.optimiser` names, over all of the model's parameters in their order."""
    if train.optimiser == "momentum":
        return MomentumSGD(model.parameters(), train.momentum, train.weight_decay)
    learned = [layer for layer in model.layers.values() if layer.kind in ("conv", "fc")]
    towers = {f"{layer.name}.weight": layer.groups for layer in learned[1:-1] if layer.kind == "conv"}
    inner = {
        place: towers[name]
        for place, (name, parameter) in enumerate(model.named_parameters())
        if name in towers and parameter.requires_grad
    }
    return Muon(model.parameters(), train.momentum, train.weight_decay, inner)


class WeightMean:
    """The mean of the weights after each of some steps, all counting alike. Not in the paper.

    While the rate is high weights wander about a minimum, and their mean lies nearer to it than any of them.
    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = list(parameters)
        self.mean = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = 0

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights as they are now."""
        self.count += 1
        torch._foreach_lerp_(self.mean, self.parameters, 1 / self.count)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The parameters are the mean meanwhile, if there is one."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        if self.count:
            for place, parameter in enumerate(self.parameters):
                parameter.data, self.mean[place] = self.mean[place], parameter.data


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
        return peak * max(0.04, min(progress / train.warm_up, 1.0)) * min((1 - progress) / (1 - train.warm_up), 1.0)
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
