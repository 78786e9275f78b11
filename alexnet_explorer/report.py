"""Reports: what was compared, what came out, on which machine, and the commands that repeat it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from . import __version__
from .commands import repeat_command
from .comparing import METRICS, Track, band, factor_of, value_text
from .document import Cell, Chart, Code, Column, Document, Part, Section, Table, Text
from .notes import read_notes
from .runs import Run, differences
from .studies.results import Results
from .studies.statistics import Time
from .studies.study import Arm, write
from .studies.survey import Survey
from .weights_file import digest_of, read_bytes

_LEARNED = METRICS | {
    "clean/top1_error": "training error, clean passes", "clean/loss": "training loss, clean passes"
}  # fmt: skip
_CURVES = {"loss": "loss (cross-entropy, nats)", "top1_error": "top-1 error (%)"}


def comparison(runs: Sequence[Run], names: Mapping[str, str] | None = None) -> Document:
    """Runs side by side, the first one the baseline; `names` by their ids, for those who read it.

    Raises RunError where a file of a run cannot be read, WeightsError where its weights cannot.
    """
    named = dict(names or default_names(runs))
    baseline = named[runs[0].id]
    opening = Text(
        f"{len(runs)} runs, each against the first, {baseline}. Made by AlexNet Explorer {__version__} on "
        f"{time.strftime('%d %B %Y')}."
    )
    caution = Text(
        "One run of each kind is one draw of the dice: with other seeds, small differences can change their sign."
    )
    return Document(
        f"{baseline} and {named[runs[1].id] if len(runs) == 2 else f'{len(runs) - 1} others'}",
        [
            Section("What was compared", [opening, *_settings(runs, named)]),
            Section("Where they ended", [*_ends(runs, named), caution]),
            Section("Curves", curves(runs, named)),
            Section("The runs", provenance(runs, named)),
            Section("How to repeat it", how_to_repeat(runs, named)),
        ],
        config_files(runs),
    )


def study(results: Results) -> Document:
    """A study: its question, its verdict, every run, and what repeats it. Raises RunError, WeightsError."""
    asked, survey = results.study, results.survey
    named = _names_of(survey)
    runs = list(named)
    claim = [Text(f"The claim [{asked.claim.section}]: {asked.claim.says}")] if asked.claim else []
    opening = Text(
        f"{survey.count('done')} of {asked.count()} runs are done. Made by AlexNet Explorer {__version__} on "
        f"{time.strftime('%d %B %Y')}."
    )
    warnings = [Text(f"Note: {warning}.") for warning in results.warnings]
    drawn = [chart] if (chart := intervals(results)) else []
    said = [Text(f"{row.verdict.word.capitalize()}: {row.name}: {row.told.rstrip('.')}.") for row in results.rows]
    came_out: list[Part] = [*said, *drawn, _rows(results), *warnings]
    question: list[Part] = [*claim, *([Text(asked.notes)] if asked.notes else []), opening]
    sections = [
        Section("The question", question),
        Section("What came out", came_out),
    ]
    if results.outcomes:
        sections.append(Section("How the arms learned", learning_curves(results)))
    if runs:
        told = [each_run(results)] if results.outcomes else []
        machines = provenance(runs, {run.id: name for run, name in named.items()})
        sections.append(Section("Each run", [*told, *_sweep(results), *machines]))
    file = f"{asked.id}.yaml"
    advice = (
        f"In a clone of AlexNet Explorer with the versions above, and the text below as the file {file}, the first "
        "command trains what is missing, and says the verdict; the second writes this report. The data set has to be "
        "there under the same name (python -m alexnet_explorer data list). In fp32, with the device and the threads "
        "above, a run repeats to the bit on the same hardware; elsewhere it differs by rounding, which grows through a "
        "training."
    )
    commands = f"""python -m alexnet_explorer study run {file}
