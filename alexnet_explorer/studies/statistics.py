"""What a few paired seeds say: differences, ratios of times, effects of a factorial design, each with its interval.

Seeds are paired: the n-th value of one arm and the n-th of another come from the same seed, so that what a seed does to
both arms falls out of their difference. The arithmetic is SciPy's. A spread that was not seen gives no interval: with
one seed, or where all differences are the same number, its ends are infinite and there is no p value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

MOST_FURTHER = 1000  # seeds; what would take more is out of reach

_RESAMPLES = 9999
_ROUNDING = 64 * float(np.finfo(np.float64).eps)
_MARGIN = 1e-6  # of a root's bracket, for rounding
_ALIASED = 1e-9  # of an effect; what is smaller is rounding

Effect = tuple[str, ...]
"""A main effect, `("dropout",)`, or a two-way interaction, `("activation", "dropout")`."""

Cell = tuple[str, ...]
"""One level of each factor."""


class StatisticsError(ValueError):
    """A question that these values cannot answer; the message is for humans."""


@dataclass(frozen=True)
class Estimate:
    """What was measured and how sure it is."""

    value: float | None  # None where nothing but a bound is known
    low: float  # the ends of the interval; infinite (for a ratio: 0 or infinite) where it is open
    high: float
    n: int  # pairs of runs that say something
    p_value: float | None  # two-sided, of no difference (a ratio of 1); None where the spread is not known


@dataclass(frozen=True)
class Time:
    """How long a run took to reach a target, in any unit; where it did not, how long it was given."""

    value: float
    reached: bool
    at_first: bool = False  # it was there already when it was first looked at: the true time is shorter


@dataclass(frozen=True, eq=False)
class Sample:
    """What each seed says of one question: a number, or, where time ran out, a limit beyond which it lies.

    The numbers are taken as normal. Of a ratio they are logarithms. `above`: the true one is larger than the limit;
    `below`: smaller. All three have the shape (seeds that say something,).
    """

    values: NDArray[np.float64]
    above: NDArray[np.bool_]
    below: NDArray[np.bool_]
    ratio: bool = False
    silent: int = 0  # seeds that say nothing, as times ran out on both sides

    @property
    def censored(self) -> bool:
        """Whether some of the values are limits."""
        return bool((self.above | self.below).any())

    @property
    def _seen(self) -> NDArray[np.float64]:
        return self.values[~self.above & ~self.below]

    def estimate(self, level: float = 0.95) -> Estimate:
        """The mean, of ratios the geometric one, and its interval.

        Where nothing is censored, it is Student's. With two or more values that were seen whole, and differ, the
        estimate is the one of maximum likelihood and the interval the profile likelihood's (see `_censored`).

        With fewer, likelihood could make the spread as small as it likes. Then there is no value, but a bound where all
        limits are to one side. Suppose time ran out in the slower arm: its times, had they been taken to the end, would
        be longer than their limits, so the lower end of Student's interval of the ratios with the limits holds; the
        upper one is infinite. Raises StatisticsError for a level that is none.
        """
        found = self._on_its_scale(level)
        if not self.ratio:
            return found
        value = None if found.value is None else _exp(found.value)
        return Estimate(value, _exp(found.low), _exp(found.high), found.n, found.p_value)

    def bootstrap(self, level: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
        """The interval of the mean by the bootstrap over the seeds (BCa), which assumes no normal distribution.

        With few seeds it is too narrow (with five, a 95 % interval holds about 85 %): it stands beside Student's t, not
        in its place. None where no two values differ, or one is a limit: what was not seen cannot be drawn.
        """
        if self.censored or not _varies(self.values):
            return None
        found = stats.bootstrap(
            (self.values,), np.mean, confidence_level=_checked(level), n_resamples=_RESAMPLES, method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
        low, high = float(found.low), float(found.high)
        return (_exp(low), _exp(high)) if self.ratio else (low, high)

    def further_seeds(self, level: float = 0.95, most: int = MOST_FURTHER) -> float | None:
        """How many seeds more would bring the interval to one side of no difference, if they go on like these.

        A projection: the mean and the spread of further seeds are taken to be those seen so far, which few seeds tell
        badly. 0 where the interval is there already; infinite where it would take more than `most`. None where it
        cannot be told: the spread is not known, or nothing but limits that leave no difference possible.
        """
        found, count = self._on_its_scale(level), len(self.values)
        if found.p_value is None:
            return None
        centre = float(self.values.mean()) if found.value is None else found.value
        end = found.low if centre > 0 else found.high
        if math.isinf(end):  # the limits lie on the other side of no difference: how far beyond, nobody saw
            return None
        counts = np.arange(count, count + most + 1)
        width = stats.t.ppf((1 + level) / 2, counts - 1) / np.sqrt(counts)
        enough = np.flatnonzero(abs(centre - end) * width / width[0] < abs(centre))
        if not len(enough):
            return math.inf
        return math.ceil(int(enough[0]) * (count + self.silent) / count)

    def _on_its_scale(self, level: float) -> Estimate:
        """`estimate`, of a ratio in logarithms."""
        if not len(self.values):
            return Estimate(None, -math.inf, math.inf, 0, None)
        if not self.censored:
            return _student(self.values, level)
        if _varies(self._seen):
            return _censored(self._seen, self.values[self.above], self.values[self.below], level)
        return _bound(self.values, bool(self.above.any()), bool(self.below.any()), level)


def differences(baseline: Sequence[float], other: Sequence[float]) -> Sample:
    """`other` − `baseline` of each seed; the same seeds in the same order.

    Raises StatisticsError where the lengths differ, there is no pair, or a value is not finite.
    """
    if len(baseline) != len(other):
        raise StatisticsError(f"{len(baseline)} values are paired with {len(other)}: give one of each arm a seed")
    a, b = _finite(baseline), _finite(other)
    return _whole(b - a, float(np.abs([a, b]).max()))


def ratios(baseline: Sequence[Time], other: Sequence[Time]) -> Sample:
    """How many times as long `other` takes as `baseline` with each seed, some times being censored.

    Where `other` was given up, the ratio is larger than the one seen; where `baseline` was, smaller; where both were,
    the pair says nothing of it. Raises StatisticsError where the lengths differ or a time is not above 0.
    """
    if len(baseline) != len(other):
        raise StatisticsError(f"{len(baseline)} times are paired with {len(other)}: give one of each arm for each seed")
    (mine, mine_out), (its, its_out) = _logarithms(baseline), _logarithms(other)
    return _limited(its - mine, its_out, mine_out, 1.0)


def effects(cells: Mapping[Cell, Sequence[float] | Sequence[Time]], factors: Sequence[str]) -> dict[Effect, Sample]:
    """What each factor of a factorial design does, averaged over the others, and each two together, with each seed.

    `cells` gives the values, one for each seed, of each combination of levels, in the order of `factors`. A factor's
    first level in the order of `cells` is what the others are compared with. Of a factor with two levels, the key is
    `(factor,)`; with more there is one for each further level, `("factor=level",)`. A two-way interaction is how much
    larger the effect of the one is at the other's second level than at its first (books on the design of experiments
    give half of that).

    Of times, an effect is how many times as long it takes, in the geometric mean over the other factors, and an
    interaction how many times as large that ratio is. Where a time ran out that lengthens the effect, the effect is
    larger than the one seen; where one that shortens it, smaller; where both, the seed says nothing of it.

    In a fractional design, interactions that cannot be told from other effects are left out, and main effects are what
    they are if those interactions are nothing: `aliases` names them.

    Raises StatisticsError where a main effect cannot be told from another, or where the cells do not fit together.
    """
    told, matrix, _, _ = _model(_design(cells, factors))
    weights = np.linalg.pinv(matrix)[1:]  # of the cells in each effect
    if not any(isinstance(value, Time) for values in cells.values() for value in values):
        values = np.array([_finite(values) for values in cells.values()])  # type: ignore[arg-type]
        size = float(np.abs(values).max())
        return {effect: _whole(row @ values, size) for effect, row in zip(told, weights, strict=True)}
    both = [_logarithms(values) for values in cells.values()]  # type: ignore[arg-type]
    logs, out = (np.array(part) for part in zip(*both, strict=True))
    size = max(1.0, float(np.abs(logs).max()))
    found = {}
    for effect, row in zip(told, weights, strict=True):
        above, below = (out[sign * row > _ALIASED].any(axis=0) for sign in (1, -1))
        found[effect] = _limited(row @ logs, above, below, size)
    return found


def aliases(arms: Sequence[Cell], factors: Sequence[str]) -> dict[Effect, list[Effect]]:
    """The interactions that `effects` leaves out, each with the effects that it cannot be told from.

    `arms`: the combinations of levels. Empty for a full factorial design. Raises StatisticsError as `effects` does.
    """
    told, matrix, left_out, columns = _model(_design(dict.fromkeys(arms, ()), factors))
    if not left_out:
        return {}
    shares = np.linalg.pinv(matrix) @ columns  # of an interaction in the constant and in each effect
    rest = columns - matrix @ shares
    together = rest.T @ rest
    result: dict[Effect, list[Effect]] = {}
    for place, interaction in enumerate(left_out):
        inside = [effect for effect, share in zip(told, shares[1:, place], strict=True) if abs(share) > _ALIASED]
        same = (np.abs(shares.T @ shares) + np.abs(together) > _ALIASED)[place]
        inside += [other for other, is_same in zip(left_out, same, strict=True) if is_same and other != interaction]
        result[interaction] = inside
    return result


def effect_names(arms: Sequence[Cell], factors: Sequence[str]) -> list[Effect]:
    """The effects that `effects` tells of these combinations of levels. Raises StatisticsError as it does."""
    return _model(_design(dict.fromkeys(arms, ()), factors))[0]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values: what lies below 0.05 among them is told with a 5 % chance of any false one at most.

    Raises StatisticsError for what is not between 0 and 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise StatisticsError("a p value is not between 0 and 1")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]


def _student(values: NDArray[np.float64], level: float) -> Estimate:
    """The mean of the values, and Student's t interval; of one value, or of equal ones, the mean alone."""
    mean = float(values.mean())
    if not _varies(values):
        _checked(level)
        return Estimate(mean, -math.inf, math.inf, len(values), None)
    test = stats.ttest_1samp(values, 0.0)
    interval = test.confidence_interval(_checked(level))
    return Estimate(mean, float(interval.low), float(interval.high), len(values), float(test.pvalue))


