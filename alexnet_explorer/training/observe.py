"""What a training shows of itself beside its loss: each layer's gradient, its silent units, its mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Activation
from ..model import AlexNet
from .group import Group

WORST = 24  # mistakes of the validation that are kept
MOST_ANSWERS = 200_000  # validation images; of more, the answer to each single one is not kept
FLAT = 0.97  # a tanh beyond it, or a sigmoid as near its ends, passes less than a tenth of a gradient on


def gradient_norms(model: AlexNet) -> dict[str, float]:
    """The Euclidean norm of each layer's gradient, weights and biases together: {"gradient/conv1": …}.

    A norm that is not a number is left out: the loss will not be one, either, and ends the run.
    """
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    norms = torch.stack(torch._foreach_norm([gradient for _, gradient in named])).tolist()
    squares: dict[str, float] = {}
    for (name, _), norm in zip(named, norms, strict=True):
        layer = f"gradient/{name.rpartition('.')[0]}"
        squares[layer] = squares.get(layer, 0.0) + norm**2
    return {layer: square**0.5 for layer, square in squares.items() if math.isfinite(square)}


class UnitWatch:
    """Counts, over all images that pass a model, units that say nothing.

    A ReLU's unit (a map, or a unit of a fully connected layer) is dead if it is zero for every image and place:
    no gradient reaches its weights. A response of tanh or sigmoid is saturated where the curve is flat.
    """

    def __init__(self, model: AlexNet) -> None:
        self.activation: Activation = model.config.activation
        self.modules: dict[str, nn.Module] = {
            name: model.get_submodule(name) for name, layer in model.layers.items() if layer.kind == "activation"
        }
        # Of each unit, images that it says something about; or of all responses, how many are flat, and how many.
        device = next(model.parameters()).device
        self.totals = {
            name: torch.zeros(model.layers[name].output[0] if self.activation == "relu" else 2, dtype=torch.float64,
                              device=device)
            for name in self.modules
        }  # fmt: skip

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at every forward pass inside; the hooks are taken off at the end, whatever happens."""
        handles = [module.register_forward_hook(self._hook(name)) for name, module in self.modules.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if self.activation == "relu":
                seen = output.flatten(2).amax(2) if output.dim() == 4 else output
                seen = (seen > 0).sum(0)
            else:
                distance = output.abs() if self.activation == "tanh" else (2 * output - 1).abs()
                flat = (distance > FLAT).sum()
                seen = torch.stack([flat, flat.new_tensor(distance.numel())])  # whole numbers, also of a bf16 layer
            self.totals[name] += seen

        return look

    def shares(self, group: Group) -> dict[str, float]:
        """{"dead/relu1": share of units}, or {"saturated/tanh1": share of responses}, over the whole group."""
        group.add_up(self.totals.values())
        if self.activation == "relu":
            return {f"dead/{name}": float((seen == 0).double().mean()) for name, seen in self.totals.items()}
        return {f"saturated/{name}": float(flat / count) for name, (flat, count) in self.totals.items()}


@dataclass
class Mistakes:
    """What a validation got wrong: how often each class was taken for another, the worst cases, and every answer."""

    confused: dict[tuple[int, int], int] = field(default_factory=dict)
    answers: list[tuple[int, int, int]] = field(default_factory=list)  # image, true class, predicted class
    worst: list[dict[str, float]] = field(default_factory=list)

    def add(self, logits: Tensor, y: Tensor, index: Tensor) -> None:
        """Logits (B, classes), the right classes (B,), and the images' places in the training set (B,)."""
        probabilities = logits.softmax(1)
        of_truth = probabilities.gather(1, y[:, None])[:, 0]
        highest, predicted = probabilities.max(1)
        self.answers += zip(index.tolist(), y.tolist(), predicted.tolist(), strict=True)
        pairs, counts = torch.stack([y, predicted], 1).unique(dim=0, return_counts=True)
        for (true, taken), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            self.confused[true, taken] = self.confused.get((true, taken), 0) + count
        wrong = (predicted != y).nonzero()[:, 0]
        chosen = wrong[of_truth[wrong].argsort()[:WORST]]
        columns = (t[chosen].tolist() for t in (index.to(y.device), y, predicted, highest, of_truth))
        names = ("image", "true", "predicted", "probability", "probability_of_true")
        self.worst += [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def to_json(self, group: Group) -> dict[str, Any]:
        """Over the whole group: {"confusion": [[true, predicted, count], …], "worst": [{…}, …], "true", "predicted"}.

        The worst come first; "true" and "predicted" are the classes of every image, in the order of their places in the
        training set, and empty where they are more than `MOST_ANSWERS`.
        """
        confused: dict[tuple[int, int], int] = {}
        worst: list[dict[str, float]] = []
        answers: list[tuple[int, int, int]] = []
        for part in group.gather((self.confused, self.worst, self.answers)):
            worst += part[1]
            answers += part[2]
            for pair, count in part[0].items():
                confused[pair] = confused.get(pair, 0) + count
        worst.sort(key=lambda one: (one["probability_of_true"], one["image"]))
        answers = [] if len(answers) > MOST_ANSWERS else sorted(answers)
        return {
            "confusion": [[*pair, confused[pair]] for pair in sorted(confused)],
            "worst": worst[:WORST],
            "true": [true for _, true, _ in answers],
            "predicted": [predicted for *_, predicted in answers],
        }
