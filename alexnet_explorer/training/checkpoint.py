"""What a run needs to go on as if it had never stopped: one file, renamed over the last one.

Tensors only (safetensors), with the counters as JSON in the header: nothing is unpickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors

from ..model import AlexNet
from ..weights_file import write_tensors
from .optimiser import MomentumSGD, WeightMean


@dataclass
class Progress:
    """Where a run is. `loss` and `errors` are sums over the images of the epoch under way."""

    epoch: int = 0  # epochs done
    batch: int = 0  # batches done of the epoch under way
    step: int = 0
    seconds: float = 0.0
    images: int = 0
    loss: float = 0.0
    errors: int = 0
    images_logged: int = 0  # the three sums as they were at the last row of metrics
    loss_logged: float = 0.0
    errors_logged: int = 0
    metrics_bytes: int = 0  # rows after these belong to work that was lost
    reached: bool = False  # the error at which it ends
    validation_losses: list[float] = field(default_factory=list)


def save_state(
    path: Path, model: AlexNet, optimiser: MomentumSGD, progress: Progress, mean: WeightMean | None = None
) -> None:
    """Write weights, velocities and counters as one file. Raises OSError (a full disk, say); the old file stays."""
    tensors = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    names = [name for name, _ in model.named_parameters()]
    tensors |= {f"velocity.{name}": value for name, value in zip(names, optimiser.velocity, strict=True)}
    metadata = {"progress": json.dumps(asdict(progress))}
    if mean and mean.count:
        metadata["averaged"] = str(mean.count)
        tensors |= {f"mean.{name}": value for name, value in zip(names, mean.mean, strict=True)}
    arrays = {name: tensor.cpu().contiguous().numpy() for name, tensor in tensors.items()}
    write_tensors(path, arrays, metadata)


def load_state(path: Path, model: AlexNet, optimiser: MomentumSGD, mean: WeightMean | None = None) -> Progress:
    """Fill the model, the optimiser and the mean from `save_state`'s file."""
    with safetensors.safe_open(path, "pt") as file:
        progress = Progress(**json.loads(file.metadata()["progress"]))
        for (name, parameter), velocity in zip(model.named_parameters(), optimiser.velocity, strict=True):
            parameter.data.copy_(file.get_tensor(f"model.{name}"))
            velocity.copy_(file.get_tensor(f"velocity.{name}"))
        if mean and (count := file.metadata().get("averaged")):
            mean.count = int(count)
            for (name, _), value in zip(model.named_parameters(), mean.mean, strict=True):
                value.copy_(file.get_tensor(f"mean.{name}"))
    return progress