def _bound(logs: NDArray[np.float64], above: bool, below: bool, level: float) -> Estimate:
    """The end of Student's interval that holds where values are larger (`above`), or smaller, than seen; no value."""
    limits = _student(logs, level)
    if (above and below) or limits.p_value is None:
        return Estimate(None, -math.inf, math.inf, len(logs), None)
    # Where the bound lies on the other side of no difference, it says nothing against that.
    p_value = limits.p_value if (logs.mean() > 0) == above else 1.0
    low, high = (limits.low, math.inf) if above else (-math.inf, limits.high)
    return Estimate(None, low, high, len(logs), p_value)


def _censored(
    seen: NDArray[np.float64], above: NDArray[np.float64], below: NDArray[np.float64], level: float
) -> Estimate:
    """Mean of normal values, some known only to lie above or below a limit: likelihood's, and its profile interval.

    `seen` holds two different values at least. The interval is where twice the logarithm of the likelihood ratio stays
    under n·log(1 + t² / (n − 1)), with Student's t for n values: without limits that is Student's interval.
    """
    count = len(seen) + len(above) + len(below)
    centre, scale = float(seen.mean()), float(seen.std())
    profile = _Profile((seen - centre) / scale, (above - centre) / scale, (below - centre) / scale)
    best = optimize.minimize_scalar(lambda mean: -profile(mean), bracket=(0.0, 1.0), tol=1e-8)
    top, value = -float(best.fun), float(best.x)

    def deviance(mean: float) -> float:
        return max(2 * (top - profile(mean)), 0.0)

    t = float(stats.t.ppf((1 + _checked(level)) / 2, count - 1))
    threshold = count * math.log1p(t * t / (count - 1))

    def end(step: float) -> float:
        while deviance(value + step) < threshold:
            step *= 2
        outside = value + step
        return centre + scale * float(optimize.brentq(lambda mean: deviance(mean) - threshold, value, outside))

    t_of_one = math.sqrt((count - 1) * math.expm1(deviance(-centre / scale) / count))
    p_value = 2 * float(stats.t.sf(t_of_one, count - 1))
    return Estimate(centre + scale * value, end(-1.0), end(1.0), count, p_value)


