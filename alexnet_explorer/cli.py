"""The command line: the same functions as the pages. `--json` prints one JSON document and nothing else.

A wrong value ends with one line on stderr that names it and says what is allowed, and exit status 2.
"""

from __future__ import annotations

import glob
import json
import math
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .catalogue import DEFAULT_MODEL, find_model, find_weights
from .config import DECIDED_ELSEWHERE, MODEL_PRESETS, ConfigError, RunConfig, preset_config
from .data.images import ImageError, picture_size, read_image
from .data.packed import DataError, PackedSet, find_set, list_sets
from .files import csv_text, write_atomic
from .inspection.methods import METHODS, SETTINGS
from .inspection.methods import Settings as MethodSettings
from .launch import slurm
from .launch.cluster import Cluster, Place, PlaceName, place
from .launch.local import give_way_when_told
from .launch.queue import Queue
from .listing import Listing
from .runs import LIVE, Run, RunError, Status, config_on, differences, find_run, new_run
from .transfer import export_run, import_run
from .weights_file import WeightsError, read_bytes, read_metadata

if TYPE_CHECKING:
    from PIL.Image import Image

    from .inspection.attribution import Attribution
    from .inspection.perturbing import Reference
    from .inspection.predict import Prediction
    from .inspection.verdicts import Trust
    from .studies.study import Study
    from .studies.survey import Survey
    from .weights import LoadedModel

SHEET_TILE, SHEET_COLUMNS = 256, 6  # of `explain`: pixels, pictures in a row

app = typer.Typer(
    help="Train, inspect and ablate the AlexNet of 2012.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="The data sets of this machine.", no_args_is_help=True)
app.add_typer(data_app, name="data")
bench_app = typer.Typer(help="Speed, against something, in one run.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
probe_app = typer.Typer(
    help="What a page asks about a training before it starts: a config on stdin, lines of JSON on stdout.",
    no_args_is_help=True,
)
app.add_typer(probe_app, name="probe", hidden=True)
queue_app = typer.Typer(help="Runs that are trained one after another, or N at a time.", no_args_is_help=True)
app.add_typer(queue_app, name="queue")
study_app = typer.Typer(help="Studies: paired runs, an interval, a verdict.", no_args_is_help=True)
app.add_typer(study_app, name="study")

RunsFolder = Annotated[Path, typer.Option("--runs", envvar="ALEXNET_EXPLORER_RUNS", help="the folder of the runs")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document")]
RunIds = Annotated[list[str], typer.Argument(metavar="ID…", help="the ids of runs")]
ModelName = Annotated[str, typer.Option("--model", help="a gallery model, a run's id, or a weights file")]
TenCrop = Annotated[bool, typer.Option("--ten-crop", help="the mean of ten views, as in the paper")]
StudyName = Annotated[str, typer.Argument(metavar="FILE|NAME", help="a study file, or the name of a study")]
On = Annotated[
    PlaceName, typer.Option(help="where runs are trained: on this machine, or as jobs of Slurm (`queue slurm`)")
]
RUNS = Path("runs")
SKIPPED_SHOWN = 10  # files that could not be read
BAR = 24  # characters

# What a training is, for `train` and `script`.
Preset = Annotated[str | None, typer.Option(help=f"one of {', '.join(MODEL_PRESETS)}; without --init alexnet-32")]
Data = Annotated[str, typer.Option(help="a data set's name, a folder or a zip of class folders")]
Init = Annotated[
    str | None, typer.Option(metavar="MODEL", help="fine-tune: a gallery model, a run's id, or a weights file")
]
Freeze = Annotated[str | None, typer.Option(metavar="LAYERS", help="layers that keep their weights, conv1,conv2 say")]
InitFile = Annotated[Path | None, typer.Option("--init", help="fine-tuning: the weights file that it begins from")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE, model.activation=tanh say")]
Epochs = Annotated[int | None, typer.Option(help="passes over the training images")]
Seed = Annotated[int | None, typer.Option(help="of everything random")]


@app.command()
def train(
    preset: Preset = None,
    data: Annotated[
        str | None, typer.Option(help="a data set's name, a folder or a zip of class folders; digits if it is left out")
    ] = None,
    init: Init = None,
    freeze: Freeze = None,
    settings: Settings = None,
    epochs: Epochs = None,
    seed: Seed = None,
    resume: Annotated[str | None, typer.Option(help="the id of a run to go on with")] = None,
    on: On = "here",
    runs: RunsFolder = RUNS,
) -> None:
    """Train a network in the foreground. Ctrl-C stops it and keeps the checkpoint. The last line is the run's id.

    Under torchrun, several processes train it together. With --on slurm it becomes a job, which is not waited for.
    """
    from .training.finetune import new_finetune
    from .training.group import PeerLost, join
    from .training.loop import train as train_run

    def chosen() -> Run:
        if resume:
            if any(given is not None for given in (preset, data, init, freeze, settings, epochs, seed)):
                _fail("--resume: a run goes on with its own settings; leave the others out")
            return find_run(resume, runs)
        changes = _changes(settings or [], epochs, seed, freeze)
        config, packed, weights = _chosen(preset, data or "digits", init, changes, runs)
        return new_finetune(config, packed, weights, runs) if weights else new_run(config, packed, _made(runs))

    if on == "slurm":
        where = place(on, runs)
        run = chosen()
        where.add(run)
        typer.echo(f"submitted to Slurm as job {run.status().job}", err=True)
        typer.echo(run.id)
        return
    with join() as group:
        try:
            run = group.first(chosen)
        except PeerLost as error:
            _fail(f"{error} before it began: start it again", exit_status=1)
        status = train_run(run, _show_training, group)
        if group.leads:
            typer.echo(f"{status.state}: {_summary_line(status)}", err=True)
            typer.echo(run.id)
            if status.state in ("failed", "interrupted"):
                _fail(f"run {run.id} {status.state}: {status.message}", exit_status=1)


@app.command("runs")
def runs_command(as_json: AsJson = False, runs: RunsFolder = RUNS) -> None:
    """List the runs of the folder and of the gallery."""
    if runs != RUNS and not runs.is_dir():
        typer.echo(f"--runs={runs}: there is no such folder; these are the networks that ship", err=True)
    rows = []
    for row in Listing(runs).rows():
        if row.fault:
            typer.echo(row.fault, err=True)
            continue
        rows.append({"id": row.id, "status": row.status.state, "config": row.config, "summary": row.status.summary})
        if not as_json:
            typer.echo(f"{row.id:<48} {row.status.state:<12} {row.title:<44} {_summary_line(row.status)}")
    if as_json:
        _print_json(rows)


@app.command("export")
def export_command(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="the id of a run")],
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="the zip file to write")],
    runs: RunsFolder = RUNS,
) -> None:
    """Write a run, with its curves and weights, to one zip file, which `import` opens on another machine."""
    if file.suffix != ".zip":
        _fail(f"{file}: the name of the file ends in .zip")
    export_run(find_run(run_id, runs), file, _show_progress)
    typer.echo(str(file))


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="a zip file that `export` wrote")],
    runs: RunsFolder = RUNS,
) -> None:
    """Take a run out of a zip file, once everything in it is checked. The last line is its id here."""
    typer.echo(import_run(file, runs, _show_progress).id)


