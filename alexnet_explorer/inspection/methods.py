"""The attribution methods in words: what each one asks, what can be set, what it costs. No PyTorch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alexnet_explorer.config import ConfigError

BaselineName = Literal["mean", "black", "white", "blurred"]
BASELINES: tuple[BaselineName, ...] = ("mean", "black", "white", "blurred")

Sum = Literal["rise", "logit"]
"""What the values of a map should add up to: the class's logit less the baseline's, or the logit itself.

A superpixel has one value, which counts once.
"""

Group = Literal["gradients", "references", "layers", "coverings"]
GROUPS: dict[Group, tuple[str, str]] = {
    "gradients": ("Gradients", "How the score reacts to the slightest change of each pixel: one pass back, or many."),
    "references": ("Against a baseline", "Share out among the pixels what the score has more than where nothing is."),
    "layers": ("Maps of a layer", "Where the maps of a layer that speak for the class are active."),
    "coverings": ("Covering parts", "What happens to the score when parts of the picture are covered."),
}
"""The kinds of methods, from simple to elaborate: each kind's name and a word on it."""


@dataclass(frozen=True)
class Setting:
    """One thing that can be set, as a page draws its control."""

    title: str
    help: str
    kind: Literal["layer", "choice", "whole", "share"]  # share: a number from 0 to 1
    least: float = 0
    most: float | None = None  # None: the side of the network's input, in pixels
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: Any, most: float | None = None) -> None:
        """Raise ConfigError, naming the setting and what is allowed. `most` stands in where the setting has none."""
        if self.kind == "choice" and value not in self.choices:
            raise ConfigError(f"{name}={value!r}: allowed are {', '.join(self.choices)}")
        if self.kind in ("whole", "share"):
            most = self.most if self.most is not None else most
            if not (value >= self.least and (most is None or value <= most)):
                upto = f"from {self.least:g}" if most is None else f"{self.least:g} to {most:g}"
                raise ConfigError(f"{name}={value}: allowed are numbers {upto}")