@dataclass(frozen=True)
class _Profile:
    """The logarithm of the likelihood of a normal's mean, at the spread that suits this mean best."""

    seen: NDArray[np.float64]
    above: NDArray[np.float64]  # values lie above these
    below: NDArray[np.float64]

    def __call__(self, mean: float) -> float:
        # With w = 1 / spread each value known by its limit adds log Φ(w·distance); concave in w, so one root.
        count = len(self.seen)
        squares = float(((self.seen - mean) ** 2).sum())
        distances = np.concatenate([mean - self.above, self.below - mean])

        def slope(w: float) -> float:
            hazard = math.sqrt(2 / math.pi) / special.erfcx(-w * distances / math.sqrt(2))  # density / Φ
            return float(count / w - w * squares + distances @ hazard)

        # The hazard at z lies between 0 and 1 + max(−z, 0), so the root between those of two parabolas.
        right, left = distances[distances > 0], distances[distances < 0]
        least = _root(squares + float(left @ left), -float(left.sum()), count)
        most = _root(squares, -float(right.sum()), count)
        w = least  # where nothing is censored, the one is the other
        if least < most:
            w = optimize.brentq(slope, least * (1 - _MARGIN), most * (1 + _MARGIN), xtol=1e-300, rtol=1e-12)
        return float(count * math.log(w) - w * w * squares / 2 + special.log_ndtr(w * distances).sum())


def _root(a: float, b: float, c: float) -> float:
    """The positive w at which c / w − a·w − b is 0."""
    root = math.sqrt(b * b + 4 * a * c)
    return 2 * c / (root + b) if b > 0 else (root - b) / (2 * a)  # the one that subtracts nothing