@app.command()
def compare(
    ids: Annotated[list[str], typer.Argument(help="two runs or more; the first one is the baseline")],
    to_reach: Annotated[
        float | None, typer.Option(metavar="LEVEL", help="how long each run takes to this value of --metric, 0.25 say")
    ] = None,
    metric: Annotated[str, typer.Option(help="of --to-reach: an error or a loss")] = "val/top1_error",
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """What differs between the configs of runs, their last metrics, and how long they take to an error."""
    if len(set(ids)) < 2:
        _fail("compare: give the ids of two different runs or more")
    if to_reach is not None and not math.isfinite(to_reach):
        _fail(f"--to-reach={to_reach}: write a number, 0.25 say")
    chosen = {run_id: find_run(run_id, runs) for run_id in ids}
    changed = differences({run_id: run.as_computed() for run_id, run in chosen.items()})
    summaries = {run_id: run.status().summary for run_id, run in chosen.items()}
    names = sorted({name for summary in summaries.values() for name in summary})
    metrics = {name: {run_id: summary.get(name) for run_id, summary in summaries.items()} for name in names}
    ways = None if to_reach is None else _ways(chosen, metric, to_reach)
    if as_json:
        found = {"runs": list(chosen), "differences": changed, "metrics": metrics}
        _print_json(found if ways is None else {**found, "to_reach": ways})
        return
    width = max(map(len, ids))
    for title, table in (("differences", changed), ("metrics", metrics)):
        typer.echo(title)
        for name, values in table.items():
            typer.echo(f"  {name}")
            for run_id, value in values.items():
                typer.echo(f"    {run_id:<{width}}  {_shown(value)}{_difference(value, values[ids[0]])}")
    if ways:
        typer.echo(f"to reach {metric} {to_reach:g}")
        for run_id, way in ways["runs"].items():
            typer.echo(f"    {run_id:<{width}}  {_way_text(way)}")


@app.command()
def report(
    ids: Annotated[list[str], typer.Argument(help="two runs or more; the first one is the baseline")],
    out: Annotated[Path, typer.Option(help="FILE.html, FILE.md, or FILE.zip: Markdown, CSV files and the configs")],
    runs: RunsFolder = RUNS,
) -> None:
    """A comparison of runs as a file: settings, curves, metrics, machines, and how to repeat it."""
    from .report import comparison

    if len(set(ids)) < 2:
        _fail("report: give the ids of two different runs or more")
    _check_report(out)
    _write(out, comparison([find_run(run_id, runs) for run_id in dict.fromkeys(ids)]).to_file(out.suffix))
    typer.echo(f"written to {out}")


def _check_report(out: Path) -> None:
    from .document import FORMATS

    if out.suffix not in FORMATS:
        _fail(f"--out={out}: the name of the file ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")


def _ways(chosen: dict[str, Run], metric: str, level: float) -> dict[str, Any]:
    """When each run first was at the level, along every axis, and as a multiple of the first run's way there.

    Where it never was, the axis says null, `last` how far it was looked, and the ratio has the sign '>'.
    """
    from .comparing import AXES, Track, ratio, reached

    tracks = {}
    for run_id, run in chosen.items():
        tracks[run_id] = Track()
        tracks[run_id].add(run.metrics()[0])
        if metric not in tracks[run_id].metrics:
            known = ", ".join(name for name in tracks[run_id].metrics if name.endswith(("error", "loss")))
            _fail(f"--metric={metric}: run {run_id} has none so far; it has: {known or 'no metrics'}")
    ways: dict[str, dict[str, Any]] = {run_id: {"last": {}, "ratio": {}} for run_id in chosen}
    for axis in AXES:
        found = {run_id: reached(track.curve(metric, axis), level) for run_id, track in tracks.items()}
        for run_id, way in found.items():
            multiple = ratio(way, next(iter(found.values())))
            ways[run_id][axis] = way.at if way else None
            ways[run_id]["last"][axis] = way.last if way else None
            ways[run_id]["ratio"][axis] = multiple._asdict() if multiple else None
    return {"metric": metric, "level": level, "runs": ways}


def _way_text(way: dict[str, Any]) -> str:
    """'2.31 epochs, 40.1 s, 1.52 times the first'; 'not within 30 epochs'."""
    multiple = way["ratio"]["epoch"] if way["ratio"]["epoch"] != {"sign": "=", "value": 1.0} else None
    sign = {"=": "", ">": "more than ", "<": "less than "}
    times = f", {sign[multiple['sign']]}{multiple['value']:.3g} times the epochs of the first" if multiple else ""
    if way["epoch"] is None:
        return f"not within {way['last']['epoch'] or 0:g} epochs{times}"
    seconds = "" if way["seconds"] is None else f", {way['seconds']:.1f} s"
    return f"{way['epoch']:.2f} epochs{seconds}{times}"


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="image files, folders of them, or patterns in quotes, '*.jpg'")],
    model: ModelName = DEFAULT_MODEL,
    top: Annotated[int, typer.Option(min=1, help="how many classes")] = 5,
    ten_crop: TenCrop = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print a table, a line for each class of a picture")] = False,
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """The most probable classes of pictures."""
    from .inspection.predict import best, predict_ten_crops, probabilities

    def answer(picture: Image) -> list[Prediction]:
        shares = predict_ten_crops(loaded, picture).average if ten_crop else probabilities(loaded, picture)
        return best(loaded, shares, top)

    if as_csv and as_json:
        _fail("--csv: leave --csv or --json out")
    paths = list(_found(images))
    loaded = _model(model, runs)
    results = [(path, answer(picture)) for path, picture in _read_found(paths)]
    if as_json:
        shown = [{"path": str(path), "predictions": [asdict(p) for p in found]} for path, found in results]
        _print_json({"model": loaded.name, "images": shown})
        return
    if as_csv:
        rows = [
            (str(path), rank, p.label, p.index, p.probability)
            for path, found in results
            for rank, p in enumerate(found, 1)
        ]
        typer.echo(csv_text([("path", "rank", "label", "index", "probability"), *rows]), nl=False)
        return
    for path, found in results:
        typer.echo(f"{path}  ({loaded.title})")
        for p in found:
            typer.echo(f"  {p.probability:6.1%}  {p.label}")


