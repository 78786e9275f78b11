"""The attribution methods in words: what each one asks, what can be set, what it costs. No PyTorch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alexnet_explorer.config import ConfigError

BaselineName = Literal["mean", "black", "white", "blurred"]
BASELINES: tuple[BaselineName, ...] = ("mean", "black", "white", "blurred")

Sum = Literal["rise", "logit"]
"""What all values of a map should add up to: the class's logit less the baseline's, or the logit itself."""


@dataclass(frozen=True)
class Settings:
    """What can be set about a method; each takes what is its own, see `Method.settings`."""

    layer: str | None = None  # of the network; None: the last convolution's activation
    baseline: BaselineName = "mean"
    steps: int = 50
    window: int | None = None  # pixels; None: a seventh of the input's side
    stride: int | None = None  # pixels; None: half the window

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise ConfigError(f"baseline={self.baseline!r}: allowed are {', '.join(BASELINES)}")
        if self.steps < 1:
            raise ConfigError(f"steps={self.steps}: allowed are numbers from 1")


SETTINGS: dict[str, tuple[str, str]] = {
    "layer": ("Layer", "Whose maps are weighed: late layers know classes, early ones know places."),
    "baseline": ("Baseline", "What stands for 'nothing there': the training set's mean, black, white, or a blur."),
    "steps": ("Steps", "Points on the way from the baseline to the picture: more are more exact, and slower."),
    "window": ("Window", "Side of what is covered, in pixels: small ones find details, large ones find objects."),
    "stride": ("Stride", "How far the window moves at a time, in pixels: small steps are finer, and slower."),
}
"""Each setting's name and a word on it."""


@dataclass(frozen=True)
class Method:
    """An attribution method, as a page presents it."""

    key: str
    title: str
    explanation: str  # one sentence
    paper: str
    signed: bool  # the map tells for the class from against it
    settings: tuple[str, ...] = ()
    slow: bool = False  # many evaluations of the network: reports progress
    sums_to: Sum | None = None

    @property
    def needs_layer(self) -> bool:
        """Whether its map is that of a layer."""
        return "layer" in self.settings


METHODS: dict[str, Method] = {
    method.key: method
    for method in (
        Method(
            "saliency",
            "Saliency",
            "How much the class's score reacts to the slightest change of each pixel: the largest |gradient| of its "
            "three colours.",
            "Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013, arXiv:1312.6034",
            signed=False,
        ),
        Method(
            "integrated-gradients",
            "Integrated gradients",
            "What each pixel adds to the class's score, or takes from it, on the way from the baseline to this "
            "picture; the map sums to the difference of the two scores.",
            "Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017, arXiv:1703.01365",
            signed=True,
            settings=("baseline", "steps"),
            slow=True,
            sums_to="rise",
        ),
        Method(
            "grad-cam",
            "Grad-CAM",
            "Where the maps of a layer that raise the class's score are active, as coarse as that layer's maps are.",
            "Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks, 2016, arXiv:1610.02391",
            signed=False,
            settings=("layer",),
        ),
        Method(
            "guided-backprop",
            "Guided backpropagation",
            "The gradient with every negative one cut off at each ReLU, which is sharp, but tells more about the "
            "picture's edges than about the class.",
            "Springenberg et al.: Striving for Simplicity, 2014, arXiv:1412.6806",
            signed=False,
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How far the class's score falls when a window of the picture is covered with the baseline.",
            "Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013, arXiv:1311.2901",
            signed=True,
            settings=("window", "stride", "baseline"),
            slow=True,
        ),
    )
}
