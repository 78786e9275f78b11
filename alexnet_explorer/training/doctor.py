"""What the curves of a training say: what is seen, what it means, what the 2012 paper did about it, what to try.

    for finding in diagnose(config, run.metrics()[0], run.status().message):
        print(finding.sees)

The rows alone are read, so that a run can be looked at while it trains, or years later. Numbers in brackets are
sections of the paper.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from ..config import Augmentation, RunConfig
from ..runs import NOT_A_NUMBER

Row = Mapping[str, float]
Kind = Literal["fault", "advice", "note"]  # it does not learn; it could end better; all is as it should be

# A loss is that of the last few rows, as one batch may be easy or hard by chance.
RECENT_ROWS = 5
# ln C is what a network has that gives every class the same probability. The first steps are always there, and a
# network with tanh and a low rate leaves it only after dozens of steps.
FLAT = 0.02  # share of ln C within which the loss counts as flat there
FLAT_STEPS = 200  # and one epoch, or the end of the training: nothing is said earlier
FELL = 0.9  # share of ln C below which a loss has been, so that it has fallen back
# Noise and a rate that warms up move a loss by a few percent; a training that is lost doubles its own.
RISE = 1.25  # times the lowest loss
RISE_LEAST = 0.1  # and this share of ln C, as a rise from 0.001 to 0.002 harms nobody
WORSE = 1.1  # times ln C: worse than not to look at the picture
# A few units of any network never answer; where a third is gone, the layer is narrower than it was meant to be.
DEAD = 1 / 3  # share of the units of a layer
SATURATED = 0.5  # share of the responses of a layer; a twentieth is usual at the start, a quarter later on
# Layers of a network that learns have gradients within a factor of some tens of each other.
VANISHING = 1e-3  # times the largest of any layer
# He's weights of a layer of n units are a vector of length √(2n). A step that long in a hundredth is a bold one.
EXPLODING = 0.1  # times that length, moved by one gradient at the rate in force
# A gap between training and validation is usual; validation that gets worse, or a gap of half the loss, is not.
WORSENED = 1.05  # times the lowest validation loss
WORSENED_EPOCHS = 3  # in a row: a single one may be bad by chance
GAP = 1.5  # validation loss, times the training's
GAP_ERROR = 0.1  # and this difference of the errors, so that losses near 0 do not count
EASIER = 0.95  # validation loss, times the training's
STILL_FALLING = 0.03  # share of the validation loss


@dataclass(frozen=True)
class Try:
    """A change of one field, as `RunConfig.with_settings` and `--set` take it."""

    field: str
    value: str | float


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor sees; all texts are for humans."""

    name: str  # flat, fell-back, diverged, rising, dead, saturated, vanishing, exploding, parting, easier, unfinished
    kind: Kind
    sees: str  # with its numbers
    means: str
    paper: str
    tries: tuple[Try, ...] = ()


def diagnose(config: RunConfig, rows: Sequence[Row], message: str = "") -> list[Finding]:
    """What the rows of a run's metrics show, faults first; nothing where all is well.

    `message` is that of the run's status: a loss that is not a number ends a training before its row is written.
    """
    case = _Case(config, rows, message)
    found = [
        _diverged(case) or _rising(case) or _flat(case),
        _dead(case),
        _saturated(case),
        _exploding(case) or _vanishing(case),
        _parting(case),
        _easier(case),
        _unfinished(case),
    ]
    order = ("fault", "advice", "note")
    return sorted((finding for finding in found if finding), key=lambda finding: order.index(finding.kind))