@app.command()
def summary(
    preset: Annotated[str | None, typer.Option(help=f"one of {', '.join(MODEL_PRESETS)}")] = None,
    model: Annotated[str | None, typer.Option(help="a gallery model, a run's id, or a weights file")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """A network as a table: what each layer sees of the picture and puts out, its parameters and multiply-adds."""
    from .inspection.summary import summary as rows_of
    from .inspection.summary import totals

    if model and preset:
        _fail("--model: a trained network is what it is; leave --preset or --model out")
    if settings and not preset:
        _fail("--set: it changes a preset; say which by --preset")
    title = preset or model or DEFAULT_MODEL
    config = preset_config(preset) if preset else _config(title, runs)
    network = config.with_settings(_changes(settings or [], None, None, None)).model
    rows = rows_of(network)
    parameters, multiply_adds = totals(rows)
    if as_json:
        counted = {"parameters": parameters, "multiply_adds": multiply_adds}
        _print_json({"network": title, "layers": [asdict(row) for row in rows], **counted})
        return
    typer.echo(title)
    _columns("layer", "window", "sees", "output", "parameters", "multiply-adds")
    for row in rows:
        parts = [f"{row.kernel}×{row.kernel}, stride {row.stride}"] if row.kernel else []
        parts += [f"pad {row.padding}"] if row.padding else []
        parts += [f"{row.groups} groups"] if row.groups > 1 else []
        sees = f"{row.receptive_field}×{row.receptive_field}" if row.receptive_field < network.input_size else "all"
        counts = [f"{count:,}" if count else "" for count in (row.parameters, row.multiply_adds)]
        _columns(row.name, ", ".join(parts), sees, "×".join(map(str, row.output)), *counts)
    _columns("total", "", "", "", f"{parameters:,}", f"{multiply_adds:,}")


def _columns(name: str, window: str, sees: str, output: str, *counts: str) -> None:
    line = f"{name:<10} {window:<30} {sees:>8} {output:>11} {counts[0]:>13} {counts[1]:>15}"
    typer.echo(line.rstrip())


@app.command()
def inspect(
    image: Annotated[Path, typer.Argument(help="an image file")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="a new or empty folder, or an earlier one's")],
    model: ModelName = DEFAULT_MODEL,
    layers: Annotated[
        list[str] | None, typer.Option("--layer", help="a layer, conv3 say; may be given again; else all of them")
    ] = None,
    unit: Annotated[int | None, typer.Option(min=0, help="of each --layer: its map over the picture")] = None,
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """What a network makes of a picture, as files: predictions, the maps of every layer, statistics, kernels."""
    from .inspection.export import Export, ExportError, check_folder
    from .inspection.export import write as write_export

    if unit is not None and not layers:
        _fail(f"--unit={unit}: say of which layer by --layer")
    try:
        check_folder(out.resolve())
        picture = _picture(image)
        loaded = _model(model, runs)
        chosen = _layers(loaded, layers, unit)
        files = Export(loaded, picture, chosen, unit).files()
        write_export(out.resolve(), files)
    except ExportError as error:
        _fail(f"--out={out}: {error}")
    if as_json:
        _print_json({"out": str(out), "image": str(image), **json.loads(files["inspect.json"])})
    else:
        typer.echo(f"{len(files)} files of {len(chosen)} layers written to {out}")


def _layers(loaded: LoadedModel, given: list[str] | None, unit: int | None) -> list[str]:
    """The layers of `--layer` by their own names, in the network's order; else all but dropout, which passes all on."""
    own = loaded.model.layers
    if not given:
        return [name for name, layer in own.items() if layer.kind != "dropout"]
    chosen = set()
    for name in given:
        try:
            chosen.add(loaded.model.resolve(name))
        except KeyError as error:
            _fail(f"--layer={name}: {error.args[0]}")
    for name in own:
        if name in chosen and unit is not None and unit >= own[name].output[0]:
            _fail(f"--unit={unit}: {name} has the units 0 to {own[name].output[0] - 1}")
    return [name for name in own if name in chosen]


def _setting(name: str) -> str:
    """The help of an option of `explain`: a word on a setting, and which methods have it."""
    having = [key for key, method in METHODS.items() if name in method.settings]
    return f"{SETTINGS[name].help} Of {', '.join(having)}."


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="an image file")],
    out: Annotated[Path, typer.Option(help="the PNG file to write")],
    model: ModelName = DEFAULT_MODEL,
    method: Annotated[str, typer.Option(help="a method, or all")] = "saliency",
    target: Annotated[str | None, typer.Option(help="a class, by label or index; else the predicted one")] = None,
    layer: Annotated[str | None, typer.Option(help=_setting("layer"))] = None,
    baseline: Annotated[str | None, typer.Option(help=_setting("baseline"))] = None,
    steps: Annotated[int | None, typer.Option(help=_setting("steps"))] = None,
    window: Annotated[int | None, typer.Option(help=_setting("window"))] = None,
    stride: Annotated[int | None, typer.Option(help=_setting("stride"))] = None,
    superpixels: Annotated[int | None, typer.Option(help=_setting("superpixels"))] = None,
    samples: Annotated[int | None, typer.Option(help=_setting("samples"))] = None,
    noise: Annotated[float | None, typer.Option(help=_setting("noise"))] = None,
    seed: Annotated[int | None, typer.Option(help=_setting("seed"))] = None,
    trust: Annotated[
        bool | None, typer.Option("--trust/--no-trust", help="whether to believe each map; with --json unless told not")
    ] = None,
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """Where in the picture the evidence for a class is: saliency maps over the picture, as one PNG."""
    from .inspection.attribution import NotApplicable, attribute
    from .inspection.mosaic import to_png
    from .inspection.predict import predict as predict_one

    if method != "all" and method not in METHODS:
        _fail(f"--method={method}: allowed are all, {', '.join(METHODS)}")
    if not out.parent.is_dir():
        _fail(f"--out={out}: there is no folder {out.parent}")
    if out.suffix != ".png":
        _fail(f"--out={out}: the name of the file ends in .png")
    if out.exists() and out.samefile(image):
        _fail(f"--out={out}: that is the picture itself")
    given = {
        "layer": layer, "baseline": baseline, "steps": steps, "window": window, "stride": stride,
        "superpixels": superpixels, "samples": samples, "noise": noise, "seed": seed,
    }  # fmt: skip
    settings = _settings({name: value for name, value in given.items() if value is not None}, method)
    picture = _picture(image)
    loaded = _model(model, runs)
    index = _target(target, loaded)
    if index is None:
        index = predict_one(loaded, picture, 1)[0].index
    wanted = list(METHODS) if method == "all" else [method]
    judge = _Judge(loaded, picture) if trust or (trust is None and as_json) else None
    maps: list[Attribution] = []
    rows: list[dict[str, Any]] = []
    verdicts: dict[str, str] = {}
    for number, name in enumerate(wanted):
        progress = partial(_show_part, METHODS[name].title, number, len(wanted))
        try:
            found = attribute(loaded, picture, name, index, settings, progress=progress)
        except NotApplicable as reason:
            rows.append({"method": name, "layer": None, "not_applicable": str(reason)})
            continue
        except ConfigError as error:
            _fail(f"--{error}")
        except KeyError as error:
            _fail(f"--layer={layer}: {error.args[0]}")
        maps.append(found)
        rows.append({"method": name, "layer": found.layer, "seconds": round(found.seconds, 4)})
        if judge:
            judged = judge.trust(found, progress)
            rows[-1] |= judged.to_json()
            verdicts[name] = ", ".join(f"{one.title.lower()} {one.verdict}" for one in judged.figures.values())
    _show_part("done", len(wanted), len(wanted), 0.0)
    if maps:
        _write(out, to_png(_sheet(loaded, picture, maps)))
    if as_json:
        _print_json({"target": index, "label": loaded.classes[index], "methods": rows})
        return
    for row in rows:
        place = f" at {row['layer']}" if row["layer"] else ""
        said = row.get("not_applicable") or f"{row['seconds']:.2f} s{place}"
        typer.echo(f"{row['method']:<22} {said}")
        if row["method"] in verdicts:
            typer.echo(f"{'':<22} {verdicts[row['method']]}")
    done = f"each map on its own scale, written to {out}" if maps else "nothing to write"
    typer.echo(f"for {loaded.classes[index]!r}, {done}")


