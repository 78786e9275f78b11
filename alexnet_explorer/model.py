"""AlexNet, from a `ModelConfig`: one module, every layer under the paper's name.

    model = AlexNet(MODEL_PRESETS["alexnet"])
    logits = model(torch.zeros(1, 3, 227, 227))      # (1, 1000)
    model.get_submodule("conv1").weight              # (96, 3, 11, 11)

Each use of a layer is a module of its own and nothing works in place, so that hooks see what they should.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .config import Layer, ModelConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class LocalResponseNorm(nn.Module):
    """b = a / (k + α Σ a²)^β, the sum over neighbours, as the paper prints it [3.3].

    The neighbours are `size` maps of the same tower (`across-maps`), or `size`×`size` positions of the
    same map (`within-map`, cuda-convnet's). α is not divided by n: `nn.LocalResponseNorm(n, alpha=n * α)`
    is the same function. Summing over maps is a 1×1 convolution of the squares with a band matrix,
    which is faster on a CPU than the pooling that PyTorch uses.
    """

    band: Tensor

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.size, self.kind = config.lrn_size, config.lrn_kind
        self.alpha, self.beta, self.k = config.lrn_alpha, config.lrn_beta, config.lrn_k
        position = torch.arange(channels, device="cpu")  # real also where the parameters are built on `meta`
        tower = position // (channels // config.towers)
        near = (position[:, None] - position).abs() <= self.size // 2
        band = (near & (tower[:, None] == tower)).float()
        self.register_buffer("band", band[:, :, None, None], persistent=False)

    def total(self, values: Tensor) -> Tensor:
        """The sum over each place's neighbours. A place is its neighbours' neighbour: the sum is its own adjoint."""
        if self.kind == "across-maps":
            return F.conv2d(values, self.band.to(values.dtype))
        return F.avg_pool2d(values, self.size, 1, self.size // 2, divisor_override=1)

    def denominator(self, x: Tensor) -> Tensor:
        """k + α Σ a², of the shape of `x`: (N, C, H, W)."""
        return self.total(x.square()).mul_(self.alpha).add_(self.k)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            if torch.compiler.is_compiling():  # the compiler finds the gradient, and fuses both
                a = x.to(torch.promote_types(x.dtype, torch.float32))
                return (a * self.denominator(a).pow(-self.beta)).to(x.dtype)
            normalised: Tensor = _Normalise.apply(x, self)
        return normalised

    def extra_repr(self) -> str:
        return f"{self.kind}, n={self.size}, k={self.k}, α={self.alpha}, β={self.beta}"


class _Normalise(torch.autograd.Function):
    """b = a d^-β with d = k + α Σ a², and its gradient by hand.

    ∂L/∂a = g d^-β − 2αβ a Σ (g a d^-β-1), the sum over the same neighbours. Only a is kept for the way back, and a few
    images at a time are computed, so that what comes in between stays in the processor's cache and out of memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: LocalResponseNorm) -> Tensor:
        ctx.save_for_backward(x)
        ctx.norm = norm
        result = torch.empty_like(x)
        for part, (a,) in _slices(result, x):
            part.copy_(a * norm.denominator(a).pow_(-norm.beta))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        norm: LocalResponseNorm = ctx.norm
        result = torch.empty_like(x)
        for part, (a, g) in _slices(result, x, gradient):
            d = norm.denominator(a)
            direct = g * d.pow(-norm.beta)
            through = norm.total((a * direct).div_(d))
            part.copy_(direct.addcmul_(a, through, value=-2 * norm.alpha * norm.beta))
        return result, None


IMAGES_AT_ONCE = 16


def _slices(result: Tensor, *tensors: Tensor) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """A few images of each, on a GPU all; the tensors in float32 at least, as α Σ a² beside k would be rounded away."""
    wide = torch.promote_types(result.dtype, torch.float32)
    count = len(result) if result.is_cuda else IMAGES_AT_ONCE
    for start in range(0, len(result), max(count, 1)):
        part = slice(start, start + count)
        yield result[part], [tensor[part].to(wide) for tensor in tensors]


class Dropout(nn.Dropout):
    """`nn.Dropout`; where several processes share a batch, its mask is a part of the whole batch's [4.2].

    On a GPU one process draws its mask in the same way: the fused kernel of `nn.Dropout` draws another one.

    Set `share` to the place of this process's first image in the global batch, and the size of that batch.
    """

    share: tuple[int, int] | None = None

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or (self.share is None and not input.is_cuda):
            return super().forward(input)
        first, total = self.share or (0, len(input))
        mask = torch.empty(total, *input.shape[1:], device=input.device).bernoulli_(1 - self.p)
        return input * (mask[first : first + len(input)] / (1 - self.p)).to(input.dtype)


class AlexNet(nn.Module):
    """The network of a `ModelConfig`: (N, channels, size, size) → logits (N, classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = {layer.name: layer for layer in config.layers()}
        for layer in self.layers.values():
            self.add_module(layer.name, _module(layer, config))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        for name, module in self.named_children():
            if x.dim() == 4 and self.layers[name].kind in ("fc", "dropout"):
                x = torch.flatten(x, 1)
            x = module(x)
        return x

    def resolve(self, name: str) -> str:
        """The name of this network's layer that `name` means: `relu1` is `tanh1` where tanh was chosen.

        Raises KeyError, in words, where this network has no such layer.
        """
        if name in self.layers:
            return name
        match = re.fullmatch(rf"(?:{'|'.join(ACTIVATIONS)})(\d+)", name)
        if match and (own := f"{self.config.activation}{match[1]}") in self.layers:
            return own
        raise KeyError(f"this network has no layer {name!r}; it has {', '.join(self.layers)}")


def _module(layer: Layer, config: ModelConfig) -> nn.Module:
    if layer.kind == "conv":
        n = layer.number - 1
        return nn.Conv2d(
            layer.input[0], layer.output[0], config.kernels[n], config.strides[n], config.paddings[n],
            groups=layer.groups,
        )  # fmt: skip
    if layer.kind == "activation":
        return ACTIVATIONS[config.activation]()
    if layer.kind == "lrn":
        return LocalResponseNorm(layer.input[0], config)
    if layer.kind == "pool":
        # Rounding up with z=3 gives the size of z=2 rounding down: the toggle changes no shape [3.4].
        size, up = (3, True) if config.pooling == "overlapping" else (2, False)
        if config.pool_kinds[config.pool_after.index(layer.number)] == "max":
            return nn.MaxPool2d(size, 2, ceil_mode=up)
        # No padding is there to count, but only so is torch.compile's gradient right at the edges (pytorch #198119).
        return nn.AvgPool2d(size, 2, ceil_mode=up, count_include_pad=False)
    if layer.kind == "dropout":
        return Dropout(config.dropout)
    return nn.Linear(layer.input[0], layer.output[0])


def initialise(model: AlexNet, seed: int | None = None) -> None:
    """Draw the first weights: 2012's [5], or He's normal with the gain of the activation.

    With a seed the draw is repeatable and leaves PyTorch's global generator alone.
    """
    config = model.config
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    learned = [layer for layer in model.layers.values() if layer.kind in ("conv", "fc")]
    for position, layer in enumerate(learned):
        module = model.get_submodule(layer.name)
        assert isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None
        if config.init == "2012":
            std = config.init_std[min(position, len(config.init_std) - 1)]
            nn.init.normal_(module.weight, 0.0, std, generator=generator)
            nn.init.constant_(module.bias, float(layer.number in config.bias_one))
        else:
            # The last layer feeds a softmax, not the activation.
            gain = config.activation if layer is not learned[-1] else "linear"
            nn.init.kaiming_normal_(module.weight, nonlinearity=gain, generator=generator)
            nn.init.zeros_(module.bias)
