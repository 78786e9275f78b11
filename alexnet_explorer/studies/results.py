"""What a study found: a row for each comparison, with its interval and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..comparing import Track, reached
from ..files import slug
from ..runs import Run
from .statistics import (
    Estimate,
    Time,
    bootstrap_difference,
    further_seeds,
    holm,
    main_effects,
    paired_difference,
    paired_ratio,
)
from .study import UNITS, Arm, Claim, Contrast, Measure, Study
from .survey import Survey, reading_of

Word = Literal["held", "contradicted", "difference", "open", "not run yet"]  # difference: where nothing is claimed
Outcome = float | Time

SIGNIFICANT = 0.05

# What the readings compare, the baseline last.
TITLES = {
    "ten-crop": "error of one crop against ten",
    "neighbours": "neighbours of the same class, by fc7 against by pixels",
    "tower-colour": "distance of the towers in colour, against that of random halves",
}


@dataclass(frozen=True)
class Verdict:
    """What the row says of the claim, and why."""

    word: Word
    reason: str


@dataclass(frozen=True)
class Row:
    """One comparison: what it is, what came out, on which runs."""

    id: str  # the study's, and the comparison's where there are several
    name: str
    estimate: Estimate | None  # None before there are runs
    bootstrap: tuple[float, float] | None  # the interval of a difference that assumes no normal distribution
    unit: str
    p_adjusted: float | None  # by Holm, where several rows are read together
    further_seeds: int | None  # that would settle an open question, if nothing changes
    verdict: Verdict
    seeds: tuple[int, ...]  # of the pairs
    runs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """One of the `claims` of `study report --json`. An end of the interval that is open is null."""
        found = self.estimate
        return {
            "id": self.id,
            "name": self.name,
            "estimate": found.value if found else None,
            "interval": [_end(found.low), _end(found.high)] if found and found.n else None,
            "bootstrap": [_end(end) for end in self.bootstrap] if self.bootstrap else None,
            "n": found.n if found else 0,
            "unit": self.unit,
            "p_value": found.p_value if found else None,
            "p_adjusted": self.p_adjusted,
            "further_seeds": self.further_seeds,
            "verdict": self.verdict.word,
            "reason": self.verdict.reason,
            "runs": list(self.runs),
        }


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None


def outcome(run: Run, measure: Measure) -> Outcome | None:
    """What a run says: the last value of the metric, or how long it took to reach one. None where it has neither.

    Where the value was not reached, the time is what the run was given.
    """
    track = Track()
    track.add(run.metrics()[0])
    curve = track.curve(measure.metric, measure.along)
    if not len(curve.x):
        return None
    if measure.to_reach is None:
        return float(curve.y[-1])
    found = reached(curve, measure.to_reach)
    assert found is not None  # the curve has points
    return Time(found.last, False) if found.at is None else Time(found.at, True)


@dataclass(frozen=True)
class Results:
    """All rows of a study, the headline first, and what a reader has to know beside them."""

    study: Study
    survey: Survey
    outcomes: dict[tuple[Arm, int], tuple[Run, Outcome]]
    rows: tuple[Row, ...]

    @property
    def warnings(self) -> list[str]:
        """What stands against taking the rows at their word."""
        said = []
        for arm, chosen in self.survey.chosen.items():
            if chosen.at_edge:
                said.append(f"{arm.name}: the best value of the sweep, {chosen.value:g}, is the outermost one that was "
                            "tried; a better one may lie beyond")  # fmt: skip
        for one in self.survey.found:
            if one.state == "failed":
                job = one.job
                at = f", {job.swept:g} in the sweep" if job.trial else ""
                said.append(f"{job.arm.name}, seed {job.seed}{at}: failed {len(one.failures)} times "
                            f"({one.statuses[one.failures[0]].message})")  # fmt: skip
        said += [f"{arm.name}: no value of the sweep trains, so this arm has no runs" for arm in self.survey.hopeless]
        runs = [run for run, _ in self.outcomes.values()]
        for what, values in (
            ("versions of the code", {code for run in runs for code in run.codes() or [""]}),
            ("data sets of this name", {run.config.data.digest for run in runs}),
        ):
            if len(values) > 1:
                said.append(f"the runs were computed on {len(values)} {what}: they may differ in more than is studied")
        return said


def results(survey: Survey, known: dict[tuple[Run, Measure], Outcome | None] | None = None) -> Results:
    """Read the runs of a study that are done, and compare its arms. `known`: outcomes that were read before."""
    known = {} if known is None else known
    study = survey.study
    if study.measure.reading:
        return _within(survey, study.measure.reading)
    outcomes = {}
    for one in survey.counted:
        if one.done is None:
            continue
        if (one.done, study.measure) not in known:
            known[one.done, study.measure] = outcome(one.done, study.measure)
        if (value := known[one.done, study.measure]) is not None:
            outcomes[one.job.arm, one.job.seed] = one.done, value
    contrasts = study.contrasts()
    drafts = [_contrast(study, contrast, outcomes, len(contrasts)) for contrast in contrasts]
    return Results(study, survey, outcomes, tuple(_judged(study, drafts or _effects(study, outcomes))))


@dataclass(frozen=True)
class _Draft:
    """A row before rows are read together."""

    id: str
    name: str
    estimate: Estimate | None
    bootstrap: tuple[float, float] | None
    differences: Sequence[float]
    headline: bool
    seeds: tuple[int, ...]
    runs: tuple[str, ...]


def _contrast(
    study: Study, contrast: Contrast, outcomes: dict[tuple[Arm, int], tuple[Run, Outcome]], count: int
) -> _Draft:
    seeds = tuple(s for s in study.seeds if (contrast.baseline, s) in outcomes and (contrast.other, s) in outcomes)
    sides = [[outcomes[arm, seed] for seed in seeds] for arm in (contrast.baseline, contrast.other)]
    headline = count == 1 or study.is_headline(contrast)
    runs = tuple(run.id for side in sides for run, _ in side)
    estimate, bootstrap, differences = _compared(study.measure, *([value for _, value in side] for side in sides))
    name = study.id if headline else f"{study.id}/{slug('-'.join([contrast.level, *contrast.at.values()]))}"
    return _Draft(name, contrast.name, estimate, bootstrap, differences, headline, seeds, runs)


def _within(survey: Survey, name: str) -> Results:
    """Two ways to look at each trained network, compared."""
    study, (arm, *_) = survey.study, survey.study.arms()
    read = {
        one.job.seed: (one.done, pair) for one in survey.counted if one.done and (pair := reading_of(one.done, name))
    }
    sides = [[pair[side] for _, pair in read.values()] for side in (0, 1)]
    estimate, bootstrap, differences = _compared(study.measure, *sides)
    runs = tuple(run.id for run, _ in read.values())
    draft = _Draft(study.id, TITLES[name], estimate, bootstrap, differences, True, tuple(read), runs)
    outcomes: dict[tuple[Arm, int], tuple[Run, Outcome]] = {
        (arm, seed): (run, pair[1] - pair[0]) for seed, (run, pair) in read.items()
    }
    return Results(study, survey, outcomes, tuple(_judged(study, [draft])))


def _compared(
    measure: Measure, baseline: Sequence[Outcome], other: Sequence[Outcome]
) -> tuple[Estimate | None, tuple[float, float] | None, list[float]]:
    """The estimate, the bootstrap's interval, and the pairs' differences (of a ratio, of its logarithm)."""
    if not baseline:
        return None, None, []
    if measure.is_time:
        a, b = ([value for value in side if isinstance(value, Time)] for side in (baseline, other))
        seen = [
            math.log(its.value / mine.value) for mine, its in zip(a, b, strict=True) if mine.reached and its.reached
        ]
        return paired_ratio(a, b), None, seen
    scale = 100.0 if measure.unit else 1.0
    x, y = ([scale * value for value in side if isinstance(value, float)] for side in (baseline, other))
    bootstrap = bootstrap_difference(x, y) if len(x) > 1 else None
    return paired_difference(x, y), bootstrap, [its - mine for mine, its in zip(x, y, strict=True)]


def _effects(study: Study, outcomes: dict[tuple[Arm, int], tuple[Run, Outcome]]) -> list[_Draft]:
    """Main effects and interactions, over the seeds of which every arm is done."""
    arms = study.arms()
    seeds = tuple(seed for seed in study.seeds if all((arm, seed) in outcomes for arm in arms))
    runs = tuple(outcomes[arm, seed][0].id for arm in arms for seed in seeds)
    if not seeds:
        return [_Draft(f"{study.id}/{name}", name, None, None, [], False, (), ()) for name in study.factors]
    scale = 100.0 if study.measure.unit else 1.0
    cells = {
        tuple(level for _, level in arm.levels): [
            scale * value for seed in seeds if isinstance(value := outcomes[arm, seed][1], float)
        ]
        for arm in arms
    }
    found = main_effects(cells, list(study.factors))
    return [
        _Draft(f"{study.id}/{'-'.join(effect)}", " × ".join(effect), estimate, None, [], False, seeds, runs)
        for effect, estimate in found.items()
    ]


def _judged(study: Study, drafts: Sequence[_Draft]) -> list[Row]:
    """The rows with their verdicts. The headline was named beforehand and stands alone; the others are read together,
    and Holm's correction is for that."""
    together = [
        draft for draft in drafts if not draft.headline and draft.estimate and draft.estimate.p_value is not None
    ]
    adjusted = dict(zip([draft.id for draft in together], holm([_p(draft) for draft in together]), strict=True))
    rows = []
    for draft in sorted(drafts, key=lambda one: not one.headline):
        p = adjusted.get(draft.id) if len(together) > 1 else None
        verdict = judge(study, draft.estimate, p)
        more = further_seeds(draft.differences) if verdict.word == "open" and len(draft.differences) > 1 else None
        rows.append(
            Row(draft.id, draft.name, draft.estimate, draft.bootstrap, study.measure.unit, p, more, verdict,
                draft.seeds, draft.runs)
        )  # fmt: skip
    return rows