python -m alexnet_explorer study report {file} --out {asked.id}.html"""
    repeat: list[Part] = [Text(advice), Code(commands), Code(write(asked), file), *_settings_of_arms(results)]
    sections.append(Section("How to repeat it", repeat))
    return Document(asked.title or asked.id, sections, config_files(runs) | {file: write(asked)})


def _names_of(survey: Survey) -> dict[Run, str]:
    """The runs that count, those of the sweep, and those that failed or were broken off, with their names."""
    named = {}
    for one in survey.found:
        job = one.job
        trial = f", {job.swept:g} in the sweep" if job.trial else ""
        for run in [one.done] if one.done else one.runs:
            named[run] = f"{job.arm.name or survey.study.id}, seed {job.seed}{trial}"
    return dict(sorted(named.items(), key=lambda item: "in the sweep" in item[1]))


def _settings_of_arms(results: Results) -> list[Part]:
    """Every setting of each arm, as its first run has it."""
    asked = results.study
    first: dict[Arm, Run] = {}
    for (arm, _), (run, _) in results.outcomes.items():
        first.setdefault(arm, run)
    swept = " Those of the sweep differ in the value that is tried, and in their epochs, too." if asked.sweep else ""
    said = [Text(f"The runs of an arm differ in their seed alone.{swept} Every setting of each is in the zip.")]
    return [*(said if first else []), *(
        Code(_lines(run.config.flat()), f"Every setting of {arm.name or asked.id}, seed {run.config.train.seed}", True)
        for arm, run in first.items()
    )]  # fmt: skip


def learning_curves(results: Results) -> list[Chart]:
    """By epoch the mean of each arm's runs, with Student's 95 % band: what is measured, validation, training."""
    from .figures import RunCurve, style_of
    from .figures import curves as drawn

    tracks: dict[Arm, list[Track]] = {}
    for (arm, _), (run, _) in results.outcomes.items():
        tracks.setdefault(arm, []).append(Track())
        tracks[arm][-1].add(run.metrics()[0])
    measured = results.study.measure.metric.replace("test/", "val/")  # which falls from epoch to epoch
    charts = []
    for metric in dict.fromkeys([measured, "val/top1_error", "epoch/train_top1_error"]):
        scale = factor_of(metric)
        title = f"{_LEARNED.get(metric, metric)}{' (%)' if scale > 1 else ''}"
        lines: list[RunCurve] = []
        points: list[list[Cell]] = []
        for place, (arm, own) in enumerate(tracks.items()):
            x, *ys = band([track.curve(metric, "epoch") for track in own], "ci95")
            mean, low, high = (scale * y for y in ys)
            if len(x):
                name = arm.name or results.study.id
                colour, dash, symbol = style_of(place)
                low_edge, high_edge = (low, high) if len(own) > 1 else ((), ())
                lines.append(RunCurve(name, colour, x, mean, dash, low_edge, high_edge, symbol=symbol))
                numbers = (part.tolist() for part in (x, mean, low, high))
                points += [[name, len(own), *point] for point in zip(*numbers, strict=True)]
        if lines:
            alt = "The mean over the seeds of each arm, with its 95 % interval; as far as all of them have come."
            columns = [Column("arm"), Column("runs"), Column("epoch"), Column(title), Column("low"), Column("high")]
            charts.append(Chart(title, drawn(lines, title, "epoch"), alt, Table(title, columns, points)))
    return charts


def intervals(results: Results) -> Chart | None:
    """The estimates of a study with their intervals, and what was claimed; None before there are any."""
    from . import figures

    asked, ratio = results.study, results.study.measure.is_time
    unit = asked.measure.unit or "difference"
    rows = [
        (row, row.estimate) for row in results.rows
        if row.estimate and row.estimate.n and (row.unit == asked.measure.unit or (ratio and "times" in row.unit))
    ]  # fmt: skip
    if not rows:
        return None
    lines = [figures.Interval(row.name, found.value, found.low, found.high, row.claimed) for row, found in rows]
    dashed = "; dashed: claimed" if any(row.claimed is not None for row, _ in rows) else ""
    drawn = figures.intervals(lines, f"{unit}, 95 % interval{dashed}", 1.0 if ratio else 0.0, ratio)
    said = "Intervals. " + "; ".join(f"{row.name}: {row.verdict.reason}" for row, _ in rows)
    columns = [Column("comparison"), Column(f"estimate ({unit})"), Column("low"), Column("high"), Column("claimed")]
    return Chart("Intervals", drawn, said, Table("Intervals", columns, [[*vars(line).values()] for line in lines]))


def _rows(results: Results) -> Table:
    """The verdicts and the numbers that they rest on."""
    columns = [
        Column("comparison"), Column("verdict"), Column("estimate", ".3g"), Column("low", ".3g"), Column("high", ".3g"),
        Column("unit"), Column("n", "g"), Column("bootstrap low", ".3g"), Column("bootstrap high", ".3g"),
        Column("p", ".2g"), Column("p by Holm", ".2g"), Column("more seeds", "g"),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for row in results.rows:
        found = row.estimate
        numbers = [found.value, found.low, found.high] if found and found.n else [None] * 3
        rows.append([
            row.name, row.verdict.word, *numbers, row.unit, found.n if found else 0, *(row.bootstrap or [None] * 2),
            found.p_value if found else None, row.p_adjusted, row.further_seeds,
        ])  # fmt: skip
    return Table("Verdicts", columns, rows)


def each_run(results: Results) -> Table:
    """What each run came to: a row an arm, a column a seed; a time that was not reached is '> its limit'."""
    asked, measure = results.study, results.study.measure
    arms = list(dict.fromkeys(arm for arm in asked.arms() for own, _ in results.outcomes if own == arm))
    seeds = [seed for seed in asked.seeds if any((arm, seed) in results.outcomes for arm in arms)]
    rows: list[list[Cell]] = []
    for arm in arms:
        kept = [results.outcomes.get((arm, seed)) for seed in seeds]
        rows.append([arm.name or "difference", *(_outcome(one[1], measure.unit) if one else None for one in kept)])
    columns = [Column("arm"), *(Column(f"seed {seed}") for seed in seeds)]
    return Table(f"Each run: {measure.name}", columns, rows)


def _outcome(value: float | Time, unit: str) -> str:
    if isinstance(value, Time):
        return f"{value.value:.2f}" if value.reached else f"> {value.value:g}"
    return f"{100 * value:.1f} %" if unit else f"{value:.4g}"


def _sweep(results: Results) -> list[Table]:
    """What the sweep found for each arm: a column a value."""
    swept, chosen = results.study.sweep, results.survey.chosen
    if swept is None or not chosen:
        return []
    columns = [Column("arm"), *(Column(f"{value:g}", ".3f") for value in swept.values), Column("chosen", "g")]
    rows: list[list[Cell]] = [
        [arm.name, *(found.scores.get(value) for value in swept.values), found.value] for arm, found in chosen.items()
    ]
    return [Table(f"Sweep of {swept.field}: {swept.choose} after {swept.epochs} epochs", columns, rows)]


def default_names(runs: Sequence[Run]) -> dict[str, str]:
    """A name for each run's id: the one it was given, else its title; with the end of its id where they repeat."""
    titles = [read_notes(run.path).name or run.title for run in runs]
    return {
        run.id: title if titles.count(title) == 1 else f"{title} #{run.id[-4:]}"
        for run, title in zip(runs, titles, strict=True)
    }


