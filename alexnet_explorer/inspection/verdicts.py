"""What the trust figures beside a map mean, in words: pure numbers in, a reading and a verdict out. No PyTorch here.

Every threshold stands here, with what it rests on. A verdict says what one figure shows of one map, no more: a map that
holds in all of them may still be wrong, and one that fails in one of them may be right about something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .methods import Sum

Verdict = Literal["holds", "doubtful", "fails", "says nothing"]
Value = float | None

ENOUGH_COMPLETE, HARDLY_COMPLETE = 0.05, 0.2
"""Relative errors. Sundararajan et al. (2017, section 5) ask integrated gradients for 5 %. DeepLift, whose rules do not
fit pooling and normalisation, was measured at 2 to 14 % behind two poolings and at 54 to 87 % with LRN: what is beyond
20 % is no sum any more."""

MOST_CANCELLED = 100
"""Where the values' sizes together are more than so many times the sum that is due, it is what rounding and the steps
of an integral leave of numbers that cancel. Integrated gradients of the shipped networks: 5 to 21 times."""

LEAST_FALL = 0.05
"""Of the class's probability, from the picture to where nothing is left of it: with less there is nothing to lose."""

LEVEL = 0.95
"""One more random order would be worse than the bound that a map has to beat so often: one in twenty is not."""

CHANGED, UNCHANGED = 0.4, 0.5
"""Rank correlations with a map of a network without any training left in it. Adebayo et al. draw no line, so this one
was measured, on seven sample pictures and three shipped networks: saliency, integrated gradients, Grad-CAM and
occlusion keep 0.15 on average and 0.40 at most (84 maps), guided backpropagation, which is known to follow the
picture's edges whatever was learned, 0.44 on average and 0.60 at most (14 maps)."""

STEADY, UNSTEADY = 0.5, 1.0
"""Changes as a share of the map's own size. Between two maps of equal size, a change of s is a cosine of 1 − s²/2: 0.5
leaves them alike (0.875), at 1 they are nearer to having nothing in common (0, a change of 1.41) than to being alike;
and to be blank would change a map by 1."""


@dataclass(frozen=True)
class FigureKind:
    """A trust figure, as a page presents it; `keys` are those of its values."""

    key: str
    title: str
    explanation: str  # one or two sentences
    paper: str
    keys: tuple[str, ...]


FIGURES: dict[str, FigureKind] = {
    kind.key: kind
    for kind in (
        FigureKind(
            "completeness",
            "Completeness",
            "Some methods promise that the values of all pixels add up to the class's score, or to its rise above the "
            "baseline's. Here is by how much they miss it.",
            "Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017, arXiv:1703.01365",
            ("completeness_error",),
        ),
        FigureKind(
            "deletion",
            "Deletion",
            "The pixels are taken away, those first which the map ranks highest, and what is left goes to the network. "
            "A good map makes the class's probability fall early: a small area under the curve.",
            "Petsiuk, Das, Saenko: RISE, 2018, arXiv:1806.07421",
            ("deletion_area", "random_deletion_area", "centre_deletion_area", "elsewhere_deletion_area"),
        ),
        FigureKind(
            "insertion",
            "Insertion",
            "The pixels are put into a blurred picture, those first which the map ranks highest. A good map makes the "
            "class's probability rise early: a large area under the curve.",
            "Petsiuk, Das, Saenko: RISE, 2018, arXiv:1806.07421",
            ("insertion_area", "random_insertion_area", "centre_insertion_area", "elsewhere_insertion_area"),
        ),
        FigureKind(
            "randomisation",
            "Randomised weights",
            "The network's layers lose what they learned, one after the other from the last to the first: their "
            "weights are drawn anew. A map that tells what the network learned has to change.",
            "Adebayo et al.: Sanity Checks for Saliency Maps, 2018, arXiv:1810.03292",
            ("randomisation_correlation", "signed_randomisation_correlation"),
        ),
        FigureKind(
            "sensitivity",
            "Sensitivity to noise",
            "Noise too weak to be seen is added to the picture, several times. Here is by how much the map changes at "
            "most, as a share of its own size.",
            "Yeh et al.: On the (In)fidelity and Sensitivity of Explanations, 2019, arXiv:1901.09392",
            ("max_sensitivity",),
        ),
    )
}
ALL: tuple[str, ...] = tuple(FIGURES)