def _settings(given: dict[str, Any], method: str) -> MethodSettings:
    """Those of the command line; of `all` methods each takes its own."""
    own = METHODS[method].settings if method != "all" else tuple(given)
    for name, value in given.items():
        if name not in own:
            said = f"only has {', '.join(own)}" if own else "has no settings"
            _fail(f"--{name}={value}: {method} {said}")
    try:
        return MethodSettings(**given)
    except ConfigError as error:
        _fail(f"--{error}")


@dataclass
class _Judge:
    """Works out the trust figures of several maps of one picture; what they are compared with only once."""

    loaded: LoadedModel
    picture: Image
    references: dict[str, Reference] = field(default_factory=dict)

    def trust(self, found: Attribution, progress: Callable[[float], None]) -> Trust:
        from .inspection.trust import reference, trust

        if not self.references:
            self.references = {
                "deletion": reference(self.loaded, self.picture, "deletion"),
                "insertion": reference(self.loaded, self.picture, "insertion"),
            }
        return trust(self.loaded, self.picture, found, progress, references=self.references)


def _show_part(title: str, number: int, count: int, share: float) -> None:
    _show_progress((number + share) / count, title)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="class folders, or pictures named INDEX_WNID_NAME.JPEG")],
    model: ModelName = DEFAULT_MODEL,
    ten_crop: TenCrop = False,
    classes: Annotated[
        Path | None, typer.Option(help="a table of class names: folder or WordNet id, a tab, readable names")
    ] = None,
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """How often a network is wrong on pictures whose classes are known."""
    from .data.labelled import find_labelled
    from .inspection.evaluate import centre_view, ten_crops
    from .inspection.evaluate import evaluate as errors_of

    if not folder.is_dir():
        _fail(f"{folder}: there is no such folder")
    loaded = _model(model, runs)
    labelled = find_labelled(folder, loaded.classes, loaded.folders, classes)
    if unknown := labelled.unknown:
        some = ", ".join(list(unknown)[:3]) + (", …" if len(unknown) > 3 else "")
        said = f"pictures left out, as the network does not know their classes ({some}): {unknown.total()}"
        typer.echo(said, err=True)
    found = errors_of(loaded, _read_labelled(labelled.pictures), ten_crops if ten_crop else centre_view)
    if as_json:
        _print_json(asdict(found))
        return
    classes_seen = len({label for _, label in labelled.pictures})
    typer.echo(f"{loaded.title}: pictures {found.n}, classes {classes_seen}, views of each {found.views}")
    typer.echo(f"top-1 error {found.top1_error:6.1%}")
    typer.echo(f"top-5 error {found.top5_error:6.1%}")


@data_app.command("prepare")
def data_prepare(
    source: Annotated[str, typer.Argument(help="digits, cifar10, imagenette, a folder or a zip of class folders")],
    name: Annotated[str | None, typer.Option(help="the label under which runs know it")] = None,
) -> None:
    """Pack a data set once, so that trainings start at once."""
    from .data.sources import prepare

    packed = prepare(source, name, _show_progress)
    counts = f"{packed.count('train')} training and {packed.count('test')} test images"
    typer.echo(
        f"{packed.name}: {counts} of {packed.size}×{packed.size} pixels, {len(packed.classes)} classes, "
        f"digest {packed.digest}"
    )
    _tell_skipped(packed)


def _tell_skipped(packed: PackedSet) -> None:
    """Say on stderr what of a set is left out: what could not be read, and splits that are not used."""
    for file in packed.skipped[:SKIPPED_SHOWN]:
        typer.echo(f"left out: {file}", err=True)
    if packed.skipped:
        where = packed.folder / "set.json"
        typer.echo(
            f"left out, as unreadable or not used: {len(packed.skipped)}, listed under 'skipped' in {where}",
            err=True,
        )


@data_app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """The packed sets of this machine, and where they lie."""
    sets = list_sets()
    if as_json:
        _print_json(
            [
                {"name": s.name, "digest": s.digest, "classes": list(s.classes), "size": s.size,
                 "train": s.count("train"), "test": s.count("test"), "folder": str(s.folder)}
                for s in sets
            ]
        )  # fmt: skip
        return
    for packed in sets:
        typer.echo(f"{packed.name:<28} {packed.count('train'):>8} images  {packed.folder}")
    if not sets:
        typer.echo("none yet; `python -m alexnet_explorer data prepare digits` packs the built-in digits", err=True)