def curves(runs: Sequence[Run], named: Mapping[str, str]) -> list[Chart]:
    """Loss and error by epoch: validation solid, or dashed after seven runs, training dotted; the first run in grey."""
    from .figures import RunCurve, style_of
    from .figures import curves as drawn

    tracks = {run.id: Track() for run in runs}
    for run in runs:
        tracks[run.id].add(run.metrics()[0])
    charts = []
    for metric, title in _CURVES.items():
        lines: list[RunCurve] = []
        points: list[list[Cell]] = []
        for position, run in enumerate(runs):
            colour, line, symbol = style_of(position)
            for part, dash in (("val", line), ("train", "dot")):
                x, y = tracks[run.id].curve(f"{part}/{metric}", "epoch")
                shown = factor_of(metric) * y
                lines.append(RunCurve(named[run.id], colour, x.tolist(), shown.tolist(), dash, symbol=symbol))
                points += [[named[run.id], part, *point] for point in zip(x.tolist(), shown.tolist(), strict=True)]
        alt = "Solid or dashed: validation. Dotted: training, on changed pictures and with dropout, so often higher."
        short = title.partition(" (")[0].capitalize()
        table = Table(short, [Column("run"), Column("part"), Column("epoch"), Column(title)], points)
        charts.append(Chart(short, drawn(lines, title, "epoch"), alt, table))
    return charts