@dataclass(frozen=True)
class Curve:
    """A line of a figure's chart; `low` and `high`, where there are some, are the least and the largest of several."""

    name: str
    title: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[Value, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One trust figure of one map."""

    key: str
    values: Mapping[str, Value]  # None: not defined
    reading: str  # what was seen, for somebody who never heard of it
    verdict: Verdict
    because: str  # the comparison and the threshold that the verdict rests on
    curves: tuple[Curve, ...] = ()
    x_title: str = ""
    y_title: str = ""

    @property
    def title(self) -> str:
        """As `FIGURES` has it."""
        return FIGURES[self.key].title


@dataclass(frozen=True)
class Trust:
    """The trust figures of one map, those that were asked for."""

    figures: Mapping[str, Figure]

    def to_json(self) -> dict[str, Value]:
        """Every figure's values by their flat keys; None where a figure is not defined, or was not asked for."""
        return {
            key: self.figures[kind.key].values.get(key) if kind.key in self.figures else None
            for kind in FIGURES.values()
            for key in kind.keys
        }


def nothing(key: str, reason: str) -> Figure:
    """A figure that does not apply, and why."""
    return Figure(key, dict.fromkeys(FIGURES[key].keys), reason, "says nothing", "It does not apply here.")


def completeness(total: float, due: float, mass: float, sums_to: Sum, random: bool = False) -> Figure:
    """By how much the sum of a map's values misses what is due; `mass` is the sum of their sizes.

    `random`: the method draws points by chance.
    """
    what = "the score's rise above the baseline's" if sums_to == "rise" else "the score"
    if due == 0 or mass > MOST_CANCELLED * abs(due):
        return Figure(
            "completeness", {"completeness_error": None},
            f"The values add up to {_number(total)}, and {what} is {_number(due)}: too little to measure an error by.",
            "says nothing",
            f"The values' sizes add up to more than {MOST_CANCELLED} times what is due: what is left of them is "
            "mostly rounding." if mass else "There is nothing that the map could have shared out.",
        )  # fmt: skip
    error = abs(total - due) / abs(due)
    return Figure(
        "completeness", {"completeness_error": error},
        f"The values add up to {_number(total)}, and {what} is {_number(due)}: they miss it by {_percent(error)}.",
        _grade(error, ENOUGH_COMPLETE, HARDLY_COMPLETE),
        f"Up to {_percent(ENOUGH_COMPLETE)} is what integrated gradients are asked for; beyond "
        f"{_percent(HARDLY_COMPLETE)} the values share out something else than the score."
        + (" This method draws points by chance, and more of them bring the sum closer."
           if random and error > ENOUGH_COMPLETE else ""),
    )  # fmt: skip


@dataclass(frozen=True)
class Perturbed:
    """The class's probability while pixels go, or come: of this map's order, and of those that it has to beat.

    Each curve has the same number of values, the first at no pixel, the last at all of them.
    """

    own: Sequence[float]
    random: Sequence[Sequence[float]]  # several random orders
    centre: Sequence[float]  # from the centre outwards
    elsewhere: Sequence[Sequence[float]]  # the same map, turned and moved


def area(curve: Sequence[float]) -> float:
    """Under a curve of evenly spaced values over a span of 1, by the trapezoid rule."""
    return math.fsum((left + right) / 2 for left, right in pairwise(curve)) / (len(curve) - 1)


def perturbation(key: Literal["deletion", "insertion"], seen: Perturbed) -> Figure:
    """Whether the map finds pixels that matter sooner than chance, than the centre, and than itself in other places."""
    deletion = key == "deletion"
    better = -1 if deletion else 1  # a small area is good where pixels go
    own, centre = area(seen.own), area(seen.centre)
    random, elsewhere = [area(curve) for curve in seen.random], [area(curve) for curve in seen.elsewhere]
    chance, half = _next_one(random)
    values = {
        f"{key}_area": own,
        f"random_{key}_area": chance,
        f"centre_{key}_area": centre,
        f"elsewhere_{key}_area": math.fsum(elsewhere) / len(elsewhere),
    }
    steps = len(seen.own) - 1
    x = tuple(step / steps for step in range(steps + 1))
    curves = (
        Curve("map", "this map", x, tuple(seen.own)),
        _bundle("random", "random orders", x, seen.random),
        Curve("centre", "from the centre outwards", x, tuple(seen.centre)),
        _bundle("elsewhere", "this map turned or moved", x, seen.elsewhere),
    )
    titles = f"share of the pixels {'taken away' if deletion else 'put in'}", "probability of the class"
    whole, none = (seen.own[0], seen.own[-1]) if deletion else (seen.own[-1], seen.own[0])
    if whole - none < LEAST_FALL:
        return Figure(
            key, values,
            f"The class's probability is {_percent(whole)} for the picture and {_percent(none)} where nothing is left "
            "of it: there is little to lose, and the order in which the pixels go hardly matters.",
            "says nothing", f"The curve needs a fall of at least {_percent(LEAST_FALL)}.", curves, *titles,
        )  # fmt: skip
    beaten = {
        "random orders": better * (own - chance) > half,
        "the order from the centre outwards": better * (own - centre) > 0,
        "the same map turned or moved": all(better * (own - other) > 0 for other in elsewhere),
    }
    verdict: Verdict = "holds" if all(beaten.values()) else "doubtful" if any(beaten.values()) else "fails"
    because = (
        f"Area {own:.3f}, to be {'smaller' if deletion else 'larger'} than that of random orders ({chance:.3f}; one "
        f"in twenty would be beyond {max(0.0, chance + better * half):.3f}), of the order from the centre outwards "
        f"({centre:.3f}) and of the same map turned or moved ({min(elsewhere):.3f} to {max(elsewhere):.3f}). "
        + (f"It beats {_listed([name for name, is_beaten in beaten.items() if is_beaten])}" if any(beaten.values())
           else "It beats none of them")
        + ("." if all(beaten.values()) or not any(beaten.values())
           else f", not {_listed([name for name, is_beaten in beaten.items() if not is_beaten])}.")
    )  # fmt: skip
    return Figure(key, values, _when(seen.own, x, whole, deletion), verdict, because, curves, *titles)


def randomisation(
    layers: Sequence[str], sizes: Sequence[Value], signed: Sequence[Value] | None, draws: Sequence[Value]
) -> Figure:
    """Whether the map forgets what the network forgot.

    `sizes` are the rank correlations of the map's |values| with the first map's after each further one of `layers`,
    `signed` those of the values of a signed method; None stands for a blank map, or one that the method refuses.
    `draws` are those of `sizes` with all layers drawn anew, several times.
    """
    left = [value for value in draws if value is not None]
    x = ("as trained", *layers)
    curves = [Curve("size", "size of the values", x, (1.0, *sizes))]
    if signed:
        curves.append(Curve("signed", "values with their signs", x, (1.0, *signed)))
    last = signed[-1] if signed else None
    titles = "weights drawn anew down to", "rank correlation with the map"
    if not left:
        return Figure(
            "randomisation", {"randomisation_correlation": None, "signed_randomisation_correlation": last},
            "With all weights drawn anew the map is blank, or the method finds nothing to say: nothing of this map is "
            "left to compare.",
            "holds", "A blank map has no order of pixels, and so none of the first map's.", tuple(curves), *titles,
        )  # fmt: skip
    mean = math.fsum(left) / len(left)
    kept = "still" if mean >= CHANGED else "only"
    return Figure(
        "randomisation", {"randomisation_correlation": mean, "signed_randomisation_correlation": last},
        f"With all weights drawn anew, the order of the pixels {kept} agrees with this map's by {_signed(mean)} (1: "
        f"unchanged, 0: nothing in common). "
        + ("Much of the map comes from the picture and the network's shape, not from its weights." if mean >= UNCHANGED
           else "Some of the map may come from the picture and the network's shape, not from its weights."
           if mean >= CHANGED else "The map depends on the network's weights."),
        _grade(mean, CHANGED, UNCHANGED),
        f"Mean rank correlation of {len(left)} networks with other weights ({_signed(min(left))} to "
        f"{_signed(max(left))}): below {CHANGED} it has changed, from {UNCHANGED} on it has not. A correlation of "
        "pixels does not say whether the eye sees the change.",
        tuple(curves), *titles,
    )  # fmt: skip


def sensitivity(largest: float, levels: float, draws: int) -> Figure:
    """By how much the map changes at most under noise of so many grey levels, as a share of its size."""
    return Figure(
        "sensitivity", {"max_sensitivity": largest},
        f"Noise of at most {levels:g} of 256 grey levels, which is hardly seen, changes the map by up to "
        f"{_percent(largest)} of its size.",
        _grade(largest, STEADY, UNSTEADY),
        f"The largest change of {draws} draws: up to {_percent(STEADY)} the maps are alike, beyond "
        f"{_percent(UNSTEADY)} they have little in common. It may be the network that is unsteady, not the method.",
    )  # fmt: skip


def lost_in_noise(reason: str, levels: float) -> Figure:
    """There is a map of the picture, and none of a copy with noise of so many grey levels."""
    return Figure(
        "sensitivity", {"max_sensitivity": None},
        f"Noise of at most {levels:g} of 256 grey levels, which is hardly seen, leaves nothing of the map: {reason}",
        "fails", "A method that stays silent on a picture that looks the same is not steady.",
    )  # fmt: skip


def _grade(value: float, good: float, bad: float) -> Verdict:
    """Small is good."""
    return "holds" if value <= good else "doubtful" if value <= bad else "fails"


def _next_one(values: Sequence[float]) -> tuple[float, float]:
    """The mean of some values, and how far to one side of it one more may lie: Student's prediction at `LEVEL`."""
    from scipy import stats

    count = len(values)
    mean = math.fsum(values) / count
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    return mean, float(stats.t.ppf(LEVEL, count - 1)) * deviation * math.sqrt(1 + 1 / count)


def _bundle(name: str, title: str, x: tuple[float, ...], curves: Sequence[Sequence[float]]) -> Curve:
    """Several curves as their mean, with the least and the largest at each place."""
    places = list(zip(*curves, strict=True))
    mean = tuple(math.fsum(place) / len(place) for place in places)
    return Curve(name, title, x, mean, tuple(map(min, places)), tuple(map(max, places)))


def _when(curve: Sequence[float], x: Sequence[float], whole: float, deletion: bool) -> str:
    """The share of the pixels at which half of the probability is gone, or there."""
    crossed = (share for share, value in zip(x, curve, strict=True) if (value <= whole / 2) == deletion)
    share = next(crossed, None)
    if share == 0 and not deletion:
        return (
            f"The class's probability, {_percent(whole)} in the end, is {_percent(curve[0])} before any pixel is "
            "there: more than half of that."
        )
    if share is None:
        return f"The class's probability, {_percent(whole)}, stays above half of that until the end."
    if deletion:
        return (
            f"The class's probability, {_percent(whole)}, has fallen to half when {_percent(share)} of the pixels are "
            "gone, those first which the map ranks highest."
        )
    return (
        f"The class's probability, {_percent(whole)} in the end, is half of that when {_percent(share)} of the pixels "
        "are there, those first which the map ranks highest."
    )


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.05:
        return "less than 0.1 %"
    return f"{percent:.1f} %" if 0.05 <= percent < 10 and percent != round(percent) else f"{percent:.0f} %"


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