@queue_app.command("add")
def queue_add(ids: RunIds, on: On = "here", runs: RunsFolder = RUNS) -> None:
    """Let runs wait at the end of the queue, where they have not begun or have ended before they were done."""
    where = place(on, runs)
    _queue(ids, runs, lambda queue, run: where.add(run))


@queue_app.command("list")
def queue_list(as_json: AsJson = False, runs: RunsFolder = RUNS) -> None:
    """The runs at work, then those that wait or are put aside, with their places."""
    queue = Queue(runs)
    waiting, handed_over = queue.entries(), Cluster(runs).entries()
    entries = waiting + [entry for entry in handed_over if entry.run not in {other.run for other in waiting}]
    if as_json:
        rows = [
            {"id": entry.run.id, "place": entry.place, "status": entry.status.state, "epoch": entry.status.epoch,
             "epochs": entry.status.epochs, "job": entry.status.job, "message": entry.status.message}
            for entry in entries
        ]  # fmt: skip
        _print_json({"at_once": queue.at_once(), "runs": rows})
        return
    for entry in entries:
        number = f"{entry.place}." if entry.place else ""
        job = f", job {entry.status.job} {entry.status.message}".rstrip() if entry.status.job else ""
        typer.echo(f"{number:>4} {entry.run.id:<48} {entry.status.state:<12} {_summary_line(entry.status)}{job}")
    typer.echo(f"{len(waiting)} in the queue, {queue.at_once()} at once; {len(handed_over)} in Slurm", err=True)


@queue_app.command("pause")
def queue_pause(ids: RunIds, runs: RunsFolder = RUNS) -> None:
    """Put runs aside after their batch. They keep their checkpoints and places, and let others pass."""
    _queue(ids, runs, Queue.pause)


@queue_app.command("resume")
def queue_resume(ids: RunIds, runs: RunsFolder = RUNS) -> None:
    """Go on with runs that were paused, stopped or interrupted, or failed, as soon as there is room."""
    _queue(ids, runs, Queue.add)


@queue_app.command("stop")
def queue_stop(ids: RunIds, runs: RunsFolder = RUNS) -> None:
    """End runs after their batch. They keep their checkpoints and leave the queue."""
    _queue(ids, runs, Queue.stop)


@queue_app.command("cancel")
def queue_cancel(
    ids: RunIds,
    delete: Annotated[bool, typer.Option("--delete", help="and move their directories to the trash")] = False,
    runs: RunsFolder = RUNS,
) -> None:
    """Take runs that have not begun out of the queue. They stay among the runs, as stopped."""
    _queue(ids, runs, Queue.cancel)
    if delete:
        for run_id in ids:
            Queue(runs).delete(find_run(run_id, runs))


@queue_app.command("move")
def queue_move(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="a run that is not at work")],
    place: Annotated[int, typer.Argument(min=1, help="1 comes next")],
    runs: RunsFolder = RUNS,
) -> None:
    """Give a run another place."""
    _queue([run_id], runs, lambda queue, run: queue.move(run, place))


@queue_app.command("at-once")
def queue_at_once(
    number: Annotated[str, typer.Argument(metavar="N", help="a number, or auto: one, or one for each GPU")],
    runs: RunsFolder = RUNS,
) -> None:
    """How many runs may be at work at once."""
    if number != "auto" and not number.isdecimal():
        _fail(f"at-once {number}: write a number, or auto")
    Queue(runs).set_at_once(None if number == "auto" else int(number))


