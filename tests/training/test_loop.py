"""Training as a user meets it: it learns, it can be stopped and killed and goes on to the same weights, it says
why not.

What a run leaves behind is compared to the bit, but for its times.
"""

import errno
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image

from alexnet_explorer.config import RunConfig
from alexnet_explorer.data.batches import TrainingData
from alexnet_explorer.data.sources import prepare
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.runs import Run, RunError, new_run
from alexnet_explorer.training import checkpoint, engine, loop
from alexnet_explorer.training.code import code_digest
from alexnet_explorer.training.loop import train
from alexnet_explorer.training.optimiser import MomentumSGD
from alexnet_explorer.weights import load_weights
from alexnet_explorer.weights_file import WeightsError, read_layer, read_metadata

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(packed, small, tmp_path):
    """A new run on `packed`, not trained yet."""

    def build(**settings):
        return new_run(small(**settings), packed, tmp_path / "runs")

    return build


@pytest.fixture
def at_every_step(monkeypatch):
    """The run tells its state after every step, not every half second."""
    monkeypatch.setattr(loop, "STATUS_SECONDS", -1.0)


def rows(run):
    """The metrics without their times."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics()[0]]


def progress(run):
    """The counters of the checkpoint, but for times."""
    with safetensors.safe_open(run.state_file, "pt") as file:
        counters = json.loads(file.metadata()["progress"])
    return {name: value for name, value in counters.items() if name not in ("seconds", "metrics_bytes")}


def assert_same(one, other):
    """Both runs left the same weights, velocities, snapshots and metrics, to the bit."""
    mine, its = (safetensors.torch.load_file(run.state_file) for run in (one, other))
    assert mine.keys() == its.keys()
    assert [name for name in mine if not torch.equal(mine[name], its[name])] == []
    assert progress(one) == progress(other)
    assert one.snapshots().keys() == other.snapshots().keys()
    for file, its_file in zip(one.snapshots().values(), other.snapshots().values(), strict=True):
        assert file.read_bytes() == its_file.read_bytes(), file.name
    assert rows(one) == rows(other)


def stop_at(run, step):
    """A report that stops the run after that step."""

    def report(status, row):
        if status.state == "running" and status.step == step:
            run.request_stop()

    return report


def fails_at(count, error, function):
    """`function`, but its call number `count` raises."""
    calls = iter(range(1, 1_000_000))

    def wrapped(*arguments, **named):
        if next(calls) == count:
            raise error
        return function(*arguments, **named)

    return wrapped


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# A run that ends


def test_a_run_leaves_what_its_directory_is_to_hold(start, packed):
    run = start(train__epochs=5)
    reports = []
    status = train(run, lambda status, row: reports.append((status, row)))

    assert status.state == "done" and run.status() == status
    assert (status.epoch, status.epochs, status.step) == (5, 5, 30)
    assert (status.host, status.pid, status.message) == (socket.gethostname(), os.getpid(), "")
    assert status.seconds > 0 and status.img_per_s > 0 and status.seconds_left is None
    assert time.time() - status.heartbeat < 60
    assert not run.stop_file.exists()

    found = rows(run)
    assert [row for status, row in reports if row] == run.metrics()[0]
    assert [row["step"] for row in found] == sorted(row["step"] for row in found)
    validation = [row for row in found if "val/loss" in row]
    assert [(row["epoch"], row["images"]) for row in validation] == [(n, 108 * n) for n in range(1, 6)]
    assert [row for row in found if "test/loss" in row] == found[-1:]
    assert {"train/loss", "train/top1_error", "learning_rate"} <= found[0].keys()
    assert status.summary["test/top1_error"] == found[-1]["test/top1_error"]
    assert status.summary["best/val_top1_error"] == min(row["val/top1_error"] for row in validation)
    assert "test/top5_error" not in status.summary  # of three classes, five are always right

    assert list(run.snapshots()) == [0, 1, 2, 4, 5]
    env = json.loads((run.path / "env.json").read_bytes())
    assert (env["device"], env["precision"], env["threads"]) == ("cpu", "fp32", 1)
    assert env["versions"]["torch"] == version("torch")
    assert env["code"] == code_digest()
    assert run.config.data.digest == packed.digest and run.config.model.num_classes == 3


def test_the_first_snapshot_is_the_seeds_draw_and_the_last_one_the_checkpoint(start):
    run = start(train__seed=4)
    train(run)
    first = AlexNet(run.config.model)
    initialise(first, 4)
    last = safetensors.torch.load_file(run.state_file)
    for name, parameter in first.named_parameters():
        assert np.array_equal(read_layer(run.snapshots()[0], name), parameter.detach().half().float())
        assert np.array_equal(read_layer(run.snapshots()[3], name), last[f"model.{name}"].half().float())


def test_the_rows_of_an_epoch_add_up_to_it(start):
    run = start(train__batch_size=7, train__epochs=1)  # 16 steps, the last one of 3 images
    train(run)
    steps = [row for row in rows(run) if "train/loss" in row]
    epoch = next(row for row in rows(run) if "epoch/train_loss" in row)
    images = np.diff([0] + [row["images"] for row in steps])
    assert images.sum() == 108
    for name in ("loss", "top1_error"):
        mean = sum(n * row[f"train/{name}"] for n, row in zip(images, steps, strict=True)) / 108
        assert epoch[f"epoch/train_{name}"] == pytest.approx(mean)


def test_the_weights_predict_what_the_metrics_say(start, packed):
    run = start(train__epochs=8)
    status = train(run)
    loaded = load_weights(run.weights_file())
    right = loss = 0.0
    for pixels, label in zip(packed.images("test"), packed.labels("test"), strict=True):
        shares = loaded.model(loaded.preprocessing(Image.fromarray(pixels)))[0].softmax(0)
        right += int(shares.argmax()) == label
        loss -= math.log(shares[label])
    assert 1 - right / 45 == pytest.approx(status.summary["test/top1_error"], abs=1.01 / 45)  # half precision
    assert loss / 45 == pytest.approx(status.summary["test/loss"], rel=0.02)
    assert loaded.classes == packed.classes and loaded.trained_on == "colours"


def test_five_best_are_counted_where_there_are_more_than_five_classes(pack, data_root, small, tmp_path):
    packed = pack("seven", classes=tuple("abcdefg"), count=200)
    status = train(new_run(small(train__epochs=1), packed, tmp_path / "runs"))
    assert 0 <= status.summary["test/top5_error"] <= status.summary["test/top1_error"] <= 1


def test_a_set_without_test_images(pack, data_root, small, tmp_path):
    run = new_run(small(train__epochs=1), pack(test=0), tmp_path / "runs")
    assert train(run).state == "done" and not any("test/loss" in row for row in rows(run))


def test_only_the_layers_asked_for_are_kept_but_for_the_last_snapshot(start):
    run = start(train__snapshot_layers="conv1,fc5")
    train(run)
    kept = {epoch: json.loads(read_metadata(file)["layers"]) for epoch, file in run.snapshots().items()}
    assert kept == {0: ["conv1", "fc5"], 1: ["conv1", "fc5"], 2: ["conv1", "fc5"], 3: []}
    assert read_layer(run.snapshots()[1], "conv1.weight").shape == (6, 3, 3, 3)
    with pytest.raises(WeightsError):
        read_layer(run.snapshots()[1], "conv2.weight")


def test_the_same_config_gives_the_same_run(start, trained):
    one, other = start(), start(train__seed=1)
    train(one)
    train(other)
    assert_same(trained.relu, one)
    assert rows(one) != rows(other)


@pytest.mark.parametrize(
    "settings",
    [
        {"model__activation": "tanh", "model__pooling": "non-overlapping", "train__schedule": "plateau"},
        {"model__activation": "sigmoid", "model__lrn": "off", "model__dropout": 0, "train__schedule": "constant"},
        {"model__lrn_kind": "within-map", "model__init": "2012", "data__scaling": "2012", "train__schedule": "step"},
        {"train__precision": "bf16", "data__augmentation": "none", "train__schedule": "cosine"},
        {"model__in_channels": 1, "model__dropout_place": "before-fc", "train__batch_size": 1000},
    ],
)
def test_every_toggle_trains(start, settings):
    status = train(start(**settings, train__epochs=2, train__learning_rate=1e-4))
    assert status.state == "done" and math.isfinite(status.summary["val/loss"])


def test_a_network_learns_digits(data_root, tmp_path):
    config = RunConfig().with_settings(
        {
            "model.widths": "6,8,8,8,8", "model.fc_widths": "32", "model.dropout": 0.2, "model.bias_one": "",
            "train.epochs": 3, "train.batch_size": 16, "train.learning_rate": 0.02, "train.precision": "fp32",
            "train.device": "cpu", "train.threads": 1,
        }
    )  # fmt: skip
    status = train(new_run(config, prepare("digits"), tmp_path))
    assert status.state == "done"
    assert status.summary["val/top1_error"] < 0.2
    assert status.summary["test/top1_error"] < 0.2


# Clean passes, and an error at which it ends


def test_the_mean_of_the_last_weights_is_validated_and_kept_and_training_goes_on_from_the_weights(start, monkeypatch):
    after = []

    class Seen(MomentumSGD):
        def step(self, rate):
            super().step(rate)
            after.append([parameter.detach().clone() for parameter in self.parameters])

    monkeypatch.setattr(loop, "optimiser_for", lambda model, train: Seen(model.parameters(), 0.9, 5e-4))
    plain, averaged = start(), start(train__average=0.5)
    train(plain)
    steps, of_plain = len(after), list(after)
    after.clear()
    train(averaged)
    assert all(torch.equal(a, b) for one, other in zip(after, of_plain, strict=True)
               for a, b in zip(one, other, strict=True))  # fmt: skip
    assert len(after) == steps
    counted = after[round(steps * 0.5) :]
    kept = load_weights(averaged.weights_file()).model
    for place, weight in enumerate(kept.parameters()):
        mean = torch.stack([step[place] for step in counted]).mean(0)
        torch.testing.assert_close(weight.detach(), mean, rtol=1e-3, atol=1e-4)  # kept in half precision
    first, last = ([row["val/loss"] for row in rows(run) if "val/loss" in row] for run in (plain, averaged))
    assert first[0] == last[0] and first[-1] != last[-1]  # no step of the first epoch is counted


def test_clean_passes_come_evenly_and_leave_the_weights_alone(start):
    measured, plain = start(train__clean_passes=4, train__clean_images=50), start()
    train(measured), train(plain)
    clean = [row for row in measured.metrics()[0] if "clean/loss" in row]
    assert [row["step"] for row in clean] == [0, *(6 * epoch + step for epoch in range(3) for step in (2, 3, 4, 6))]
    assert [name for name in rows(plain)[0] if name.startswith("clean/")] == []
    assert [row for row in rows(measured) if "clean/loss" not in row] == rows(plain)
    assert measured.weights_file().read_bytes()[-1000:] == plain.weights_file().read_bytes()[-1000:]
    assert measured.status().summary["clean/loss"] == clean[-1]["clean/loss"]


def test_a_clean_pass_sees_training_images_as_validation_images_are_seen(start, packed):
    run = start(train__clean_passes=1, train__clean_images=50, train__epochs=1)
    train(run)
    data = TrainingData(packed, run.config, torch.device("cpu"), torch.float32)
    seen = data.indices["clean"]
    assert len(seen) == 50 and set(seen.tolist()) <= set(data.indices["train"].tolist())
    found = load_weights(run.weights_file())
    wrong = sum(int((found.model(batch.x).argmax(1) != batch.y).sum()) for batch in data.evaluation("clean"))
    last = [row for row in run.metrics()[0] if "clean/loss" in row][-1]
    assert last["clean/top1_error"] == pytest.approx(wrong / 50, abs=0.021)  # the file's weights are rounded
    whole = TrainingData(packed, start(train__clean_passes=1).config, torch.device("cpu"), torch.float32)
    assert torch.equal(whole.indices["clean"], whole.indices["train"])


@pytest.mark.parametrize("metric", ["val/top1_error", "clean/top1_error"])
def test_it_ends_with_the_epoch_in_which_the_error_is_reached(start, metric):
    settings = {"train__epochs": 30, "train__learning_rate": 0.003, "train__until": 0.4}
    run = start(train__clean_passes=2, train__until_metric=metric, **settings)
    status = train(run)
    found = run.metrics()[0]
    reached = next(row["epoch"] for row in found if row.get(metric, 1) <= 0.4)
    assert 1 < reached < 30 and status.state == "done"
    assert status.epoch == math.ceil(reached) == max(run.whole_snapshots())
    assert "test/top1_error" in found[-1] and train(run).epoch == status.epoch


def test_an_error_of_zero_ends_nothing_where_none_was_asked_for(start):
    run = start(train__epochs=12, data__augmentation="none")
    assert train(run).epoch == 12


# Stop and go on


@pytest.mark.parametrize(
    ("steps", "settings"),
    [
        # 22 steps an epoch and a row every second step: inside a row, at an epoch's ends, at the very end.
        ([1, 7, 21, 22, 23, 44], {"train__batch_size": 5, "train__epochs": 2}),
        # What the schedule has seen of the validation survives too.
        ([10, 19], {"train__schedule": "plateau", "train__patience": 1, "train__epochs": 5, "data__scaling": "2012"}),
        # Before the weights are averaged, at their first step and after it.
        ([8, 9, 10], {"train__average": 0.5, "train__epochs": 3}),
        # Right after a clean pass, and in the epoch that turns out to be the last one: 15 is where it is reached.
        (
            [3, 4, 15, 17],
            {
                "train__clean_passes": 2,
                "train__epochs": 9,
                "train__learning_rate": 0.003,
                "train__until": 0.46,
                "train__until_metric": "clean/top1_error",
            },
        ),
    ],
)
def test_a_stopped_run_goes_on_to_the_weights_of_one_never_stopped(start, at_every_step, steps, settings):
    whole, stopped = start(**settings), start(**settings)
    assert train(whole).state == "done"
    for step in steps:
        status = train(stopped, stop_at(stopped, step))
        assert (status.state, status.step, status.seconds_left) == ("stopped", step, None)
        assert stopped.status() == status and not stopped.stop_file.exists()
    assert train(stopped).state == "done"
    assert_same(whole, stopped)


def test_a_stopped_run_predicts_with_its_checkpoint(start, at_every_step):
    run = start()
    train(run, stop_at(run, 8))
    assert run.weights_file() == run.last_file and list(run.snapshots()) == [0, 1]
    predicting = load_weights(run.weights_file()).model.state_dict()
    kept = safetensors.torch.load_file(run.state_file)
    for name, weight in predicting.items():
        assert torch.equal(weight, kept[f"model.{name}"].half().float())
    train(run)
    assert run.weights_file() == run.snapshots()[3] and not run.last_file.exists()


def test_the_rate_falls_on_a_plateau_also_across_a_stop(start, at_every_step, monkeypatch):
    def flat(session, part, mistakes=None):
        return {f"{part}/loss": 1.0, f"{part}/top1_error": 0.5}

    monkeypatch.setattr(loop._Session, "_evaluate", flat)
    run = start(train__schedule="plateau", train__patience=1, train__epochs=6, train__learning_rate=0.01)
    train(run, stop_at(run, 15))
    train(run)
    rates = [row["learning_rate"] for row in rows(run) if "learning_rate" in row]
    assert rates[5::6] == pytest.approx([0.01, 0.01, 1e-3, 1e-4, 1e-5, 1e-5])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_its_checkpoint(start, trained, at_every_step, number):
    stopped = start()

    def report(status, row):
        if status.step == 8 and status.state == "running":
            os.kill(os.getpid(), number)

    assert train(stopped, report).state == "stopped" and progress(stopped)["step"] == 8
    assert train(stopped).state == "done"
    assert_same(trained.relu, stopped)


def test_a_stop_meant_for_an_earlier_process_stops_nothing(start):
    run = start(train__epochs=1)
    run.request_stop()
    os.utime(run.stop_file, (1e9, 1e9))
    assert train(run).state == "done"


def test_a_stop_asked_for_while_it_loads_stops_it(start):
    run = start()
    run.request_stop()
    assert (train(run).state, progress(run)["step"]) == ("stopped", 1)


def test_rows_after_the_checkpoint_and_a_torn_one_are_computed_again(start, trained, at_every_step):
    stopped = start()
    train(stopped, stop_at(stopped, 4))
    with (stopped.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "train/loss": 99}\n{"step": 6, "tra')
    train(stopped)
    assert_same(trained.relu, stopped)


def test_what_a_killed_process_had_half_written_is_removed(start):
    run = start(train__epochs=1)
    (run.path / "checkpoints" / ".state.safetensors.x1y2z3").write_bytes(b"half")
    train(run)
    assert [file.name for file in (run.path / "checkpoints").iterdir() if file.name.startswith(".")] == []


def test_time_goes_on_counting_after_a_stop(start, at_every_step):
    run = start()
    before = train(run, stop_at(run, 9)).seconds
    times = [status.seconds for status in [train(run, stop_at(run, 15)), train(run)]]
    assert 0 < before < times[0] < times[1]
    seconds = [row["seconds"] for row in run.metrics()[0]]
    assert seconds == sorted(seconds)


def test_a_finished_run_is_left_as_it_is(start):
    run = start(train__epochs=1)
    status = train(run)
    before = {file: file.stat().st_mtime_ns for file in run.path.rglob("*") if file.name != ".lease"}
    assert train(run) == status
    assert {file: file.stat().st_mtime_ns for file in run.path.rglob("*") if file.name != ".lease"} == before


def test_a_resumed_run_keeps_the_precision_it_began_with(start, at_every_step, monkeypatch):
    run = start(train__precision="auto")
    monkeypatch.setattr(engine, "bf16_pays", lambda config, device: True)
    train(run, stop_at(run, 5))
    monkeypatch.setattr(engine, "bf16_pays", lambda config, device: False)
    assert train(run).state == "done"
    assert json.loads((run.path / "env.json").read_bytes())["precision"] == "bf16"


def test_compiled_steps_are_trained_by_and_a_resumed_run_keeps_them(start, at_every_step, monkeypatch):
    calls = []

    def compiled(model):
        return lambda x: calls.append(len(x)) or model(x)

    monkeypatch.setattr(engine, "_compiled", compiled)
    run = start(train__compile="on")
    train(run, stop_at(run, 5))
    assert len(calls) == 5 and run.env()["compiled"] is True  # validation is not among them
    (run.path / "config.json").write_text(run.config.with_settings({"train.compile": "auto"}).to_json())
    assert train(Run(run.path)).state == "done"
    assert len(calls) == Run(run.path).status().step > 5
    assert Run(run.path).as_computed().train.compile == "on"


def test_a_network_that_cannot_be_compiled_ends_in_words(start, monkeypatch):
    from torch._inductor.exc import InvalidCxxCompiler

    def fail(x):
        raise InvalidCxxCompiler

    monkeypatch.setattr(engine, "_compiled", lambda model: fail)
    status = train(start(train__compile="on"))
    assert status.state == "failed" and "take train.compile=off" in status.message


def test_a_run_that_goes_on_elsewhere_keeps_what_computed_its_first_part(start, at_every_step, monkeypatch):
    run = start()
    train(run, stop_at(run, 5))
    first = run.env()
    assert [(part["from_step"], part["hardware"]) for part in first["sessions"]] == [(0, first["hardware"])]
    train(run, stop_at(run, 7))
    assert len(run.env()["sessions"]) == 1  # the same machine and code
    monkeypatch.setattr(engine, "_processor", lambda: "Another One")
    monkeypatch.setattr(engine.Engine.__dataclass_fields__["code"], "default_factory", lambda: "c0de")
    train(run, stop_at(run, 9))
    env = run.env()
    assert [(part["from_step"], part["hardware"], part["code"]) for part in env["sessions"]] == [
        (0, first["hardware"], code_digest()), (7, "Another One", env["code"]),
    ]  # fmt: skip
    assert env["hardware"] == "Another One" and env["versions"] == first["versions"]


def test_a_part_of_which_no_step_was_kept_is_no_part():
    first, second = {"hardware": "one", "processes": 1}, {"hardware": "two", "processes": 1}
    env = engine.noted([], first, 0)
    lost = engine.noted(env["sessions"], second, 30)
    assert [part["hardware"] for part in lost["sessions"]] == ["one", "two"]
    # Killed before its first checkpoint, and taken up by the first machine.
    assert engine.noted(lost["sessions"], first, 30) == env
    assert engine.noted(env["sessions"], second, 0)["sessions"] == [{**second, "from_step": 0}]


def test_the_queues_share_of_threads_counts_when_a_run_begins(start, at_every_step, monkeypatch):
    wide = start(train__threads=2)
    train(wide, stop_at(wide, 5))
    assert wide.env()["threads"] == 2
    monkeypatch.setenv("ALEXNET_EXPLORER_MOST_THREADS", "1")
    train(wide, stop_at(wide, 7))
    assert wide.env()["threads"] == 2 and torch.get_num_threads() == 2  # its bits depend on it
    capped = start(train__threads=2)
    train(capped, stop_at(capped, 5))
    assert capped.env()["threads"] == 1 and torch.get_num_threads() == 1
    assert capped.as_computed().train.threads == 1
    monkeypatch.setenv("ALEXNET_EXPLORER_MOST_THREADS", "4")
    train(capped)
    assert capped.env()["threads"] == 1


@pytest.fixture
def spawn(data_root):
    """Starts `python -m alexnet_explorer train --resume` as a process of its own."""

    def run_it(run):
        command = [sys.executable, "-m", "alexnet_explorer", "train", "--resume", run.id, "--runs", run.path.parent]
        return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run_it


def kill_after(process, run, lines):
    """SIGKILL once that many rows of metrics are there."""
    while process.poll() is None:
        written = run.path / "metrics.jsonl"
        if written.exists() and written.read_bytes().count(b"\n") >= lines:
            process.kill()
            break
        time.sleep(0.001)
    process.communicate()
    return process.returncode


def kill_and_resume(start, spawn, kills, **settings):
    whole, killed = start(**settings), start(**settings)
    train(whole)
    count = len(rows(whole))
    draw = random.Random(kills)
    for kill in range(kills):
        lines = count * (kill + 1) // (kills + 1) + draw.randrange(-2, 3)
        assert kill_after(spawn(killed), killed, lines) == -signal.SIGKILL
        assert killed.status().state == "interrupted"
    process = spawn(killed)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == killed.id
    assert killed.status().state == "done"
    assert_same(whole, killed)


@pytest.mark.timeout(600)
def test_a_killed_process_is_taken_up_by_another_to_the_same_weights(start, spawn):
    kill_and_resume(start, spawn, 2, train__batch_size=5, train__epochs=8)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_kills(start, spawn):
    kill_and_resume(start, spawn, 20, train__batch_size=2, train__epochs=40)


# A moment: the function at whose call (the first is 1) the process is killed, before it or after it, and a file that
# is cut short at that moment, as a file is that was being written.
FORWARD, UPDATE = "alexnet_explorer.model:AlexNet.forward", "alexnet_explorer.training.optimiser:MomentumSGD.step"
RENAME, ROW = "pathlib:Path.replace", "alexnet_explorer.training.loop:_Session._log"
MOMENTS = {
    "in the first batch": (FORWARD, 1, "before", ""),
    "in a forward pass": (FORWARD, 10, "before", ""),
    "between the gradients and the update": (UPDATE, 9, "before", ""),
    "between the update and its row": (UPDATE, 9, "after", ""),
    "in the middle of a row": (ROW, 10, "after", "metrics.jsonl"),
    "in the validation": ("alexnet_explorer.training.observe:Mistakes.add", 2, "before", ""),
    "while the status is written": (f"{RENAME} status.json", 2, "before", ".status.json.*"),
    "while the mistakes are written": (f"{RENAME} mistakes.json", 2, "before", ".mistakes.json.*"),
    "while a snapshot is written": (f"{RENAME} epoch-00002.safetensors", 1, "before", ".epoch-00002.safetensors.part"),
    "between a snapshot and the checkpoint": (f"{RENAME} epoch-00002.safetensors", 1, "after", ""),
    "while a checkpoint is written": (f"{RENAME} state.safetensors", 2, "before", ".state.safetensors.part"),
    "before a checkpoint takes its name": (f"{RENAME} state.safetensors", 2, "before", ""),
    "after a checkpoint took its name": (f"{RENAME} state.safetensors", 2, "after", ""),
    "between the last checkpoint and the end": (f"{RENAME} state.safetensors", 3, "after", ""),
}

KILLER = """
import importlib, os, signal, sys
from pathlib import Path
import alexnet_explorer.training.loop as loop
from alexnet_explorer.runs import Run