SETTINGS: dict[str, Setting] = {
    "layer": Setting("Layer", "Whose maps are weighed: late layers know classes, early ones know places.", "layer"),
    "baseline": Setting(
        "Baseline", "What stands for 'nothing there': the training set's mean, black, white, or a blur.", "choice",
        choices=BASELINES,
    ),
    "steps": Setting(
        "Steps", "Points on the way from the baseline to the picture: more are more exact, and slower.", "whole",
        1, 1000,
    ),
    "window": Setting(
        "Window", "Side of what is covered, in pixels: small ones find details, large ones find objects.", "whole", 1
    ),
    "stride": Setting(
        "Stride", "How far the window moves at a time, in pixels: small steps are finer, and slower.", "whole", 1
    ),
    "superpixels": Setting(
        "Superpixels", "Into about how many patches of one colour the picture is cut; each is covered as a whole.",
        "whole", 2, 400,
    ),
    "samples": Setting(
        "Samples", "How many pictures are drawn for the network to answer: more give a steadier map, and are slower.",
        "whole", 1, 5000,
    ),
    "noise": Setting(
        "Noise", "Standard deviation of what is added to each pixel, as a share of the picture's own range.", "share",
        0, 1,
    ),
    "seed": Setting(
        "Seed", "Of what is drawn at random: the same one gives the same map, another one shows how much is chance.",
        "whole", 0, 2**32 - 1,
    ),
}  # fmt: skip
"""Each setting's name, a word on it, and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """What can be set about a method; each takes what is its own, see `Method.settings`.

    None is what the method usually takes: `filled` puts it in.
    """

    layer: str | None = None  # of the network; None: the last convolution's activation
    baseline: BaselineName = "mean"
    steps: int = 50
    window: int | None = None  # pixels; None: a seventh of the input's side
    stride: int | None = None  # pixels; None: half the window
    superpixels: int = 50
    samples: int | None = None  # None: see `Method.usual`, as for the noise
    noise: float | None = None  # share of the picture's range
    seed: int = 0

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            value = getattr(self, name)
            if value is not None:
                setting.check(name, value)

    def filled(self, method: str, size: int) -> Settings:
        """The settings that are this method's own, None replaced, for an input of `size`×`size` pixels.

        The others are back at what they were made with, so that settings that give equal maps are equal; `layer` stays
        None where it is. Raises ConfigError where a window or a stride does not fit.
        """
        own = METHODS[method].settings
        values: dict[str, Any] = {name: getattr(self, name) for name in own}
        if "window" in own:
            window = values["window"] = max(1, size // 7) if self.window is None else self.window
            stride = values["stride"] = max(1, window // 2) if self.stride is None else self.stride
            SETTINGS["window"].check("window", window, size)
            SETTINGS["stride"].check("stride", stride, window)  # or the window would leave gaps
        for name, usual in METHODS[method].usual.items():
            values[name] = usual if values[name] is None else values[name]
        return Settings(**values)


@dataclass(frozen=True)
class Method:
    """An attribution method, as a page presents it."""

    key: str
    title: str
    explanation: str  # one sentence
    paper: str
    group: Group
    signed: bool  # the map tells for the class from against it
    settings: tuple[str, ...] = ()
    usual: Mapping[str, Any] = field(default_factory=dict)  # what it takes where a setting is None
    slow: bool = False  # many evaluations of the network: reports progress
    sums_to: Sum | None = None  # None: nothing is promised

    @property
    def needs_layer(self) -> bool:
        """Whether its map is that of a layer."""
        return "layer" in self.settings

    @property
    def random(self) -> bool:
        """Whether another seed gives another map."""
        return "seed" in self.settings


METHODS: dict[str, Method] = {
    method.key: method
    for method in (
        Method(
            "saliency",
            "Saliency",
            "How much the class's score reacts to the slightest change of each pixel: the largest |gradient| of its "
            "three colours.",
            "Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013, arXiv:1312.6034",
            "gradients",
            signed=False,
        ),
        Method(
            "input-x-gradient",
            "Input × gradient",
            "The gradient times the pixel's own value: what each pixel would add to the score if the network were the "
            "straight line that it is close to this picture.",
            "Shrikumar et al.: Not Just a Black Box, 2016, arXiv:1605.01713",
            "gradients",
            signed=True,
        ),
        Method(
            "smoothgrad",
            "SmoothGrad",
            "The mean gradient of many noisy copies of the picture, in which what is only chance in one gradient "
            "cancels out.",
            "Smilkov et al.: SmoothGrad: removing noise by adding noise, 2017, arXiv:1706.03825",
            "gradients",
            signed=False,
            settings=("samples", "noise", "seed"),
            usual={"samples": 50, "noise": 0.15},
            slow=True,
        ),
        Method(
            "deconvolution",
            "Deconvolution",
            "A gradient that at each ReLU lets through what is positive, wherever the ReLU itself was off: patterns "
            "that lead to the class, more of the network than of this picture.",
            "Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013, arXiv:1311.2901",
            "gradients",
            signed=False,
        ),
        Method(
            "guided-backprop",
            "Guided backpropagation",
            "The gradient with every negative one cut off at each ReLU, which is sharp, but tells more about the "
            "picture's edges than about the class.",
            "Springenberg et al.: Striving for Simplicity, 2014, arXiv:1412.6806",
            "gradients",
            signed=False,
        ),
        Method(
            "integrated-gradients",
            "Integrated gradients",
            "What each pixel adds to the class's score, or takes from it, on the way from the baseline to this "
            "picture; the map sums to the difference of the two scores.",
            "Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017, arXiv:1703.01365",
            "references",
            signed=True,
            settings=("baseline", "steps"),
            slow=True,
            sums_to="rise",
        ),
        Method(
            "gradient-shap",
            "GradientShap",
            "Integrated gradients at points that are drawn by chance on the way from the baseline to noisy copies of "
            "the picture; the map sums to about the difference of the two scores.",
            "Lundberg, Lee: A Unified Approach to Interpreting Model Predictions, 2017, arXiv:1705.07874",
            "references",
            signed=True,
            settings=("baseline", "samples", "noise", "seed"),
            usual={"samples": 50, "noise": 0.02},
            slow=True,
            sums_to="rise",
        ),
        Method(
            "deeplift",
            "DeepLift",
            "Follows each layer's difference from what the baseline gives there back to the pixels, so that units that "
            "are off or saturated still pass their share on.",
            "Shrikumar, Greenside, Kundaje: Learning Important Features, 2017, arXiv:1704.02685",
            "references",
            signed=True,
            settings=("baseline",),
            sums_to="rise",
        ),
        Method(
            "lrp",
            "Layer-wise relevance propagation",
            "Hands the class's score down layer by layer, to each unit its share of what it added there, with what "
            "speaks for the score counting more in the convolutions.",
            "Bach et al.: On Pixel-Wise Explanations, 2015, doi:10.1371/journal.pone.0130140",
            "references",
            signed=True,
            sums_to="logit",
        ),
        Method(
            "grad-cam",
            "Grad-CAM",
            "Where the maps of a layer that raise the class's score are active, as coarse as that layer's maps are.",
            "Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks, 2016, arXiv:1610.02391",
            "layers",
            signed=False,
            settings=("layer",),
        ),
        Method(
            "guided-grad-cam",
            "Guided Grad-CAM",
            "Guided backpropagation where Grad-CAM sees the class: the one's sharpness, the other's place.",
            "Selvaraju et al.: Grad-CAM: Visual Explanations from Deep Networks, 2016, arXiv:1610.02391",
            "layers",
            signed=False,
            settings=("layer",),
        ),
        Method(
            "layer-cam",
            "Layer-CAM",
            "As Grad-CAM, with a weight for each place of each map instead of one for the whole map, so that early "
            "layers give fine maps too.",
            "Jiang et al.: LayerCAM: Exploring Hierarchical Class Activation Maps, 2021, doi:10.1109/TIP.2021.3089943",
            "layers",
            signed=False,
            settings=("layer",),
        ),
        Method(
            "score-cam",
            "Score-CAM",
            "As Grad-CAM without gradients: a map of the layer weighs as much as the class's score when the picture "
            "is shown only where that map is active.",
            "Wang et al.: Score-CAM: Score-Weighted Visual Explanations, 2020, arXiv:1910.01279",
            "layers",
            signed=False,
            settings=("layer", "baseline"),
            slow=True,
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How far the class's score falls when a window of the picture is covered with the baseline.",
            "Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013, arXiv:1311.2901",
            "coverings",
            signed=True,
            settings=("window", "stride", "baseline"),
            slow=True,
        ),
        Method(
            "feature-ablation",
            "Superpixel ablation",
            "How far the class's score falls when one patch of like pixels is covered with the baseline: occlusion "
            "along the picture's own edges.",
            "patches: Achanta et al.: SLIC Superpixels, 2012, doi:10.1109/TPAMI.2012.120",
            "coverings",
            signed=True,
            settings=("superpixels", "baseline"),
            slow=True,
        ),
        Method(
            "lime",
            "LIME",
            "Covers patches by chance, many at a time, and fits a straight line to the scores: what each patch adds, "
            "with pictures close to the whole one counting more.",
            "Ribeiro, Singh, Guestrin: Why Should I Trust You?, 2016, arXiv:1602.04938",
            "coverings",
            signed=True,
            settings=("superpixels", "samples", "baseline", "seed"),
            usual={"samples": 300},
            slow=True,
        ),
        Method(
            "kernel-shap",
            "KernelShap",
            "As LIME, with weights that make the fit the Shapley values: what a patch adds on average over all orders "
            "in which the patches could be uncovered; they sum to the difference from the baseline's score.",
            "Lundberg, Lee: A Unified Approach to Interpreting Model Predictions, 2017, arXiv:1705.07874",
            "coverings",
            signed=True,
            settings=("superpixels", "samples", "baseline", "seed"),
            usual={"samples": 300},
            slow=True,
            sums_to="rise",
        ),
    )
}
"""Every method, group by group, each group from simple to elaborate."""
