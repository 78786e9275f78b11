"""What is told before a training begins is what then happens."""

import json
import math
import os
import resource
import subprocess
import sys
from collections import namedtuple
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from alexnet_explorer import cli
from alexnet_explorer.data.batches import preprocessing_for
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.runs import config_on, new_run
from alexnet_explorer.training import probe
from alexnet_explorer.training.finetune import new_finetune
from alexnet_explorer.training.loop import train
from alexnet_explorer.training.probe import Point, estimate, find_rate, smoothed, suggest, turning_rate
from alexnet_explorer.weights import save_weights
from alexnet_explorer.weights_file import digest_of, read_bytes

PROJECT = Path(__file__).resolve().parents[2]


def start(*arguments, module=True, memory=0):
    """`memory`: bytes that the process may ask the system for, if it is not 0."""
    command = [sys.executable, *(["-m", "alexnet_explorer", "probe"] if module else ["-c"]), *arguments]
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (memory, memory)) if memory else None
    return subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=limit,
    )  # fmt: skip


# The estimate


def test_the_load_of_others_is_what_is_busy_but_for_this_process(monkeypatch):
    Times = namedtuple("Times", "user nice system idle iowait guest guest_nice")
    machine = iter([Times(10, 0, 5, 100, 3, 1, 0), Times(22, 1, 6, 110, 4, 2, 0)])
    own = iter([namedtuple("Own", "user system")(4, 1), namedtuple("Own", "user system")(9, 2)])
    clock = iter([50.0, 58.0])
    monkeypatch.setattr(probe.psutil, "cpu_times", lambda: next(machine))
    monkeypatch.setattr(probe.psutil.Process, "cpu_times", lambda self: next(own))
    monkeypatch.setattr(probe.time, "perf_counter", lambda: next(clock))
    # In 8 s the cores were busy for 14 s, a guest's second being one of `user`'s, and 6 of them by this process.
    assert probe.Load().of_others() == pytest.approx((14 - 6) / 8)


def test_the_estimate_of_a_process_of_its_own_is_what_a_run_takes(data_root, pack, small, tmp_path):
    """A network whose feature maps take some hundred megabytes, so that they count beside PyTorch itself."""
    packed = pack(count=150, test=0, size=32)
    settings = {"model__input_size": 32, "model__widths": "64,16,8", "train__batch_size": 128, "train__epochs": 1}
    config = config_on(small(**settings), packed)
    process = start("estimate")
    out, err = process.communicate(config.to_json(), timeout=150)
    assert process.returncode == 0, err
    result = json.loads(out)["result"]

    run = new_run(config, packed, tmp_path / "runs")
    code = (
        "import sys; from pathlib import Path; from alexnet_explorer.runs import Run\n"
        "from alexnet_explorer.training.loop import train; from alexnet_explorer.training.probe import peak_memory\n"
        f"print(train(Run(Path({str(run.path)!r}))).state, peak_memory())"
    )
    process = start(code, module=False)
    out, err = process.communicate(timeout=150)
    state, peak = out.split()
    assert state == "done", err
    assert result["memory_bytes"] == pytest.approx(int(peak), rel=0.3)
    assert result["parameters"] == sum(p.numel() for p in AlexNet(config.model).parameters())
    assert (result["device"], result["precision"], result["threads"]) == ("cpu", "fp32", 1)
    assert result["gpu_memory_bytes"] == 0
    images = 150 - 15
    assert result["epoch_seconds"] > images / result["img_per_s"] > 0
    assert result["total_seconds"] == pytest.approx(result["epoch_seconds"])


def test_an_estimate_leaves_nothing_and_ends_when_asked(packed, small, data_root, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 1000.0)  # it would never end by itself
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    there = sorted(tmp_path.rglob("*"))
    found = estimate(config_on(small(), packed), packed, stopping=lambda: True)
    assert found.img_per_s > 0 and all(math.isfinite(v) for v in asdict(found).values() if isinstance(v, float))
    assert sorted(tmp_path.rglob("*")) == there


# The rate


def descent(curvature):
    """The range test on a parabola whose batches have minima about its own: it diverges from 2 / curvature on."""
    rng, w, points = np.random.default_rng(0), 1.0, []
    for rate in np.geomspace(probe.LOWEST_RATE, probe.HIGHEST_RATE, probe.RATE_STEPS):
        error = w - rng.normal(0, 0.05)
        points.append(Point(rate, curvature * error**2 / 2))
        w -= rate * curvature * error
        curve = smoothed([point.loss for point in points])
        if curve[-1] > probe.DIVERGED * min(curve):
            break
    return points