def _p(draft: _Draft) -> float:
    assert draft.estimate is not None and draft.estimate.p_value is not None
    return draft.estimate.p_value


def judge(study: Study, found: Estimate | None, p_adjusted: float | None = None) -> Verdict:
    """Whether a claim held: by the interval alone, never by the estimate.

    Held: the interval lies on the claim's side of no difference, and reaches the claimed size where that counts.
    Contradicted: it lies on the other side, or short of the size that counts. Else open.
    """
    if found is None or found.n == 0:
        hours = f", {study.hours:g} h of 2 cores at most" if study.hours else ""
        early = ", less as runs end where the error is reached" if hours and study.stop.until else ""
        return Verdict("not run yet", f"no pair of runs is done; it takes {study.count()} runs{hours}{early}")
    said = in_words(study.measure, found)
    if found.n < len(study.seeds):
        said += f", {found.n} of {len(study.seeds)} pairs so far"
    none = 1.0 if study.measure.is_time else 0.0
    up, down = found.low > none, found.high < none
    if p_adjusted is not None and p_adjusted >= SIGNIFICANT:
        up = down = False
    if study.claim is None:
        return Verdict("difference" if up or down else "open", said)
    borne_out, against = (up, down) if study.claim.direction == "higher" else (down, up)
    if against:
        return Verdict("contradicted", f"{said}: the other way round")
    if borne_out and _falls_short(study.claim, found):
        return Verdict("contradicted", f"{said}: the direction is the claim's, its size ({study.claim.size:g}) is not")
    if borne_out:
        return Verdict("held", said)
    if not math.isfinite(found.low) and not math.isfinite(found.high):
        return Verdict("open", f"{said}: one pair of runs, or runs that do not vary, have no interval")
    return Verdict("open", f"{said}: no difference is possible, too")


def _falls_short(claim: Claim, found: Estimate) -> bool:
    if not claim.size_counts or claim.size is None:
        return False
    return found.high < claim.size if claim.direction == "higher" else found.low > claim.size


def in_words(measure: Measure, found: Estimate) -> str:
    """'1.80 times the epochs (95 % interval 1.60 to 2.00, n = 5)'; 'more than 4.10 times the epochs (95 %, n = 5)'."""
    ratio = measure.is_time
    unit = f"times the {UNITS[measure.along]}" if ratio else "points" if measure.unit else ""

    def number(value: float) -> str:
        return f"{value:.2f}" if ratio else f"{value:+.2f}"

    low, high = (
        number(end) if math.isfinite(end) and (end > 0 or not ratio) else "" for end in (found.low, found.high)
    )
    if found.value is None:
        bound = f"more than {low}" if low else f"less than {high}" if high else "not known how many"
        return f"{bound} {unit} (95 %, n = {found.n})"
    if low and high:
        interval = f"95 % interval {low} to {high}"
    elif low or high:
        interval = f"95 % interval {'above ' + low if low else 'below ' + high}"
    else:
        interval = "no interval"
    return f"{number(found.value)} {unit}".rstrip() + f" ({interval}, n = {found.n})"
