"""What attribution of many pictures says: how far methods agree, which is the most faithful, where two part most.

Every interval is Student's over the pictures, of 95 %; where methods are compared, over the differences in each picture
that both have a map of. A set of few pictures gives wide intervals, and a spread that was not seen (one picture, or the
same number for all) gives none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet_explorer.document import Cell, Column, Table

from .methods import METHODS

LEVEL = 0.95
LISTED = 3  # disagreements of each two methods
_CAVEAT = "The measure favours maps of single pixels, whose loss confuses a network more than that of a whole patch."

Floats = NDArray[np.floating]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Mean:
    """A mean over pictures and its interval, infinite where no spread was seen; no picture, no value."""

    value: float | None
    low: float
    high: float
    n: int

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is."""
        return self.low > 0 and math.isfinite(self.low)

    def cells(self) -> tuple[Cell, Cell, Cell]:
        """Value and interval, None where there is none."""
        ends = (self.low, self.high) if math.isfinite(self.low) else (None, None)
        return (self.value, *ends)


def mean_of(values: ArrayLike) -> Mean:
    """The mean of those of some values that are numbers, with Student's interval."""
    from scipy import stats

    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return Mean(None, -math.inf, math.inf, 0)
    mean = float(known.mean())
    if len(known) == 1 or np.ptp(known) == 0:
        return Mean(mean, -math.inf, math.inf, len(known))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known)))
    return Mean(mean, mean - half, mean + half, len(known))


@dataclass(frozen=True, eq=False)
class Rows:
    """What was measured of one order of the pixels of each picture: a method's, a random one, or the centre's.

    All are (pictures,), NaN where there is none.
    """

    deletion: Floats  # areas
    insertion: Floats

    @property
    def score(self) -> Floats:
        """Insertion's area less deletion's: 0 for an order that tells nothing either way, 1 at most."""
        return self.insertion - self.deletion


@dataclass(frozen=True, eq=False)
class MethodRows(Rows):
    """What was measured of one method's map of each picture."""

    cells: Floats  # (pictures, cells): mean |value| of the map there
    seconds: Floats  # that each map took
    reasons: tuple[str, ...]  # why there is no map, '' where there is one


