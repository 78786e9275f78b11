"""What a study found: a row for each comparison, with its interval and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from ..comparing import Track, reached
from ..files import slug
from ..runs import Run, RunError
from .statistics import (
    MOST_FURTHER,
    Cell,
    Effect,
    Estimate,
    Sample,
    Time,
    aliases,
    differences,
    effect_names,
    effects,
    holm,
    ratios,
)
from .study import UNITS, Arm, Aspect, Claim, Contrast, Measure, Study
from .survey import Found, Survey, reading_of

Word = Literal[
    "held", "contradicted", "difference", "open", "not run yet", "not testable here", "cannot be evaluated"
]  # difference: where nothing is claimed
Outcome = float | Time
Outcomes = dict[tuple[Arm, int], tuple[Run, Outcome]]

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

    id: str  # the study's, and the comparison's where there are several; no two rows of a study have the same
    name: str
    estimate: Estimate | None  # None before there are runs
    bootstrap: tuple[float, float] | None  # the interval that assumes no normal distribution
    bootstrap_note: str  # the same in words, or why there is none
    unit: str
    p_adjusted: float | None  # by Holm, where several rows are read together
    further_seeds: float | None  # that would settle an open question; infinite: more than `MOST_FURTHER`
    verdict: Verdict
    seeds: tuple[int, ...]  # of the pairs
    runs: tuple[str, ...]
    whole: bool = True  # all pairs that the study asks for are there
    claimed: float | None = None  # the paper's figure, on the scale of the estimate

    @property
    def further(self) -> str:
        """What it would take to settle an open question, as a sentence; empty where nothing is open, or pairs lack."""
        if self.verdict.word != "open" or not self.whole:
            return ""
        if self.further_seeds is None:
            return "How many more seeds would settle it cannot be told from these."
        if math.isinf(self.further_seeds):
            return f"It would take more than {MOST_FURTHER} seeds more to settle it, if they go on like these."
        more = f"{self.further_seeds:g} more seed{'' if self.further_seeds == 1 else 's'}"
        return (f"About {more} would settle it with an even chance, if they go on like these. A new study with all "
                f"{len(self.seeds) + self.further_seeds:g} keeps findings by chance at 5 %; adding to this one after a "
                "look at it does not.")  # fmt: skip

    @property
    def told(self) -> str:
        """Why the verdict is what it is, with the bootstrap beside the interval, and what would settle it."""
        beside = f"; {self.bootstrap_note}" if self.bootstrap_note else ""
        return f"{self.verdict.reason}{beside}" + (f". {self.further}" if self.further else "")

    def to_json(self) -> dict[str, Any]:
        """One of the `claims` of `study report --json`. An end of the interval that is open is null."""
        found = self.estimate
        return {
            "id": self.id,
            "name": self.name,
            "estimate": found.value if found else None,
            "interval": [_end(found.low), _end(found.high)] if found and found.n else None,
            "bootstrap": [_end(end) for end in self.bootstrap] if self.bootstrap else None,
            "bootstrap_note": self.bootstrap_note,
            "n": found.n if found else 0,
            "unit": self.unit,
            "claimed": self.claimed,
            "p_value": found.p_value if found else None,
            "p_adjusted": self.p_adjusted,
            "further_seeds": None if self.further_seeds is None else _end(self.further_seeds),
            "further": self.further,
            "verdict": self.verdict.word,
            "reason": self.verdict.reason,
            "runs": list(self.runs),
        }


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None


def outcome(run: Run, measure: Measure) -> Outcome | None:
    """What a run says: the last value of the metric, or how long it took to reach one. None where it has neither.

    Where the value was not reached, the time is what the run was given. Raises RunError where its metrics are damaged.
    """
    track = Track()
    track.add(run.metrics()[0])
    lines = [track.curve(metric, measure.along) for metric in measure.metrics]
    if not all(len(line.x) for line in lines):
        return None
    if measure.to_reach is None:
        value, *subtracted = (float(line.y[-1]) for line in lines)
        return value - sum(subtracted)
    found = reached(lines[0], measure.to_reach)
    if found is None:  # none of its points is a number
        return None
    if found.at is None:
        return Time(found.last, False)
    return Time(found.at, True, at_first=found.at == lines[0].x[0] > 0)


@dataclass(frozen=True)
class Results:
    """All rows of a study, the headline first, and what a reader has to know beside them."""

    study: Study
    survey: Survey
    outcomes: Outcomes
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()  # what the rows do not say of themselves

    @property
    def warnings(self) -> list[str]:
        """What stands against taking the rows at their word."""
        said = list(self.notes)
        for arm, chosen in self.survey.chosen.items():
            if chosen.at_edge:
                said.append(f"{arm.name}: the best value of the sweep, {chosen.value:g}, is the outermost one that was "
                            "tried; a better one may lie beyond")  # fmt: skip
        said += filter(None, map(_missing, self.survey.found))
        said += [f"{arm.name}: no value of the sweep trains, so this arm has no runs" for arm in self.survey.hopeless]
        if early := sum(isinstance(value, Time) and value.at_first for _, value in self.outcomes.values()):
            said.append(f"{early} of the runs were there already when they were first looked at: their true times are "
                        "shorter")  # fmt: skip
        runs = [run for run, _ in self.outcomes.values()]
        seconds = self.study.measure.is_time and self.study.measure.along == "seconds"
        for what, values in (
            ("versions of the code", {code for run in runs for code in run.codes() or [""]}),
            ("data sets of this name", {run.config.data.digest for run in runs}),
            ("kinds of device or precision", {kind for run in runs for kind in _facts(run, "device", "precision")}),
            ("kinds of machines", {kind for run in runs for kind in _facts(run, "hardware")} if seconds else ()),
        ):
            if len(values) > 1:
                said.append(f"the runs were computed on {len(values)} {what}: they may differ in more than is studied")
        return said


def _facts(run: Run, *names: str) -> set[tuple[Any, ...]]:
    """What its env.json says of the machine, part by part; nothing where it cannot be read."""
    try:
        return {tuple(part.get(name) for name in names) for part in run.sessions()}
    except RunError:
        return set()


def _missing(one: Found) -> str:
    """A run that will not come by itself, with its state; empty for all others."""
    job, status = one.job, one.statuses[one.begun] if one.begun else None
    name = f"{job.arm.name or 'the network'}, seed {job.seed}" + (f", {job.swept:g} in the sweep" if job.trial else "")
    if one.state == "failed":
        why = one.statuses[one.failures[0]].message
        return f"{name}: failed {len(one.failures)} times ({why}); delete these runs to have it tried again"
    if one.state == "under way" and status and status.state in ("interrupted", "stopped", "paused"):
        why = f" ({status.message})" if status.message else ""
        return f"{name}: {status.state} at epoch {status.epoch:.3g} of {status.epochs}{why}; it is missing here"
    return ""


def results(survey: Survey, known: dict[tuple[Run, Measure], Outcome | None] | None = None) -> Results:
    """Read the runs of a study that are done, and compare its arms. `known`: outcomes that were read before.

    Raises RunError where the metrics of a run are damaged, StatisticsError where they have values that cannot be
    compared.
    """
    known = {} if known is None else known
    study = survey.study
    notes: list[str] = []
    if study.measure.reading:
        drafts, outcomes = _within(survey, study.measure.reading)
        if survey.unread:
            notes.append(f"the reading of {len(survey.unread)} of the runs that are done was not taken yet; "
                         f"'study run {study.id}' takes it")  # fmt: skip
    else:
        outcomes = _outcomes(survey, study.measure, known, notes)
        contrasts = study.contrasts()
        drafts = [_contrast(study, contrast, outcomes, len(contrasts)) for contrast in contrasts]
        if not contrasts:
            drafts = _effects(study, outcomes)
            notes += aliased(study)
    rows = _judged(survey, drafts)
    for aspect in study.claim.aspects if study.claim else ():
        if aspect.measure is None:
            rows.append(_out_of_reach(study, aspect))
        else:
            rows += _judged(survey, [_aspect(survey, aspect, aspect.measure, known, notes)])
    return Results(study, survey, outcomes, tuple(_apart(rows)), tuple(notes))


def unreadable(survey: Survey, fault: Exception) -> Results:
    """What can be said of a study whose runs cannot be evaluated: why."""
    study = survey.study
    row = Row(study.id, "All runs", None, None, "", study.measure.unit, None, None,
              Verdict("cannot be evaluated", str(fault)), (), ())  # fmt: skip
    return Results(study, survey, {}, (row,))


def _outcomes(
    survey: Survey, measure: Measure, known: dict[tuple[Run, Measure], Outcome | None], notes: list[str]
) -> Outcomes:
    """What each run says that is done; those that say nothing are told in the notes."""
    found: Outcomes = {}
    silent = []
    for one in survey.counted:
        if one.done is None:
            continue
        if (one.done, measure) not in known:
            known[one.done, measure] = outcome(one.done, measure)
        value = known[one.done, measure]
        if value is None:
            silent.append(one.done.id)
        else:
            found[one.job.arm, one.job.seed] = one.done, value
    if silent:
        of = " or ".join(measure.metrics)
        more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""
        notes.append(f"{len(silent)} of the runs that are done did not measure {of}, and say nothing here: "
                     f"{', '.join(silent[:3])}{more}")  # fmt: skip
    return found


@dataclass(frozen=True)
class _Draft:
    """A row before rows are read together."""

    id: str
    name: str
    measure: Measure
    claim: Claim | None
    unit: str
    sample: Sample | None  # None before there are runs
    arms: Sequence[Arm]  # whose runs it needs
    headline: bool
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    paired: bool = True  # else every arm is in it, with each seed


def _contrast(study: Study, contrast: Contrast, outcomes: Outcomes, count: int) -> _Draft:
    arms = (contrast.baseline, contrast.other)
    seeds = tuple(seed for seed in study.seeds if all((arm, seed) in outcomes for arm in arms))
    sides = [[outcomes[arm, seed] for seed in seeds] for arm in arms]
    headline = count == 1 or study.is_headline(contrast)
    one_factor = (contrast.factor,) if study.design in ("one-off", "one-on") else ()
    ending = slug("-".join([*one_factor, contrast.level, *contrast.at.values()]))
    sample = _compared(study.measure, *([value for _, value in side] for side in sides)) if seeds else None
    return _Draft(
        study.id if headline else f"{study.id}/{ending}", contrast.name, study.measure, study.claim,
        study.measure.unit, sample, arms, headline, seeds, tuple(run.id for side in sides for run, _ in side),
    )  # fmt: skip


def _within(survey: Survey, name: str) -> tuple[list[_Draft], Outcomes]:
    """Two ways to look at each trained network, compared."""
    study, arms = survey.study, survey.study.arms()
    read = {
        one.job.seed: (one.done, pair) for one in survey.counted if one.done and (pair := reading_of(one.done, name))
    }
    sample = _compared(study.measure, *zip(*(pair for _, pair in read.values()), strict=True)) if read else None
    runs = tuple(run.id for run, _ in read.values())
    draft = _Draft(study.id, TITLES[name], study.measure, study.claim, study.measure.unit, sample, arms, True,
                   tuple(read), runs)  # fmt: skip
    return [draft], {(arms[0], seed): (run, pair[1] - pair[0]) for seed, (run, pair) in read.items()}


def _aspect(
    survey: Survey, aspect: Aspect, measure: Measure, known: dict[tuple[Run, Measure], Outcome | None], notes: list[str]
) -> _Draft:
    """A further measure of the study's main contrast. It was named beforehand, as that was, and stands alone."""
    assert aspect.direction is not None
    claim = Claim(says=aspect.says, direction=aspect.direction, size=aspect.size)
    study = survey.study.model_copy(update={"measure": measure, "claim": claim})
    contrast = study.main_contrast()
    assert contrast is not None  # the study's file was checked
    draft = _contrast(study, contrast, _outcomes(survey, measure, known, notes), 1)
    name = f"{aspect.says.rstrip('.')} ({contrast.name}; {measure.name})"
    return replace(draft, id=f"{study.id}/{aspect.id}", name=name)