class _Case:
    """The rows, sorted by what they are."""

    def __init__(self, config: RunConfig, rows: Sequence[Row], message: str) -> None:
        self.config, self.message = config, message
        self.training = [row for row in rows if "train/loss" in row]
        self.epochs = [row for row in rows if "val/loss" in row]
        self.losses = [row["train/loss"] for row in self.training]
        self.guessing = math.log(config.model.num_classes)
        count = len(self.losses) - RECENT_ROWS + 1
        self.means = [fmean(self.losses[start : start + RECENT_ROWS]) for start in range(count)]
        last = max(rows, key=lambda row: row["step"]) if rows else {"step": 0, "epoch": 0}
        self.at_end = bool(self.epochs) and self.epochs[-1]["epoch"] >= config.train.epochs
        self.step = int(last["step"])
        self.begun = self.at_end or (last["epoch"] >= 1 and last["step"] >= FLAT_STEPS)

    def recent(self, prefix: str) -> dict[str, float]:
        """The median of the last rows of each metric of that name, by layer."""
        rows = [row for row in self.training if any(name.startswith(prefix) for name in row)][-RECENT_ROWS:]
        layers = [name for name in rows[-1] if name.startswith(prefix)] if rows else []
        return {name.removeprefix(prefix): median(row[name] for row in rows if name in row) for name in layers}

    def last_shares(self, prefix: str, threshold: float) -> dict[str, float]:
        """The layers whose last share is at least the threshold."""
        row: Row = self.epochs[-1] if self.epochs else {}
        shares = {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
        return {layer: share for layer, share in shares.items() if share >= threshold}

    def rate_in_force(self, odd: Row | None) -> float:
        """The rate of the step at which the loss was no number: what the message says, else the row, else the last."""
        if said := re.search(r"at a rate of ([0-9.e+-]+)", self.message):
            return float(said[1])
        rows = [odd, *self.training[-1:]] if odd else self.training[-1:]
        return next((row["learning_rate"] for row in rows if "learning_rate" in row), self.config.train.learning_rate)

    def rate(self, factor: float) -> Try:
        return Try("train.learning_rate", float(f"{self.config.train.learning_rate * factor:.2g}"))


def _diverged(case: _Case) -> Finding | None:
    odd = next((row for row in (*case.training, *case.epochs) if not _finite(row)), None)
    if odd is None and NOT_A_NUMBER not in case.message:
        return None
    where = f"at step {odd['step']:.0f} {NOT_A_NUMBER}" if odd else case.message.partition(":")[0].partition(", at")[0]
    rate = case.rate_in_force(odd)
    return Finding(
        "diverged",
        "fault",
        f"{where[:1].upper()}{where[1:]}, at a learning rate of {rate:.3g}.",
        "A step went so far that the next gradient was larger still, until the numbers overflowed.",
        "One rate for all layers, set by hand: 0.01 at first, and a tenth each time the validation error stood still "
        "[5]. Its rate is inside the velocity, so that a smaller one also slows what was gathered before.",
        (Try("train.learning_rate", float(f"{0.1 * rate:.2g}")), *_calmer_inputs(case)),
    )


def _finite(row: Row) -> bool:
    return all(math.isfinite(row.get(name, 0.0)) for name in ("train/loss", "val/loss"))


def _calmer_inputs(case: _Case) -> tuple[Try, ...]:
    return (Try("data.scaling", "standard"),) if case.config.data.scaling == "2012" else ()


def _rising(case: _Case) -> Finding | None:
    if not case.means:
        return None
    now, best = case.means[-1], min(case.means)
    risen = now > RISE * best and now - best > RISE_LEAST * case.guessing
    worse = case.begun and now > WORSE * case.guessing
    # Back at ln C it has not diverged: it has forgotten.
    if _near(now, case.guessing) or not (risen or worse):
        return None
    return Finding(
        "rising",
        "fault",
        f"The training loss is {now:.2f}"
        + (f" after it was {best:.2f}" if risen else "")
        + f"; guessing has ln {case.config.model.num_classes} = {case.guessing:.2f}.",
        "The steps are longer than the valley is wide: each lands higher on the other side. The rate is too high.",
        "The rate was lowered by hand, by ten, three times in a training [5].",
        (case.rate(0.3), *_calmer_inputs(case)),
    )


def _near(loss: float, guessing: float) -> bool:
    return abs(loss - guessing) <= FLAT * guessing


def _flat(case: _Case) -> Finding | None:
    if not case.means or not case.begun or not _near(case.means[-1], case.guessing):
        return None
    config, classes = case.config, case.config.model.num_classes
    flat = f"ln {classes} = {case.guessing:.2f}"
    if (best := min(case.means)) < FELL * case.guessing:
        return Finding(
            "fell-back",
            "fault",
            f"The training loss had fallen to {best:.2f} and is back at {case.means[-1]:.2f}, near {flat}.",
            f"The network gives every one of the {classes} classes the same probability, whatever the picture: too "
            "long a step has pushed its units to where no gradient reaches them.",
            "Biases of 1 in five layers give the ReLUs positive inputs in the early stages [5], and the rate was "
            "lowered whenever the validation error stood still.",
            (case.rate(0.3),),
        )
    tries: list[Try] = []
    if config.model.activation == "sigmoid":
        tries.append(Try("model.activation", "relu"))
    if config.model.init == "2012":
        tries.append(Try("model.init", "modern"))
    return Finding(
        "flat",
        "fault",
        f"After {case.step} steps the training loss is {case.means[-1]:.2f}, where it began: {flat}.",
        f"The network gives every one of the {classes} classes the same probability. Its steps are too short to "
        "leave this plain, or its first weights so small that no signal comes through its layers.",
        "Weights from N(0, 0.01), biases of 1 in five layers to give the ReLUs positive inputs [5], and ReLUs, whose "
        "gradient does not fade [3.1]. Those deviations suit layers as wide as the paper's; narrow ones need larger.",
        (*tries, case.rate(3)),
    )


def _dead(case: _Case) -> Finding | None:
    shares = case.last_shares("dead/", DEAD)
    if not shares:
        return None
    tries = [case.rate(0.3)]
    if case.config.model.init == "2012" and not case.config.model.bias_one:
        tries.append(Try("model.bias_one", "2,4,5,6,7"))
    return Finding(
        "dead",
        "fault",
        f"ReLUs that are zero for every validation image: {_shares(shares)}.",
        "No gradient passes a ReLU at zero, so the weights before it stay as they are: the layer is narrower than it "
        "was built. One step that was too long can do this.",
        "Biases start at 1 in conv2, conv4, conv5 and the fully connected layers, so that ReLUs have positive inputs "
        "in the early stages [5].",
        tuple(tries),
    )


def _saturated(case: _Case) -> Finding | None:
    shares = case.last_shares("saturated/", SATURATED)
    if not shares:
        return None
    tries = [Try("model.activation", "relu"), case.rate(0.3)]
    if case.config.model.init == "2012":
        tries.append(Try("model.init", "modern"))
    return Finding(
        "saturated",
        "fault",
        f"Responses where the curve of {case.config.model.activation} is flat: {_shares(shares)}.",
        "There the slope is less than a tenth of what it is at zero, and the layers before learn that much slower.",
        "ReLUs instead: they do not saturate, and a small network reached 25 % training error in a sixth of the "
        "epochs [3.1].",
        (*tries, *_calmer_inputs(case)),
    )


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{share:.0%} in {layer}" for layer, share in shares.items())


def _exploding(case: _Case) -> Finding | None:
    rate = case.training[-1].get("learning_rate", 0.0) if case.training else 0.0
    widths = {layer.name: layer.output[0] for layer in case.config.model.layers()}
    lengths = {layer: rate * norm for layer, norm in case.recent("gradient/").items()}
    far = {layer: step for layer, step in lengths.items() if not step <= EXPLODING * math.sqrt(2 * widths[layer])}
    if not far:
        return None
    shown = ", ".join(
        f"{layer} by {step:.2g} (its first weights: {_length(widths[layer])})" for layer, step in far.items()
    )
    return Finding(
        "exploding",
        "fault",
        f"At the rate of {rate:g} one gradient moves {shown}.",
        "Such a step replaces what a layer has learned instead of changing it, and momentum makes ten of it.",
        "A rate of 0.01 at first, one for all layers [5]; gradients were not clipped.",
        (case.rate(0.1), *_calmer_inputs(case)),
    )


def _length(width: int) -> str:
    return f"about {math.sqrt(2 * width):.2g} long"


def _vanishing(case: _Case) -> Finding | None:
    norms = case.recent("gradient/")
    largest = max(norms.values(), default=0.0)
    small = {layer: norm for layer, norm in norms.items() if norm < VANISHING * largest}
    if not small or not case.begun:
        return None
    tries: list[Try] = []
    if case.config.model.activation != "relu":
        tries.append(Try("model.activation", "relu"))
    if case.config.model.init == "2012":
        tries.append(Try("model.init", "modern"))
    return Finding(
        "vanishing",
        "fault",
        "Gradients of " + ", ".join(f"{norm:.1g} in {layer}" for layer, norm in small.items())
        + f"; the largest of a layer is {largest:.1g}.",
        "On its way back each layer has weakened the gradient: the first ones hardly learn, the last ones learn from "
        "what random filters tell them.",
        "ReLUs, which pass a gradient on as it is [3.1], and first weights and biases that keep them awake [5].",
        tuple(tries) or (case.rate(3),),
    )  # fmt: skip


def _parting(case: _Case) -> Finding | None:
    if not case.epochs:
        return None
    last, best = case.epochs[-1], min(case.epochs, key=lambda row: row["val/loss"])
    train, val = last["epoch/train_loss"], last["val/loss"]
    lately = min(row["val/loss"] for row in case.epochs[-WORSENED_EPOCHS:])
    worsened = lately > WORSENED * best["val/loss"] and train < min(val, best["epoch/train_loss"])
    errors = last["val/top1_error"] - last["epoch/train_top1_error"]
    if not worsened and not (val > GAP * train and errors > GAP_ERROR):
        return None
    config = case.config
    digits = config.data.name == "digits"  # a mirrored digit is another sign, or none
    wanted: tuple[Augmentation, ...] = ("crop",) if digits else ("flip", "crop", "pca-colour")
    tries: list[Try] = []
    if any(name not in config.data.augmentation for name in wanted):
        tries.append(Try("data.augmentation", ",".join(dict.fromkeys((*config.data.augmentation, *wanted)))))
    if config.model.dropout < 0.5 and config.model.fc_widths:
        tries.append(Try("model.dropout", 0.5))
    tries.append(Try("train.weight_decay", max(5e-4, float(f"{3 * config.train.weight_decay:.2g}"))))
    if worsened:
        tries.append(Try("train.epochs", max(1, round(best["epoch"]))))
    return Finding(
        "parting",
        "advice",
        f"The training loss is {train:.2f}, that of validation {val:.2f}"
        + (f", after {best['val/loss']:.2f} at epoch {best['epoch']:.0f}" if worsened else "")
        + f"; the errors are {last['epoch/train_top1_error']:.1%} and {last['val/top1_error']:.1%}.",
        "The network learns its training images by heart: what it still gains there does not hold for others.",
        "Crops, mirror images and colour shifts, without which the network overfits substantially [4.1], dropout of "
        "half the units of the first two fully connected layers [4.2], weight decay of 0.0005 [5].",
        tuple(tries),
    )


def _easier(case: _Case) -> Finding | None:
    if not case.epochs or case.epochs[-1]["val/loss"] >= EASIER * case.epochs[-1]["epoch/train_loss"]:
        return None
    row, config = case.epochs[-1], case.config
    harder = ["with a share of the units dropped"] if config.model.dropout and config.model.fc_widths else []
    harder += ["on images changed at random"] if config.data.augmentation else []
    return Finding(
        "easier",
        "note",
        f"The validation loss, {row['val/loss']:.2f}, is lower than the training loss, {row['epoch/train_loss']:.2f}.",
        "Nothing is wrong. The training loss is a mean over the epoch, in which the network was still getting better"
        + (f", and it is taken {' and '.join(harder)}; validation has it easier." if harder else "."),
        "Dropout [4.2] and augmentation [4.1] make training harder than the test, in which all units are there and "
        "the images are whole.",
    )


def _unfinished(case: _Case) -> Finding | None:
    if not case.at_end or len(case.epochs) < 3:
        return None
    losses = [row["val/loss"] for row in case.epochs]
    # Where the rate falls to zero the loss falls with it, and levels off at the end. Where the rate stays up, so does
    # the noise, and fifths of the training are compared.
    annealed = case.config.train.schedule in ("one-cycle", "cosine")
    count = 1 if annealed else max(1, len(losses) // 5)
    now, before = fmean(losses[-count:]), fmean(losses[-2 * count : -count])
    fall = 1 - now / before
    if fall <= STILL_FALLING:
        return None
    span = "in the last epoch" if count == 1 else f"from the {count} epochs before to the last {count}"
    return Finding(
        "unfinished",
        "advice",
        f"The validation loss was still falling at the end: by {fall:.0%} {span}, to {losses[-1]:.2f}.",
        "The network could learn more from these images: it was given too little time.",
        "About 90 epochs, five to six days [5]; dropout alone about doubles what is needed [4.2].",
        (Try("train.epochs", 2 * case.config.train.epochs),),
    )