@pytest.mark.parametrize("curvature", [0.5, 3.0, 40.0, 1000.0])
def test_on_a_parabola_the_suggestion_is_a_good_share_of_the_largest_rate_that_converges(curvature):
    points = descent(curvature)
    assert 2 / curvature < turning_rate(points) < 6 / curvature or turning_rate(points) == points[-1].rate
    assert 0.05 / curvature < suggest(points) < 1 / curvature
    assert suggest(points) == float(f"{suggest(points):.2g}")


def test_no_rate_is_suggested_where_none_lowers_the_loss():
    rng = np.random.default_rng(0)
    rates = np.geomspace(probe.LOWEST_RATE, probe.HIGHEST_RATE, probe.RATE_STEPS)
    assert suggest([Point(rate, 2.3 + 0.02 * rng.normal()) for rate in rates]) is None
    assert suggest([Point(rate, 2.3) for rate in rates[: probe.EARLY]]) is None
    assert suggest([]) is None


def test_smoothed_is_the_mean_with_weights_that_fade():
    losses = [3.0, 1.0, 4.0, 1.0, 5.0]
    weights = probe.SMOOTHING ** np.arange(5)[::-1]
    assert smoothed(losses)[-1] == pytest.approx(np.average(losses, weights=weights))
    assert smoothed(losses)[0] == 3.0


def test_the_suggested_rate_trains_and_ten_times_the_turning_rate_does_not(packed, small, tmp_path):
    config = config_on(small(train__schedule="constant", train__epochs=12), packed)
    told = []
    points = find_rate(config, packed, lambda done, rate, loss: told.append((done, rate, loss)))
    assert [Point(rate, loss) for _, rate, loss in told] == points
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told) and told[-1][0] <= 1
    last = {}
    for name, rate in (("suggested", suggest(points)), ("far too high", 10 * turning_rate(points))):
        run = new_run(config.with_settings({"train.learning_rate": rate}), packed, tmp_path)
        status = train(run)
        last[name] = status.summary["epoch/train_loss"] if status.state == "done" else math.inf
    assert last["suggested"] < 0.8 * math.log(3)
    assert last["far too high"] > 0.95 * math.log(3)


def test_its_first_loss_is_that_of_the_training_fine_tuned_or_not(packed, small, tmp_path):
    """The same weights, images, augmentation and dropout; the rate comes after the first loss."""
    config = config_on(small(train__epochs=1, model__dropout=0.5), packed)
    model = AlexNet(config.model)
    initialise(model, 3)
    save_weights(tmp_path / "source.safetensors", model, preprocessing_for(packed, config), packed.classes, config)
    weights = read_bytes(tmp_path / "source.safetensors")
    tuned = config.with_settings({"train.init": f"source@{digest_of(weights)}", "train.freeze": "conv1"})
    runs = new_run(config, packed, tmp_path / "runs"), new_finetune(tuned, packed, weights, tmp_path / "runs")
    first = []
    for run, init in zip(runs, (None, runs[1].init_file), strict=True):
        points = find_rate(run.config, packed, stopping=lambda: True, init=init)
        assert len(points) == 1  # as asked, after a batch
        train(run)
        assert points[0].loss == pytest.approx(run.metrics()[0][0]["train/loss"], rel=1e-6)
        first.append(points[0].loss)
    assert first[0] != pytest.approx(first[1], rel=1e-3)


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM")
def test_the_command_tells_each_batch_and_ends_cleanly_when_asked(packed, small):
    config = small(train__batch_size=60, model__widths="32,32,32")
    process = start("rate")
    process.stdin.write(config.to_json())
    process.stdin.close()
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert lines[0].keys() == {"progress", "rate", "loss"} and lines[1]["progress"] == 0.02
    process.terminate()
    rest = process.stdout.read().splitlines()
    assert process.wait(timeout=60) == 0 and process.stderr.read() == ""
    assert all("progress" in json.loads(line) for line in rest)


def test_a_data_set_that_is_not_there_is_told_in_a_line(data_root, small, capsys, monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text(small().to_json())
    monkeypatch.setattr(sys, "argv", ["alexnet_explorer", "probe", "estimate"])
    with (tmp_path / "config.json").open() as file, pytest.raises(SystemExit) as end:
        monkeypatch.setattr(sys, "stdin", file)
        cli.main()
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and "'colours' is not on this machine" in err and err.count("\n") == 1


def test_a_network_that_no_memory_holds_is_told_in_a_line(packed, small):
    large = {"model__widths": "8,4096,4096", "model__kernels": "3,3,11", "model__paddings": "1,1,5"}  # 8 GB of weights
    process = start("estimate", memory=8 * 2**30)
    out, err = process.communicate(small(**large).to_json(), timeout=150)
    assert (process.returncode, out) == (2, "") and err == "not enough memory: take a smaller train.batch_size\n"