def _out_of_reach(study: Study, aspect: Aspect) -> Row:
    verdict = Verdict("not testable here", f"it would take {aspect.takes}")
    return Row(f"{study.id}/{aspect.id}", aspect.says.rstrip("."), None, None, "", "", None, None, verdict, (), ())


def _compared(measure: Measure, baseline: Sequence[Outcome], other: Sequence[Outcome]) -> Sample:
    """The pairs' differences, errors in points; or their ratios."""
    if measure.is_time:
        return ratios(*([value for value in side if isinstance(value, Time)] for side in (baseline, other)))
    return differences(_scaled(measure, baseline), _scaled(measure, other))


def _scaled(measure: Measure, values: Iterable[Outcome]) -> list[float]:
    """Errors in percent, losses as they are."""
    scale = 100.0 if measure.unit else 1.0
    return [scale * value for value in values if isinstance(value, float)]


def _effects(study: Study, outcomes: Outcomes) -> list[_Draft]:
    """Main effects and interactions, over the seeds of which every arm is done."""
    arms, measure = study.arms(), study.measure
    seeds = tuple(seed for seed in study.seeds if all((arm, seed) in outcomes for arm in arms))
    runs = tuple(outcomes[arm, seed][0].id for arm in arms for seed in seeds)
    found: Mapping[Effect, Sample | None] = dict.fromkeys(effect_names(_cells(study), list(study.factors)))
    if seeds:
        values = [[outcomes[arm, seed][1] for seed in seeds] for arm in arms]
        told = values if measure.is_time else [_scaled(measure, of_arm) for of_arm in values]
        found = effects(dict(zip(_cells(study), told, strict=True)), list(study.factors))  # type: ignore[arg-type]
    drafts = []
    for effect, sample in found.items():
        alone = len(effect) == 1  # no claim is about an interaction
        unit = measure.unit if alone or not measure.is_time else f"times the ratio of {UNITS[measure.along]}"
        drafts.append(
            _Draft(f"{study.id}/{slug('-'.join(effect))}", " × ".join(effect), measure, study.claim if alone else None,
                   unit, sample, arms, False, seeds, runs, paired=False)
        )  # fmt: skip
    return drafts