where, call, when, cut, folder = sys.argv[1:]
(where, _, file), left = where.partition(" "), int(call)
module, _, names = where.partition(":")
owner = importlib.import_module(module)
*path, name = names.split(".")
for part in path:
    owner = getattr(owner, part)
original = getattr(owner, name)

def die():
    if cut:
        file = next(Path(folder).rglob(cut))
        os.truncate(file, file.stat().st_size - 9)
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(*arguments, **settings):
    global left
    left -= not file or Path(arguments[1]).name == file
    hit = left == 0
    if hit and when == "before":
        die()
    result = original(*arguments, **settings)
    if hit:
        die()
    return result

setattr(owner, name, deadly)
loop.train(Run(Path(folder)))
"""


@pytest.fixture(scope="session")
def kill_table():
    """Takes lines, and prints them when the last kill is done."""
    lines = []
    yield lines
    if lines:
        print("\n\n| killed | step | goes on from step | lost, of an epoch of 6 |\n| --- | --- | --- | --- |")
        print("\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_moment_loses_an_epoch_at_most(start, trained, moment, kill_table):
    where, call, when, cut = MOMENTS[moment]
    killed = start()
    arguments = [where, str(call), when, cut, str(killed.path)]
    process = subprocess.run([sys.executable, "-c", KILLER, *arguments], cwd=PROJECT, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert killed.status().state == "interrupted"
    written = (killed.path / "metrics.jsonl").read_bytes() if killed.state_file.exists() or call > 1 else b""
    whole = [json.loads(line) for line in written.splitlines(keepends=True) if line.endswith(b"\n")]
    reached = max((row["step"] for row in whole), default=0)
    kept = progress(killed)["step"] if killed.state_file.exists() else 0
    assert 0 <= reached - kept <= 6
    kill_table.append(f"| {moment} | {reached} | {kept} | {reached - kept} steps |")
    assert train(killed).state == "done"
    assert_same(trained.relu, killed)
    assert {file.name for file in killed.path.rglob(".*")} <= {".lease"}  # nothing half written is left


# What stands against it


def test_a_second_writer_is_kept_out(start):
    run = start(train__epochs=1)
    with run.lease().acquire(), pytest.raises(RunError, match="is being trained by another process"):
        train(run)
    assert run.status().state == "queued"
    assert train(run).state == "done"


def test_a_run_of_the_gallery_is_not_trained(start, monkeypatch):
    run = start()
    monkeypatch.setattr("alexnet_explorer.runs.GALLERY", run.path.parent)
    with pytest.raises(RunError, match="ships with the project"):
        train(run)


def test_a_data_set_that_is_gone_ends_it_in_words_and_it_goes_on_once_it_is_back(
    start, trained, packed, pack, at_every_step
):
    run = start()
    train(run, stop_at(run, 8))
    shutil.rmtree(packed.folder)
    status = train(run)
    assert status.state == "failed" and "'colours' is not on this machine" in status.message
    assert run.status() == status
    pack()
    assert train(run).state == "done"
    assert_same(trained.relu, run)


def test_other_images_under_the_same_name_are_not_trained_on(start, packed, pack):
    run = start()
    shutil.rmtree(packed.folder)
    pack(seed=1)
    status = train(run)
    assert status.state == "failed" and "other images" in status.message


@pytest.mark.parametrize(
    ("owner", "name", "call"), [(checkpoint, "write_tensors", 2), (loop, "save_weights", 3), (Run, "write_status", 20)]
)
def test_a_full_disk_ends_it_in_words_with_its_checkpoint_whole(
    start, trained, at_every_step, monkeypatch, owner, name, call
):
    run = start()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fails_at(call, FULL, getattr(owner, name)))
        status = train(run)
    assert status.state == "failed" and "the disk is full" in status.message
    assert progress(run)["epoch"] == 1
    assert train(run).state == "done"
    assert_same(trained.relu, run)


def test_where_not_even_the_reason_can_be_written_it_is_still_told(start, monkeypatch):
    run = start()

    def full(*arguments):
        raise FULL

    monkeypatch.setattr(Run, "write_status", full)
    told = []
    status = train(run, lambda status, row: told.append(status))
    assert status.state == "failed" and "the disk is full" in status.message and told == [status]


def test_a_loss_that_is_not_a_number_names_the_learning_rate(start):
    run = start(train__learning_rate=100, train__schedule="constant", train__epochs=30, model__lrn="off")
    status = train(run)
    assert status.state == "failed" and "lower train.learning_rate" in status.message
    assert run.status() == status
    assert all(math.isfinite(value) for row in rows(run) for value in row.values())


def test_weights_that_are_lost_in_the_last_step_are_no_finished_run(start, monkeypatch):
    run = start(train__epochs=1)
    step = MomentumSGD.step

    def lose(optimiser, rate):
        step(optimiser, rate)
        if run.status().step == 5:  # the last of six is under way
            optimiser.parameters[0].data.fill_(math.nan)

    monkeypatch.setattr(loop, "STATUS_SECONDS", -1.0)
    monkeypatch.setattr(MomentumSGD, "step", lose)
    status = train(run)
    assert status.state == "failed" and "train.learning_rate" in status.message
    assert list(run.snapshots()) == [0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(start):
    status = train(start(train__device="cuda"))
    assert status.state == "failed" and "train.device=cuda" in status.message


def test_a_fault_of_the_program_is_written_down_and_not_hidden(start, monkeypatch):
    run = start()

    def broken(*arguments):
        raise KeyError("a fault")

    monkeypatch.setattr(loop, "learning_rate", broken)
    with pytest.raises(KeyError):
        train(run)
    assert run.status().state == "failed" and "a fault" in run.status().message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_that_cannot_be_written_says_so(start):
    run = start()
    run.path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="cannot be written"):
            train(run)
    finally:
        run.path.chmod(0o700)