def provenance(runs: Sequence[Run], named: Mapping[str, str]) -> list[Text | Table]:
    """What each run is: state, seed, data, weights, time; the machine and versions that computed it; what was noted."""
    columns = [
        Column("run"), Column("id"), Column("state"), Column("epochs", "g"), Column("seed"), Column("data"),
        Column("digest of the data"), Column("digest of the weights"), Column("time (s)", ".0f"),
        Column("images per second", ",.0f"),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for run in runs:
        status, config, weights = run.status(), run.config, run.weights_file()
        digest = digest_of(read_bytes(weights)) if weights else None
        rows.append([named[run.id], run.id, status.state, status.epoch, config.train.seed, config.data.name,
                     config.data.digest or None, digest, status.seconds, status.img_per_s])  # fmt: skip
    facts = [(run, _flat(part)) for run in runs for part in run.sessions() or [{}]]
    keys = list(dict.fromkeys(key for _, known in facts for key in known))
    machines = [[named[run.id], *(known.get(key) for key in keys)] for run, known in facts]
    parts: list[Text | Table] = [
        Table("Seeds, data, weights, time", columns, rows),
        Table("Hardware and versions", [Column("run"), *map(Column, keys)], machines),
    ]
    if mixed := [named[run.id] for run in runs if len(run.codes()) > 1]:
        parts.append(Text(f"Not one experiment: after a stop, other code went on with {', '.join(mixed)}."))
    notes = {run.id: read_notes(run.path) for run in runs}
    if any(said.tags or said.note for said in notes.values()):
        written = [[named[run_id], ", ".join(said.tags), said.note] for run_id, said in notes.items()]
        parts.append(Table("Notes", [Column("run"), Column("tags"), Column("note")], written))
    return parts


def how_to_repeat(runs: Sequence[Run], named: Mapping[str, str]) -> list[Text | Code]:
    """The command of each run, and every setting."""
    advice = (
        "In a clone of AlexNet Explorer with the versions above, each command trains its run again. The data set has "
        "to be there under the same name (python -m alexnet_explorer data list), with the digest above. With the "
        "precision fp32 (--set train.precision=fp32), the device and the threads above, the numbers repeat to the bit "
        "on the same hardware; elsewhere they differ by rounding, which grows through a training."
    )
    commands = [Code(repeat_command(run.config), named[run.id]) for run in runs]
    settings = [Code(_lines(run.config.flat()), f"Every setting of {named[run.id]}", folded=True) for run in runs]
    return [Text(advice), *commands, *settings]


def config_files(runs: Sequence[Run]) -> dict[str, str]:
    """The `config.json` of each run, for the zip."""
    return {f"configs/{run.id}.json": run.config.to_json() + "\n" for run in runs}


def _settings(runs: Sequence[Run], named: Mapping[str, str]) -> list[Text | Table]:
    changed = differences({run.id: run.as_computed() for run in runs})
    if not changed:
        return [Text("The settings of these runs are the same.")]
    rows = [[named[run.id], *(value_text(values[run.id]) for values in changed.values())] for run in runs]
    return [Table("Settings that differ", [Column("run"), *map(Column, changed)], rows)]


def _ends(runs: Sequence[Run], named: Mapping[str, str]) -> list[Table]:
    """The last metrics of each run, errors in percent, and their signed differences from the first run's."""
    summaries = [run.status().summary for run in runs]
    metrics = [metric for metric in METRICS if any(metric in summary for summary in summaries)]
    errors = [metric.endswith("error") for metric in metrics]
    values = [
        [factor_of(metric) * summary[metric] if metric in summary else None for metric in metrics]
        for summary in summaries
    ]
    signed = [
        [None if a is None or b is None else a - b for a, b in zip(row, values[0], strict=True)] for row in values[1:]
    ]

    def table(
        title: str, unit: str, formats: tuple[str, str], runs: Sequence[Run], rows: Sequence[Sequence[Cell]]
    ) -> Table:
        columns = [
            Column(f"{METRICS[metric]} ({unit})" if error else METRICS[metric], formats[not error])
            for metric, error in zip(metrics, errors, strict=True)
        ]
        return Table(title, [Column("run"), *columns],
                     [[named[run.id], *row] for run, row in zip(runs, rows, strict=True)])  # fmt: skip

    return [
        table("Last metrics", "%", ("z.1f", "z.3f"), runs, values),
        table(f"Difference from {named[runs[0].id]}", "points", ("+z.1f", "+z.3f"), runs[1:], signed),
    ]


def _lines(settings: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items())


def _flat(env: Mapping[str, Any], prefix: str = "") -> dict[str, Cell]:
    """{"versions": {"torch": …}} as {"versions.torch": …}; lists as JSON."""
    flat: dict[str, Cell] = {}
    for key, value in env.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = (
                value if isinstance(value, str | int | float) or value is None else json.dumps(value)
            )
    return flat