def _cells(study: Study) -> list[Cell]:
    return [tuple(level for _, level in arm.levels) for arm in study.arms()]


def aliased(study: Study) -> list[str]:
    """What a fractional design cannot tell apart, in words. Raises StatisticsError where that is two of its factors."""
    left_out = aliases(_cells(study), list(study.factors))
    said: dict[str, None] = {}
    for interaction, others in left_out.items():
        if inside := [" × ".join(other) for other in others if other not in left_out]:
            said[f"{' and '.join(inside)} cannot be told from {' × '.join(interaction)} in this design: the row shows "
                 "both together, and the first alone only if the other is nothing"] = None  # fmt: skip
        else:
            group = " and ".join(sorted(" × ".join(one) for one in (interaction, *others)))
            said[f"{group} cannot be told from one another in this design, and have no row"] = None
    return list(said)


def _judged(survey: Survey, drafts: Sequence[_Draft]) -> list[Row]:
    """The rows with their verdicts. The headline was named beforehand and stands alone; the others are read together,
    and Holm's correction is for that: also for those that have no p value yet."""
    estimates = [draft.sample.estimate() if draft.sample else None for draft in drafts]
    p_values = {
        place: 1.0 if found is None or found.p_value is None else found.p_value
        for place, (draft, found) in enumerate(zip(drafts, estimates, strict=True))
        if not draft.headline
    }
    together = dict(zip(p_values, holm(list(p_values.values())), strict=True)) if len(p_values) > 1 else {}
    rows = []
    for place in sorted(range(len(drafts)), key=lambda place: not drafts[place].headline):
        draft, found = drafts[place], estimates[place]
        p = together.get(place) if found and found.p_value is not None else None
        whole = len(draft.seeds) == len(survey.study.seeds)
        if draft.sample is None or found is None:
            verdict, interval, note, more = _not_yet(survey, draft), None, "", None
        else:
            verdict = _verdict(survey, draft, found, draft.sample.ratio, p)
            interval = draft.sample.bootstrap()
            note = _bootstrap_note(draft.sample, interval)
            # As one of several it is told once its interval at Holm's strictest level is clear of no difference.
            level = 1 - SIGNIFICANT / (len(together) if p is not None else 1)
            more = draft.sample.further_seeds(level) if verdict.word == "open" and whole else None
        claimed = claimed_size(draft.claim, draft.measure.is_time) if draft.claim else None
        rows.append(Row(draft.id, draft.name, found, interval, note, draft.unit, p, more, verdict, draft.seeds,
                        draft.runs, whole, claimed))  # fmt: skip
    return rows


