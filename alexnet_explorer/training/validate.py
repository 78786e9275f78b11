"""The validation of a run once more, from its weights: for runs that did not keep the answer to every image."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from ..data.batches import TrainingData
from ..data.packed import find_set
from ..runs import Run, RunError
from ..weights import load_weights
from ..weights_file import read_metadata
from .engine import choose_engine
from .group import ALONE
from .observe import Mistakes


def validate(
    run: Run, progress: Callable[[float], None] = lambda share: None, stopping: Callable[[], bool] = lambda: False
) -> dict[str, Any] | None:
    """What `mistakes.json` would hold of the newest weights of a run; None where `stopping` said so.

    Computed in fp32. Kept weights have half the precision of those in training, so that a few images may get another
    answer.
    Raises RunError where there are no weights, DataError where this machine does not have the data, WeightsError.
    """
    file = run.weights_file()
    if file is None:
        raise RunError(f"run {run.id} has kept no weights so far: train it for an epoch")
    packed = find_set(run.config.data.name, run.config.data.digest)
    loaded = load_weights(file)
    # Half of the cores: threads that wait for each other stall where a training keeps the others busy.
    threads = max(1, (os.cpu_count() or 2) // 2)
    anywhere = run.config.train.model_copy(update={"device": "auto", "threads": threads, "precision": "fp32"})
    engine = choose_engine(run.config.model_copy(update={"train": anywhere}))
    engine.set_up()
    device = torch.device(engine.device)
    data = TrainingData(packed, run.config, device, engine.dtype)
    data.preprocessing = loaded.preprocessing
    model = loaded.model.to(device).to(memory_format=torch.channels_last)
    mistakes, done = Mistakes(), 0
    for batch in data.evaluation("val"):
        with torch.inference_mode():
            logits = model(batch.x)
        mistakes.add(logits, batch.y, batch.index)
        done += len(batch.y)
        progress(done / data.count("val"))
        if stopping():
            return None
    return {"epoch": int(read_metadata(file).get("epoch", "0")), **mistakes.to_json(ALONE)}