@queue_app.command("slurm")
def queue_slurm(
    settings: Annotated[list[str] | None, typer.Argument(metavar="[FIELD=VALUE…]", help="what to change")] = None,
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """What each job asks Slurm for: partition=gpu gpus=1 cpus=8 minutes=240 at_once=16, say. Shows all of it."""
    changes = dict(_pair(setting, "slurm") for setting in settings or [])
    kept = slurm.write_settings(_made(runs), changes) if changes else slurm.read_settings(runs)
    if as_json:
        _print_json(kept.model_dump())
        return
    for name, info in type(kept).model_fields.items():
        about = f"  {info.description}" if info.description else ""
        typer.echo(f"{name:<12} {str(getattr(kept, name)) or '-':<12}{about}".rstrip())
    if reason := slurm.unavailable():
        typer.echo(f"note: {reason}", err=True)


@queue_app.command("work", hidden=True)
def queue_work(runs: RunsFolder = RUNS) -> None:
    """Start runs as room comes, until none waits; whoever adds a run sees to it that this is done."""
    Queue(runs).work()


@study_app.command("list")
def study_list(as_json: AsJson = False, runs: RunsFolder = RUNS) -> None:
    """The studies that ship with the project, the ledger, and those of the runs folder."""
    from .studies.ledger import own, shipped

    found, faults = own(runs)
    studies = [*shipped().values(), *found.values()]
    if as_json:
        _print_json([{"id": study.id, "title": study.title, "runs": study.count()} for study in studies])
    for study in studies if not as_json else ():
        typer.echo(f"{study.id:<28} {study.count():>4} runs  {study.title}")
    for fault in faults:
        typer.echo(fault, err=True)


@study_app.command("run")
def study_run(
    name: StudyName,
    data: Annotated[str | None, typer.Option(help="another data set than the study's")] = None,
    any_code: Annotated[bool, typer.Option("--any-code", help="count runs of other versions of the code, too")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it takes, and train nothing")] = False,
    on: On = "here",
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """Train what a study lacks, through the queue or on a cluster. Ctrl-C stops it; the next call goes on.

    Nothing is lost by that: its runs keep their checkpoints.
    """
    from .data.sources import prepare, prepare_by_name
    from .studies.execute import Execution
    from .studies.ledger import find_study
    from .studies.process import sole
    from .training.code import code_digest

    if dry_run and as_json:
        _fail("--dry-run: it is told in words; leave --json out")
    study, where = find_study(name, runs), place(on, runs)
    # What a file names is never taken for a path: others may bring files to the app.
    packed = prepare(data, progress=_show_progress) if data else prepare_by_name(study.base.data, _show_progress)
    if packed.name != study.base.data:  # under that name its runs are found, and its file has another
        typer.echo(f"'study report {name} --data \"{packed.name}\"' will tell what is found on these data", err=True)
    study = study.on(packed.name)
    if dry_run:
        _forecast(study, packed, runs, "" if any_code else code_digest(), where.at_once())
        return
    stop = _asked_to_end()
    execution = Execution(
        study, packed, _made(runs), "" if any_code else code_digest(), _StudyReport(where), stop, where
    )
    with sole(study.id, runs):
        found = execution.run()
    if execution.spent(found) and not found.finished:
        typer.echo(f"the budget of {study.budget_hours:g} h is spent; raise budget_hours to go on", err=True)
    _print_claims([study], runs, as_json)
    if not found.finished or found.unread or found.count("failed"):
        raise typer.Exit(1)


@study_app.command("report")
def study_report(
    name: StudyName,
    out: Annotated[Path | None, typer.Option(help="FILE.html, FILE.md, or FILE.zip, of one study")] = None,
    data: Annotated[str | None, typer.Option(help="the name of the data set that it was trained on instead")] = None,
    as_json: AsJson = False,
    runs: RunsFolder = RUNS,
) -> None:
    """What the runs of a study say so far; `ledger` is all that ship with the project. Nothing is trained."""
    from .report import study as study_document
    from .studies.ledger import LEDGER, find_study, results_of, shipped

    studies = list(shipped().values()) if name == LEDGER else [find_study(name, runs)]
    studies = [study.on(data) for study in studies] if data else studies
    if out:
        if name == LEDGER:
            _fail("--out: a report is of one study; name one of the ledger's")
        _check_report(out)
        _write(out, study_document(results_of(studies, runs)[0]).to_file(out.suffix))
        typer.echo(f"written to {out}", err=as_json)
    _print_claims(studies, runs, as_json)


class _StudyReport:
    """Says how far a study is, whenever that changes."""

    def __init__(self, where: Place) -> None:
        self.where, self.last = where, ""

    def __call__(self, found: Survey) -> None:
        failed = f", {found.count('failed')} failed" if found.count("failed") else ""
        line = f"{found.count('done')} of {found.study.count()} runs done{failed}"
        if line != self.last:
            left = found.time_left(self.where.at_once())
            typer.echo(f"{line}, {left}" if left else line, err=True)
            self.last = line


def _forecast(study: Study, packed: PackedSet, runs: Path, code: str, at_once: int) -> None:
    """How many runs a study takes, how many are there, and what the others take, by a few measured steps."""
    from .studies.forecast import cost_of, forecast, measurable, start_seconds
    from .studies.survey import Shelf, survey
    from .training.probe import estimate

    found = survey(study, Shelf(runs).runs(), packed.digest, code)
    arms = {} if found.finished else measurable(study)
    environment, costs = Queue(runs).environment(), {}
    start = start_seconds(environment) if arms else 0.0
    for number, (arm, config) in enumerate(arms.items(), start=1):
        typer.echo(f"measuring arm {number} of {len(arms)}: {arm.name or study.id}", err=True)
        threads = config.train.threads or environment["OMP_NUM_THREADS"]  # those of a run in the queue
        measured = estimate(config_on(config.with_settings({"train.threads": threads}), packed), packed)
        costs[arm] = cost_of(asdict(measured), start)
    typer.echo(forecast(found, costs, at_once))


def _print_claims(studies: list[Study], runs: Path, as_json: bool) -> None:
    """What studies found, a row for each comparison."""
    from .studies.ledger import results_of

    found = results_of(studies, runs)
    if as_json:
        _print_json({"claims": [row.to_json() for one in found for row in one.rows]})
    for one in found:
        if not as_json:
            typer.echo(one.study.title or one.study.id)
            if one.study.claim:
                typer.echo(f"  claim  {one.study.claim.says}")
            for row in one.rows:
                typer.echo(f"  {row.verdict.word:<17} {row.name}: {row.told}")
        for warning in one.warnings:
            typer.echo(f"  note: {one.study.id}: {warning}" if as_json else f"  note: {warning}", err=True)


def _queue(ids: list[str], runs: Path, act: Callable[[Queue, Run], None]) -> None:
    """Do something with runs of the queue, and say where each is then."""
    queue = Queue(runs)
    for run in [find_run(run_id, runs) for run_id in ids]:
        act(queue, run)
        typer.echo(f"{run.id}: {run.status().state}{_place_text(queue, run)}")


def _place_text(queue: Queue, run: Run) -> str:
    number = next((entry.place for entry in queue.entries() if entry.run == run), None)
    if number is None:
        status = run.status()
        return f", job {status.job} of Slurm" if status.job and status.state in LIVE else ""
    return f", number {number} in the queue" if number else ", at work"


def _pair(setting: str, option: str) -> tuple[str, str]:
    """FIELD=VALUE as its two parts. Raises ConfigError."""
    name, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"{option} {setting}: write FIELD=VALUE")
    return name.strip(), value


def _changes(settings: list[str], epochs: int | None, seed: int | None, freeze: str | None) -> dict[str, Any]:
    """What the options change in a config, by field."""
    changes: dict[str, Any] = dict(_pair(setting, "--set") for setting in settings)
    for name, value in changes.items():
        if name in DECIDED_ELSEWHERE:
            raise ConfigError(f"--set {name}={value}: {DECIDED_ELSEWHERE[name]}")
    given = {"train.epochs": epochs, "train.seed": seed, "train.freeze": freeze}
    return changes | {name: value for name, value in given.items() if value is not None}


def _chosen(
    preset: str | None, data: str, init: str | None, changes: dict[str, Any], runs: Path
) -> tuple[RunConfig, PackedSet, bytes]:
    """A training's config, its data, and the weights file that it begins from (b"": from random ones)."""
    from .data.sources import prepare
    from .training.engine import choose_device
    from .training.finetune import finetune_config

    if init is None:
        # Its name tells digits from photographs; the run takes the label of the packed set.
        config = preset_config(preset or "alexnet-32", (Path(data).name or data)[:120]).with_settings(changes)
        choose_device(config)  # a GPU that is not there is told before anything is written
        packed, weights = prepare(data, progress=_show_progress), b""
    else:
        if preset:
            _fail("--preset: a network that is fine-tuned stays what it is; leave --preset or --init out")
        weights, source = _weights(init, runs)
        choose_device(source.config.with_settings(changes))
        packed = prepare(data, progress=_show_progress)
        config = finetune_config(source, packed).with_settings(changes)
    _advise(packed, config)
    return config, packed, weights


def _advise(packed: PackedSet, config: RunConfig) -> None:
    """Say on stderr what may spoil a training on pictures of a user's own."""
    from .data.advice import advice
    from .data.sources import SOURCES

    _tell_skipped(packed)
    if packed.name not in SOURCES:
        for sentence in advice(packed, config.data):
            typer.echo(sentence, err=True)


def _made(runs: Path) -> Path:
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--runs={runs}: the folder cannot be made: {error.strerror}") from error
    return runs


def _picture(path: Path) -> Image:
    return read_image(_bytes(path), path.name)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from error


def _found(words: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """The pictures that files, folders and patterns mean, and whether each was named itself.

    Those that were named have the header of a picture. Raises ImageError.
    """
    from .data.tree import folder_tree

    for word in words:
        if word.is_dir():
            inside = [word / name for name in folder_tree(word).pictures("")]
        elif not word.exists() and glob.has_magic(str(word)):
            names = sorted(glob.glob(str(word), recursive=True))  # noqa: PTH207 (Path.glob takes no whole path)
            inside = [Path(name) for name in names if Path(name).is_file()]
        else:
            picture_size(_bytes(word), word.name)
            yield word, True
            continue
        if not inside:
            raise ImageError(f"{word}: there are no pictures")
        yield from ((path, False) for path in inside)


def _read_found(paths: Sequence[tuple[Path, bool]]) -> Iterator[tuple[Path, Image]]:
    """Of a folder or a pattern, what cannot be read is named on stderr and left out. Raises ImageError."""
    count = 0
    for done, (path, named) in enumerate(paths, 1):
        try:
            picture = _picture(path)
        except ImageError as error:
            if named:
                raise
            typer.echo(f"left out: {error}", err=True)
            continue
        count += 1
        yield path, picture
        _show_progress(done / len(paths), f"{done:,} of {len(paths):,} pictures")
    if not count:
        raise ImageError("none of these pictures can be read: use JPEG, PNG, GIF, WebP, BMP or TIFF")


def _read_labelled(pictures: Sequence[tuple[Path, int]]) -> Iterator[tuple[Image, int]]:
    """The pictures that can be read; the others are named on stderr."""
    for done, (path, label) in enumerate(pictures, 1):
        _show_progress(done / len(pictures), f"{done:,} of {len(pictures):,} pictures")
        try:
            yield _picture(path), label
        except ImageError as error:
            typer.echo(f"left out: {error}", err=True)


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        _fail(f"--out={path}: it cannot be written: {error.strerror}")


def _model(name: str, runs: Path) -> LoadedModel:
    return _weights(name, runs)[1]


def _config(name: str, runs: Path) -> RunConfig:
    """The config of a network of the catalogue, from its header alone, or of anybody's weights file."""
    if Path(name).is_file():
        return _model(name, runs).config
    return RunConfig.from_json(read_metadata(find_model(name, runs).path)["config"])


def _weights(name: str, runs: Path) -> tuple[bytes, LoadedModel]:
    """A weights file of ours and the network in it, by a name of the catalogue or the path of anybody's file."""
    from .weights import parse_weights
    from .weights_import import import_weights

    path = Path(name)
    if not path.is_file():
        data, label, title = find_weights(name, runs)
        return data, parse_weights(data, label, title, shown=label)
    try:
        read_metadata(path)
    except WeightsError:
        with tempfile.TemporaryDirectory() as folder:  # another project's file: read it into ours
            data = read_bytes(import_weights(path, path.name, Path(folder)))
            return data, parse_weights(data, path.stem, path.name, shown=path.name)
    data = read_bytes(path)
    return data, parse_weights(data, path.stem, shown=path.name)


def _target(text: str | None, loaded: LoadedModel) -> int | None:
    if text is None or text in loaded.classes:
        return None if text is None else loaded.classes.index(text)
    if text.isdecimal() and int(text) < len(loaded.classes):
        return int(text)
    shown = ", ".join(loaded.classes[:10]) + (", …" if len(loaded.classes) > 10 else "")
    _fail(f"--target={text}: allowed are 0 to {len(loaded.classes) - 1}, or a label: {shown}")


def _sheet(loaded: LoadedModel, picture: Image, maps: list[Attribution]) -> Any:
    """The picture as the network sees it and each map over it, under their titles, (H, W, 3) uint8."""
    import numpy as np
    from PIL import Image as PilImage

    from .inspection.mosaic import overlay, sheet

    crop = loaded.preprocessing.crop(picture).resize((SHEET_TILE, SHEET_TILE), PilImage.Resampling.NEAREST)
    seen = np.asarray(crop)
    drawn = [(METHODS[found.method].title, overlay(seen, found.map, found.signed)) for found in maps]
    return sheet([("What it saw", seen), *drawn], SHEET_COLUMNS)


def _show_progress(fraction: float, text: str) -> None:
    """Draw a bar over the last one, where somebody is looking."""
    if sys.stderr.isatty():
        bar = f"{'━' * int(fraction * BAR):·<{BAR}}"
        typer.echo(f"\r{bar} {fraction:4.0%} {text}\x1b[K", err=True, nl=fraction >= 1)


def _show_training(status: Status, row: dict[str, float] | None) -> None:
    if row and "val/top1_error" in row:
        left = f", {status.seconds_left:.0f} s left" if status.seconds_left else ""
        typer.echo(
            f"epoch {status.epoch:.0f}/{status.epochs}  train loss {row['epoch/train_loss']:.3f}  "
            f"val loss {row['val/loss']:.3f}  val error {row['val/top1_error']:.1%}  "
            f"{status.img_per_s or 0:.0f} img/s{left}",
            err=True,
        )


def _summary_line(status: Status) -> str:
    parts = [f"epoch {status.epoch:.4g}/{status.epochs}"]
    for name, label in (("val/top1_error", "val error"), ("test/top1_error", "test error")):
        if name in status.summary:
            parts.append(f"{label} {status.summary[name]:.1%}")
    return ", ".join(parts) + (f" ({status.message})" if status.message else "")


def _difference(value: object, baseline: object) -> str:
    if isinstance(value, float) and isinstance(baseline, float) and value != baseline:
        return f"  ({value - baseline:+.4f})"
    return ""


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


@bench_app.command("training")
def bench_training(
    data: Annotated[
        str,
        typer.Option(
            help="a data set's name, a folder or a zip of class folders; without it CIFAR-10, or the digits "
            "where that is neither here nor to be had"
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Our training loop against the textbook's, and against the network alone on one fixed batch. Takes minutes."""
    from . import bench
    from .data.sources import prepare

    packed = prepare(data, progress=_show_progress) if data else _cifar10_or_digits()
    results = list(bench.training(packed, lambda text: typer.echo(text, err=True)))
    if as_json:
        _print_json({"data": packed.name, "results": [result.to_json() for result in results]})
        return
    typer.echo(f"on {packed.name}:")
    for result in results:
        typer.echo(
            f"{result.preset}: {result.img_per_s:.0f} img/s, {result.img_per_s / result.textbook_img_per_s:.1f} times "
            f"the textbook loop, {result.img_per_s / result.fixed_batch_img_per_s:.0%} of the network alone"
        )


def _cifar10_or_digits() -> PackedSet:
    from .data.sources import prepare

    if here := [packed for packed in list_sets() if re.match("cifar-?10(?!0)", packed.name, re.IGNORECASE)]:
        return here[0]
    try:
        return prepare("cifar10", progress=_show_progress)
    except DataError as error:
        typer.echo(f"{error} The digits are taken instead.", err=True)
        return prepare("digits", progress=_show_progress)


@bench_app.command("attribution")
def bench_attribution(
    methods: Annotated[list[str] | None, typer.Argument(metavar="[METHOD…]", help="else all of them")] = None,
    as_json: AsJson = False,
) -> None:
    """The saliency methods on the network of 2012, each beside plain Captum and one pass. Takes minutes."""
    from .bench_attribution import attribution, in_words

    if unknown := [method for method in methods or () if method not in METHODS]:
        _fail(f"{unknown[0]}: there is no such method; there are {', '.join(METHODS)}")
    measured = attribution(lambda text: typer.echo(text, err=True), methods or tuple(METHODS))
    if as_json:
        _print_json(measured.to_json())
        return
    typer.echo(f"one pass forward and back: {measured.forward_backward_seconds:.3f} s")
    for result in measured.results:
        typer.echo(in_words(result))


@bench_app.command("listing")
def bench_listing(
    counts: Annotated[list[int] | None, typer.Argument(metavar="[N…]", help="how many runs; else 1000 10000")] = None,
    as_json: AsJson = False,
) -> None:
    """The list of so many runs: from the index, and against reading every run's files. Takes a minute."""
    from . import bench

    results = []
    for count in counts or (1000, 10_000):
        result = bench.listing(count, lambda text: typer.echo(text, err=True))
        results.append(result.to_json())
        if not as_json:
            typer.echo(
                f"{result.runs:,} runs: {result.indexed_seconds:.3f} s from the index, {result.again_seconds:.3f} s in "
                f"the same process again, {result.files_seconds:.2f} s from every run's files, "
                f"{result.rebuild_seconds:.2f} s to build the index"
            )
    if as_json:
        _print_json({"results": results})


@bench_app.command("metrics")
def bench_metrics(
    rows: Annotated[int, typer.Argument(min=1, help="rows of metrics")] = 100_000, as_json: AsJson = False
) -> None:
    """The metrics of a long run: all of them, and what was added since, against reading them line by line."""
    from . import bench

    result = bench.reading(rows, lambda text: typer.echo(text, err=True))
    if as_json:
        _print_json({"results": [result.to_json()]})
        return
    typer.echo(
        f"{result.rows:,} rows: {result.cold_seconds:.3f} s, {bench.ADDED_ROWS:,} more {result.added_seconds:.4f} s; "
        f"line by line {result.line_by_line_seconds:.3f} s"
    )


@app.command()
def script(
    preset: Preset = None,
    data: Data = "digits",
    init: Init = None,
    freeze: Freeze = None,
    settings: Settings = None,
    epochs: Epochs = None,
    seed: Seed = None,
    runs: RunsFolder = RUNS,
) -> None:
    """Print a plain PyTorch script of what `train` does with these options, on a CPU with the same loss."""
    from .script import plain_script

    changes = _changes(settings or [], epochs, seed, freeze)
    config, packed, _ = _chosen(preset, data, init, changes, runs)
    typer.echo(plain_script(config_on(config, packed), str(packed.folder)), nl=False)


@probe_app.command("estimate")
def probe_estimate(init: InitFile = None) -> None:
    """Parameters, speed, time and memory of a training, measured by a few steps of it."""
    asked = _asked_to_end()
    config, packed = _probed()
    from .training.probe import estimate

    with _memory_in_words():
        result = estimate(config, packed, asked, init)
    if not asked():
        _print_line({"result": asdict(result)})


@probe_app.command("rate")
def probe_rate(init: InitFile = None) -> None:
    """The learning-rate range test, a line for each batch."""
    asked = _asked_to_end()
    config, packed = _probed()
    from .training.probe import find_rate, suggest

    def tell(done: float, rate: float, loss: float) -> None:
        _print_line({"progress": done, "rate": rate, "loss": loss})

    with _memory_in_words():
        points = find_rate(config, packed, tell, asked, init)
    if not asked():
        _print_line({"result": {"points": points, "suggestion": suggest(points)}})


@probe_app.command("validation")
def probe_validation(run_id: Annotated[str, typer.Argument(metavar="ID")], runs: RunsFolder = RUNS) -> None:
    """The classes that the newest weights of a run give to its validation images; nothing is read from stdin."""
    asked = _asked_to_end()
    run = find_run(run_id, runs)
    from .training.validate import validate

    with _memory_in_words():
        result = validate(run, lambda share: _print_line({"progress": share}), asked)
    if result is not None:
        _print_line({"result": result})


def _asked_to_end() -> Callable[[], bool]:
    """Whether SIGTERM or Ctrl-C has come; from here on they no longer end the process by themselves."""
    came = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: came.set())
    return came.is_set


@contextmanager
def _memory_in_words() -> Iterator[None]:
    """Where memory runs out, one line says so."""
    from .training.engine import in_words

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if message := in_words(error):
            _fail(message)
        raise


def _probed() -> tuple[RunConfig, PackedSet]:
    """The config on stdin, with the classes of its data set, and that set."""
    config = RunConfig.from_json(sys.stdin.buffer.read())
    packed = find_set(config.data.name, config.data.digest)
    return config_on(config, packed), packed


def _print_line(value: object) -> None:
    typer.echo(json.dumps(value))


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1))


def _fail(message: str, exit_status: int = 2) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(exit_status)


def main() -> None:
    """Run the command line; faults that a user can mend end as one line on stderr and exit status 2."""
    give_way_when_told()
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:  # an option or argument that does not parse
        typer.echo(error.format_message(), err=True)
        sys.exit(2)
    except (ConfigError, DataError, ImageError, RunError, WeightsError) as error:
        typer.echo(" ".join(str(error).split()), err=True)
        sys.exit(2)