def _verdict(survey: Survey, draft: _Draft, found: Estimate, ratio: bool, p_adjusted: float | None) -> Verdict:
    """Open as long as pairs lack: a look at each new pair would find something by chance too often, and of pairs that
    were lost nobody knows what they would have said."""
    lacking = len(draft.seeds) < len(survey.study.seeds)
    coming = lacking and (survey.lacking(draft.arms)[0] > 0 or bool(survey.unread))
    said = _said(survey.study, draft, found, coming)
    if lacking:
        if coming:
            return Verdict("open", f"{said}: the verdict waits for all of them")
        if any(one.state == "failed" and one.job.arm in draft.arms for one in survey.counted):
            return Verdict("open", f"{said}: runs of the others failed, and those that are left may be the lucky ones")
    return judge(draft.claim, found, ratio, said, p_adjusted)


def _apart(rows: Sequence[Row]) -> list[Row]:
    """The rows, with a number behind an id that was there before: labels may differ in signs that ids leave out."""
    taken: set[str] = set()
    named = []
    for row in rows:
        ids = (row.id if number == 1 else f"{row.id}-{number}" for number in count(1))
        name = next(one for one in ids if one not in taken)
        taken.add(name)
        named.append(replace(row, id=name))
    return named


def _not_yet(survey: Survey, draft: _Draft) -> Verdict:
    """Before there is a pair: what this row still lacks."""
    study, (runs, epochs) = survey.study, survey.lacking(draft.arms)
    what = "no pair of runs is done" if draft.paired else "there is no seed with which every arm is done"
    if not runs:
        return Verdict("not run yet", f"{what}, and none is left to be trained for it")
    hours = f", {study.hours * epochs / study.epochs():.2g} h of 2 cores at most" if study.hours else ""
    early = ", less as runs end where the error is reached" if hours and study.stop.until else ""
    return Verdict("not run yet", f"{what}; this row lacks {runs} run{'' if runs == 1 else 's'}{hours}{early}")


