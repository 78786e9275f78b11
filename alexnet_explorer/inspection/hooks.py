"""Reading what a network's layers put out, by name, during a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet


@contextmanager
def record(model: AlexNet, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of the named layers in every forward pass inside the `with` block.

    Yields a dict that is empty at first and keeps the last pass's outputs, detached, under the names
    that were asked for: `relu1` finds `tanh1` in a tanh network. It stays valid after the block; the
    hooks do not, however the block ends. Hold the model's lock where others may use it.

    Raises KeyError, in words, where the network has no layer of that name.

        with record(model, ["conv1", "fc8"]) as outputs:
            model(x)
        outputs["conv1"]  # (N, C, H, W)
    """
    modules = {name: model.get_submodule(model.resolve(name)) for name in names}
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Any, Any, Tensor], None]:
        def hook(module: Any, inputs: Any, output: Tensor) -> None:
            outputs[name] = output.detach()  # no copy: no layer of this network works in place

        return hook

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(keep(name)))
        yield outputs