def _design(
    cells: Mapping[Cell, Sequence[float] | Sequence[Time]], factors: Sequence[str]
) -> dict[Effect, NDArray[np.float64]]:
    """A column for each main effect and each two-way interaction, a row a cell."""
    if not cells or any(len(cell) != len(factors) for cell in cells):
        raise StatisticsError(f"each cell is named by one level of each of the factors {', '.join(factors)}")
    if len({len(values) for values in cells.values()}) > 1:
        raise StatisticsError("the cells have different numbers of seeds: give a value of each seed for every cell")
    mains: list[list[tuple[str, NDArray[np.float64]]]] = []
    for place, factor in enumerate(factors):
        levels = list(dict.fromkeys(cell[place] for cell in cells))
        if len(levels) < 2:
            raise StatisticsError(f"factor {factor} has one level in all cells: it needs another to be compared with")
        names = [factor] if len(levels) == 2 else [f"{factor}={level}" for level in levels[1:]]
        columns = [np.array([cell[place] == level for cell in cells]) - 1 / len(levels) for level in levels[1:]]
        mains.append(list(zip(names, columns, strict=True)))
    design: dict[Effect, NDArray[np.float64]] = {(name,): column for main in mains for name, column in main}
    for first, second in combinations(mains, 2):
        design |= {(a, b): x * y for a, x in first for b, y in second}
    return design


def _model(
    design: Mapping[Effect, NDArray[np.float64]],
) -> tuple[list[Effect], NDArray[np.float64], list[Effect], NDArray[np.float64]]:
    """The effects that can be told and their columns after a constant one; those that cannot, and theirs."""
    constant = np.ones((len(next(iter(design.values()))), 1))
    mains = [effect for effect in design if len(effect) == 1]
    for effect in mains:
        if not _free(design, effect, mains):
            others = " and ".join(name for other in mains for name in other if other != effect)
            raise StatisticsError(f"the effect of {effect[0]} cannot be told from that of {others} in these cells: run "
                                  "other combinations of their levels too")  # fmt: skip
    told = [effect for effect in design if len(effect) == 1 or _free(design, effect, list(design))]
    left_out = [effect for effect in design if effect not in told]
    matrix, rest = (np.column_stack([constant, *(design[effect] for effect in chosen)]) for chosen in (told, left_out))
    return told, matrix, left_out, rest[:, 1:]


def _free(design: Mapping[Effect, NDArray[np.float64]], effect: Effect, among: Sequence[Effect]) -> bool:
    """Whether the column of an effect is no sum of a constant and the columns of the others."""
    column = design[effect]
    others = np.column_stack([np.ones_like(column), *(design[other] for other in among if other != effect)])
    return bool(np.abs(column - others @ (np.linalg.pinv(others) @ column)).max() > _ALIASED)


def _whole(values: NDArray[np.float64], size: float) -> Sample:
    """A sample without limits, computed from numbers of this size."""
    never = np.zeros(len(values), dtype=bool)
    return Sample(_steadied(values, size), never, never)


def _limited(values: NDArray[np.float64], above: NDArray[np.bool_], below: NDArray[np.bool_], size: float) -> Sample:
    """A sample of logarithms of ratios, of which some are limits."""
    says = ~(above & below)
    kept = _steadied(values[says], size)
    return Sample(kept, above[says], below[says], True, int((~says).sum()))


def _logarithms(times: Sequence[Time]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of each time the logarithm, and whether it ran out."""
    if not all(0 < time.value < math.inf for time in times):
        raise StatisticsError("a time is not a number above 0: a ratio needs times that are")
    logs = np.array([math.log(time.value) for time in times])
    return logs, np.array([not time.reached for time in times], dtype=bool)


def _steadied(values: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Values; all the same where they differ by no more than rounding does, in a result of numbers of this size.

    0.3 − 0.2 and 0.2 − 0.1 are not the same, which is no spread of the seeds.
    """
    if values.size and np.ptp(values) <= _ROUNDING * size:
        return np.full_like(values, np.median(values))
    return values


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    """Values as an array. Raises StatisticsError where there are none, or one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise StatisticsError("there are no values: give one for each seed")
    if not np.isfinite(array).all():
        raise StatisticsError("a value is not a finite number: leave out the seed whose run gave it, in every arm")
    return array


def _varies(values: NDArray[np.float64]) -> bool:
    """Whether there are two values that differ."""
    return len(values) > 1 and bool(np.ptp(values) > 0)


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise StatisticsError(f"the level of an interval is between 0 and 1, not {level}")
    return level


def _exp(logarithm: float) -> float:
    """Of any number: 0 or infinite where it is too small or large."""
    return math.exp(logarithm) if logarithm < 709 else math.inf