def judge(claim: Claim | None, found: Estimate, ratio: bool, said: str, p_adjusted: float | None = None) -> Verdict:
    """Whether a claim held: by the interval alone, never by the estimate. `said`: the estimate in words.

    Held: the interval lies on the claim's side of no difference, and reaches the claimed size where that counts.
    Contradicted: it lies on the other side, or short of the size that counts. Else open.
    """
    none = 1.0 if ratio else 0.0
    up, down = found.low > none, found.high < none
    if p_adjusted is not None and p_adjusted >= SIGNIFICANT and (up or down):
        return Verdict("open", f"{said}: among the rows that are read together this may be chance (p by Holm "
                       f"{p_adjusted:.2g})")  # fmt: skip
    if claim is None:
        return Verdict("difference" if up or down else "open", said)
    borne_out, against = (up, down) if claim.direction == "higher" else (down, up)
    if against:
        return Verdict("contradicted", f"{said}: the other way round")
    if borne_out and _falls_short(claim, found, ratio):
        return Verdict("contradicted", f"{said}: the direction is the claim's, its size ({claim.size:g}) is not")
    if borne_out:
        return Verdict("held", said + _size_in_doubt(claim, found, ratio))
    if math.isinf(found.high) and found.low <= (0.0 if ratio else -math.inf):
        why = "" if found.value is None else ": one pair of runs, or runs that do not vary, have no interval"
        return Verdict("open", said + why)
    return Verdict("open", f"{said}: no difference is possible, too")


def _falls_short(claim: Claim, found: Estimate, ratio: bool) -> bool:
    size = claimed_size(claim, ratio)
    if not claim.size_counts or size is None:
        return False
    return found.high < size if claim.direction == "higher" else found.low > size


def _size_in_doubt(claim: Claim, found: Estimate, ratio: bool) -> str:
    """Said where the size counts and the interval reaches from less than it to beyond it."""
    size = claimed_size(claim, ratio)
    if not claim.size_counts or size is None:
        return ""
    short = found.low < size if claim.direction == "higher" else found.high > size
    return f"; the claimed size ({claim.size:g}) is in the interval, neither shown nor excluded" if short else ""


def claimed_size(claim: Claim, ratio: bool) -> float | None:
    """The paper's figure on the scale of an estimate: a difference that is said to be lower is below 0."""
    if claim.size is None or ratio:
        return claim.size
    return abs(claim.size) if claim.direction == "higher" else -abs(claim.size)


def _said(study: Study, draft: _Draft, found: Estimate, coming: bool) -> str:
    """The estimate, and on how many of the seeds it rests."""
    said = in_words(found, draft.unit, draft.measure.is_time)
    done, of = len(draft.seeds), "pairs" if draft.paired else "seeds"
    if done < len(study.seeds):
        said += f", {done} of {len(study.seeds)} {of}{' so far' * coming}"
    if silent := done - found.n:
        said += f"; {silent} of them say nothing, as time ran out on both sides"
    return said


def _bootstrap_note(sample: Sample, interval: tuple[float, float] | None) -> str:
    """The bootstrap's interval in words, or why there is none."""
    if interval is None:
        return "no bootstrap: a time that ran out cannot be drawn" if sample.censored else ""
    low, high = (_number(end, sample.ratio) for end in interval)
    return f"bootstrap {low} to {high}"


def _number(value: float, ratio: bool) -> str:
    return f"{value:.2f}" if ratio else f"{value:+.2f}"


def in_words(found: Estimate, unit: str, ratio: bool) -> str:
    """'1.80 times the epochs (95 % interval 1.60 to 2.00, n = 5)'; 'more than 4.10 times the epochs (95 %, n = 5)'."""
    unit = "points" if unit == "percentage points" else unit
    if found.n == 0:
        return f"not known how many {unit}"
    low, high = (
        _number(end, ratio) if math.isfinite(end) and (end > 0 or not ratio) else "" for end in (found.low, found.high)
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
    return f"{_number(found.value, ratio)} {unit}".rstrip() + f" ({interval}, n = {found.n})"