@dataclass(frozen=True, eq=False)
class Agreement:
    """Attribution of the first `count` pictures of a set, by several methods.

    `targets` are the indices of the classes that were explained, `shown` their names; `labels` say what the pictures
    show, `links` are their names in links.
    """

    methods: Mapping[str, MethodRows]
    random: Rows
    centre: Rows
    targets: NDArray[np.int64]
    shown: Sequence[str]
    labels: Sequence[str]
    links: Sequence[str]

    @property
    def count(self) -> int:
        """How many pictures were looked at."""
        return len(self.targets)

    @property
    def pairs(self) -> list[Pair]:
        """Each two methods."""
        return list(combinations(self.methods, 2))

    @cached_property
    def correlations(self) -> dict[Pair, Floats]:
        """Spearman's rank correlation of the |maps| of each two methods, for each picture: (pictures,).

        NaN where one of them has no map, or one that is the same everywhere.
        """
        ranks = {key: _ranks(rows.cells) for key, rows in self.methods.items()}
        return {(a, b): np.einsum("nd,nd->n", ranks[a], ranks[b]) for a, b in self.pairs}

    def agreement(self, a: str, b: str) -> Mean:
        """The mean rank correlation of two methods' maps; a method's with itself is 1."""
        if a == b:
            return Mean(1.0, 1.0, 1.0, self.count)
        found = self.correlations.get((a, b))
        return mean_of(self.correlations[b, a] if found is None else found)

    def over(self, method: str, other: str | None = None, what: str = "score") -> Mean:
        """How much larger a method's score (or its area of deletion, of insertion) is than another's, in a picture.

        `other` is a method, 'random' or 'centre'; None: than nothing, so that it is the mean itself.
        """
        own: Floats = getattr(self.methods[method], what)
        if other is None:
            return mean_of(own)
        compared = {"random": self.random, "centre": self.centre, **self.methods}[other]
        return mean_of(own - getattr(compared, what))

    @property
    def ranking(self) -> list[str]:
        """The methods by their mean score, the best first; those without a map last."""
        scores = {key: self.over(key).value for key in self.methods}
        return sorted(scores, key=lambda key: -math.inf if (value := scores[key]) is None else value, reverse=True)

    @property
    def most_faithful(self) -> str | None:
        """The method with the best score, where it is better than every other, than chance and than the centre.

        Better means that the interval of the difference, picture by picture, is above 0. None where that does not
        hold: then the first methods of `ranking` are not told apart by these pictures.
        """
        best, *others = self.ranking or [""]
        if not best:
            return None
        against = [other for other in others if self.methods[other].reasons.count("")]
        return best if all(self.over(best, other).above_zero for other in (*against, "random", "centre")) else None

    @property
    def verdict(self) -> str:
        """Which method is the most faithful for this network, in one or two sentences."""
        mapped = [key for key in self.ranking if self.over(key).n]
        if not mapped:
            return "No method has a map of any of these pictures."
        best = METHODS[mapped[0]].title
        if self.most_faithful:
            return (
                f"{best} is the most faithful for this network on these {self.count:,} pictures: its maps find what "
                "the class's probability rests on better than those of every other method, chance and the centre. "
            ) + _CAVEAT
        names = {key: METHODS[key].title for key in mapped[1:]}
        names |= {"random": "random orders", "centre": "the order from the centre outwards"}
        level = [name for key, name in names.items() if not self.over(mapped[0], key).above_zero]
        return (
            f"{best} has the best mean, and is not told apart from {', '.join(level)} on these {self.count:,} "
            "pictures: no method is named as the most faithful. "
        ) + _CAVEAT

    def worst(self, a: str, b: str, count: int = LISTED) -> list[int]:
        """The numbers of the pictures on which two methods agree least, the worst first."""
        values = self.correlations[(a, b) if (a, b) in self.correlations else (b, a)]
        order = np.argsort(values, kind="stable")
        return [int(number) for number in order[:count] if np.isfinite(values[number])]

    def method_table(self) -> Table:
        """A row for each method, the best score first."""
        columns = [
            Column("Method"), Column("Maps", ",d"), Column("Without a map", ",d"), Column("Why, most often"),
            Column("Median time (s)", ".3f"),
            *_columns("Deletion area", ".3f"), *_columns("Insertion area", ".3f"),
            *_columns("Insertion less deletion", "+.3f"),
            *_columns("Better than a random order by", "+.3f"), *_columns("Better than the centre by", "+.3f"),
        ]  # fmt: skip
        rows: list[list[Cell]] = []
        for key in self.ranking:
            found = self.methods[key]
            reasons = Counter(reason for reason in found.reasons if reason)
            timed = found.seconds[np.isfinite(found.seconds)]
            rows.append([
                METHODS[key].title, found.reasons.count(""), reasons.total(),
                reasons.most_common(1)[0][0] if reasons else None,
                float(np.median(timed)) if len(timed) else None,
                *self.over(key, what="deletion").cells(), *self.over(key, what="insertion").cells(),
                *self.over(key).cells(), *self.over(key, "random").cells(), *self.over(key, "centre").cells(),
            ])  # fmt: skip
        return Table(f"Faithfulness over {self.count:,} pictures", columns, rows)

    def pair_table(self) -> Table:
        """A row for each two methods, those that agree least first."""
        columns = [
            Column("Method"),
            Column("Other method"),
            Column("Pictures", ",d"),
            *_columns("Rank correlation", "+.2f"),
        ]
        rows: list[list[Cell]] = []
        for a, b in self.pairs:
            found = self.agreement(a, b)
            rows.append([METHODS[a].title, METHODS[b].title, found.n, *found.cells()])
        rows.sort(key=lambda row: math.inf if (value := row[3]) is None else float(value))
        return Table(f"Agreement over {self.count:,} pictures", columns, rows)

    def disagreement_table(self, count: int = LISTED) -> Table:
        """The pictures on which each two methods agree least."""
        columns = [
            Column("Method"), Column("Other method"), Column("Picture", "d"), Column("Shows"),
            Column("Class explained"), Column("Rank correlation", "+.2f"), Column("Name in a link"),
        ]  # fmt: skip
        rows: list[list[Cell]] = [
            [
                METHODS[a].title, METHODS[b].title, number, self.labels[number], self.shown[number],
                float(self.correlations[a, b][number]), self.links[number],
            ]
            for a, b in self.pairs
            for number in self.worst(a, b, count)
        ]  # fmt: skip
        return Table("Largest disagreements", columns, rows)

    def picture_table(self) -> Table:
        """A row for each picture, with every method's areas."""
        orders: dict[str, Rows] = {METHODS[key].title: rows for key, rows in self.methods.items()}
        orders |= {"Random order": self.random, "From the centre": self.centre}
        columns = [Column("Picture", "d"), Column("Shows"), Column("Class explained"), Column("Name in a link")]
        for title in orders:
            columns += Column(f"{title}: deletion area", ".3f"), Column(f"{title}: insertion area", ".3f")
        rows: list[list[Cell]] = []
        for number in range(self.count):
            areas = [float(side[number]) for order in orders.values() for side in (order.deletion, order.insertion)]
            about: list[Cell] = [number, self.labels[number], self.shown[number], self.links[number]]
            rows.append([*about, *(None if math.isnan(value) else value for value in areas)])
        return Table("Every picture", columns, rows)


def _columns(title: str, format: str) -> list[Column]:
    """Of a mean and its interval."""
    return [Column(title, format), Column(f"{title}: from", format), Column(f"{title}: to", format)]


def _ranks(cells: Floats) -> Floats:
    """The ranks of each row (N, D), centred and of length 1, so that products are correlations; NaN without any."""
    from scipy import stats

    ranks: Floats = stats.rankdata(cells, axis=1).astype(np.float64)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    known = np.isfinite(cells).all(axis=1, keepdims=True) & (length > 0)
    ranks = np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=known)
    return ranks
