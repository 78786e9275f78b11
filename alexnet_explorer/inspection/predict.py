"""What a network takes a picture for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from alexnet_explorer.weights import LoadedModel


@dataclass(frozen=True)
class Prediction:
    """One class and the probability that the network gives it, from 0 to 1."""

    label: str
    index: int
    probability: float


def probabilities(loaded: LoadedModel, image: Image.Image) -> NDArray[np.float32]:
    """The softmax of the logits of one picture's centre crop: (classes,), float32, sums to 1."""
    x = loaded.preprocessing(image)
    with loaded.lock, torch.inference_mode():
        logits = loaded.model(x)
    return logits[0].softmax(0).numpy()  # type: ignore[no-any-return]


def predict(loaded: LoadedModel, image: Image.Image, top: int = 5) -> list[Prediction]:
    """The `top` most probable classes, best first; all of them where there are fewer."""
    shares = probabilities(loaded, image)
    best = np.argsort(-shares, kind="stable")[:top]
    return [Prediction(loaded.classes[i], int(i), float(shares[i])) for i in best]
