"""The run directory: what is read from it, however damaged it is, and what it says of the process that writes it."""

import errno
import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from filelock import Timeout

from alexnet_explorer import runs as module
from alexnet_explorer.config import MODEL_PRESETS, RunConfig, TrainConfig, preset_config
from alexnet_explorer.runs import (
    Mistake,
    Mistakes,
    Run,
    RunError,
    Status,
    create_run,
    differences,
    find_run,
    list_runs,
    new_run,
    run_title,
    summarise,
    this_process,
)

PROJECT = Path(module.__file__).resolve().parents[1]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def run(root):
    return create_run(RunConfig(), root)


def test_a_new_run_waits_with_its_config(root):
    config = preset_config("alexnet-64", "CIFAR-10 (JPEG copy)").with_settings({"train.epochs": 7})
    run = create_run(config, root)
    assert run.path.parent == root and "alexnet-64-cifar-10-jpeg-copy" in run.id
    assert run.config == config
    assert run.status() == Status(state="queued", epochs=7)
    assert [path.name for path in root.iterdir()] == [run.id]
    assert create_run(config, root).id != run.id
    assert (run.metrics(), run.snapshots(), run.weights_file()) == (([], 0), {}, None)


def test_a_run_takes_classes_and_digest_from_its_data(root, packed):
    run = new_run(RunConfig(), packed, root)
    assert run.config.model.num_classes == 3
    assert (run.config.data.name, run.config.data.digest) == (packed.name, packed.digest)


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be created in .*file.*--runs"):
        create_run(RunConfig(), tmp_path / "file")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(RunError, match="No space left"):
        create_run(RunConfig(), tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


# Metrics


def test_a_torn_last_line_is_left_for_the_next_call(run):
    file = run.path / "metrics.jsonl"
    file.write_text('{"step": 1, "train/loss": 2.5}\n{"step": 2, "tr')
    rows, offset = run.metrics()
    assert rows == [{"step": 1, "train/loss": 2.5}]
    assert run.metrics(offset) == ([], offset)
    file.write_text('{"step": 1, "train/loss": 2.5}\n{"step": 2, "train/loss": 2.25}\n{"step": 3')
    rows, offset = run.metrics(offset)
    assert [row["step"] for row in rows] == [2]
    with file.open("a") as end:
        end.write("}\n")
    assert run.metrics(offset)[0] == [{"step": 3}]


def test_reading_on_inside_a_line_is_an_error_and_not_half_a_row(run):
    (run.path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 2.5}\n')
    with pytest.raises(RunError, match=f"{run.id}.*damaged"):
        run.metrics(5)
    assert run.metrics(1000) == ([], 1000)  # cut short meanwhile


# Damage


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model": 3}', '{"train": {"epochs": "x"}}', "\xff\x00"])
def test_a_damaged_config_is_a_runerror_of_one_line(run, text):
    (run.path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=run.id) as refusal:
        _ = Run(run.path).config
    assert len(str(refusal.value).splitlines()) == 1
    assert [found.id for found in list_runs(run.path.parent, gallery=False)] == [run.id]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "5", '{"state": "asleep"}', '{"state": "running", "pid": "x"}', '{"epoch": "x"}',
     '{"summary": null}', '{"summary": {"val/loss": "low"}}', "\xff\x00"],
)  # fmt: skip
def test_a_damaged_status_is_a_failed_run_that_says_so_in_one_line(run, text):
    (run.path / "status.json").write_bytes(text.encode("latin-1"))
    status = run.status()
    assert status.state == "failed" and "status.json" in status.message and len(status.message.splitlines()) == 1
    assert replace(status, state="queued", message="") == Status()


def test_a_status_that_is_gone_or_has_a_newer_field(run):
    (run.path / "status.json").write_text(json.dumps({**asdict(Status(state="done", epoch=3)), "mood": "fine"}))
    assert run.status() == Status(state="done", epoch=3)
    (run.path / "status.json").unlink()
    assert run.status().state == "failed" and "No such file" in run.status().message


def test_only_directories_with_a_config_are_runs(root, run):
    (root / "notes.txt").touch()
    (root / "empty").mkdir()
    (root / ".models").mkdir()
    (root / ".models" / "config.json").touch()
    assert [found.id for found in list_runs(root, gallery=False)] == [run.id]
    assert list_runs(root / "nowhere", gallery=False) == list_runs(root / "notes.txt", gallery=False) == []


def test_runs_come_newest_first_then_the_gallerys(root, run, tmp_path, monkeypatch):
    (root / "20200101-000000-alexnet-32-digits-0000").mkdir()
    (root / "20200101-000000-alexnet-32-digits-0000" / "config.json").touch()
    monkeypatch.setattr(module, "GALLERY", tmp_path / "gallery")
    shipped = create_run(RunConfig(), tmp_path / "gallery")
    found = list_runs(root)
    assert [one.id for one in found] == [run.id, "20200101-000000-alexnet-32-digits-0000", shipped.id]
    assert [one.in_gallery for one in found] == [False, False, True]
    with pytest.raises(RunError, match="ships with the project"):
        shipped.request_stop()
    assert find_run(shipped.id, root) == shipped


@pytest.mark.parametrize(
    "wrong", ["", ".", "..", "../x", "/etc", "a/b", "a\\b", ".hidden", "a\n", "x" * 5000, "Ä", "a\0b", "nothing"]
)
def test_an_id_is_a_name_and_never_a_path(root, run, wrong):
    for place in (root / "x", root.parent / "x"):
        place.mkdir(exist_ok=True)
        (place / "config.json").touch()
    with pytest.raises(RunError, match="there is no run"):
        find_run(wrong, root)
    assert find_run(run.id, root) == run


def test_snapshots_come_in_order_and_other_files_are_none(run):
    for name in ("epoch-100000", "epoch-00008", "epoch-65536", "epoch-best", "last", ".epoch-00009"):
        (run.path / "checkpoints" / f"{name}.safetensors").touch()
    assert list(run.snapshots()) == [8, 65536, 100000]
    assert run.whole_snapshots() == {}  # empty files are none
    run.last_file.unlink()
    assert run.weights_file() is None


# Who writes it


def python(code):
    """Another process that runs `code`."""
    return subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE)


@pytest.fixture
def ended():
    """A process that is there no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def running(**fields):
    return Status(**{"state": "running", "heartbeat": time.time(), **this_process(), **fields})


def test_a_live_process_is_running(run):
    run.write_status(running())
    assert run.status() == Status(**json.loads((run.path / "status.json").read_text()))
    assert run.status().state == "running"
    assert running(heartbeat=0.0).seen_from_here().state == "running"  # in one long batch, say


def test_a_dead_process_is_interrupted_and_can_be_resumed(run, ended):
    run.write_status(running(pid=ended))
    status = run.status()
    assert status.state == "interrupted" and "can be resumed" in status.message
    assert json.loads((run.path / "status.json").read_text())["state"] == "running"  # reading writes nothing


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(process.pid).create_time()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert running(pid=process.pid, pid_started=started).seen_from_here().state == "interrupted"
    process.wait()


def test_another_process_under_the_same_number_is_not_the_runs():
    other = this_process()["pid_started"] - 5000
    assert running(pid_started=other, heartbeat=time.time() - 4000).seen_from_here().state == "interrupted"
    # The clock was set: the start that the system reports moved, the process goes on writing.
    assert running(pid_started=other).seen_from_here().state == "running"


def test_on_another_host_a_silent_run_is_interrupted(ended):
    there = {"host": socket.gethostname() + "-other", "pid": ended}
    assert running(**there).seen_from_here().state == "running"
    assert running(**there, heartbeat=time.time() - 600).seen_from_here().state == "interrupted"


def test_a_process_that_ended_before_it_began_points_to_its_log(ended):
    status = replace(running(pid=ended), state="queued").seen_from_here()
    assert status.state == "failed" and "log.txt" in status.message
    assert Status().seen_from_here().state == "queued"


@pytest.mark.parametrize("state", ["done", "stopped", "failed", "paused"])
def test_a_run_at_rest_stays_what_it_is(ended, state):
    assert replace(running(pid=ended), state=state).seen_from_here().state == state


def test_the_lease_keeps_a_second_holder_out_and_ends_with_its_process(run):
    process = python(
        "from pathlib import Path; from alexnet_explorer.runs import Run\n"
        f"lease = Run(Path({str(run.path)!r})).lease().acquire()\n"
        "print('held', flush=True); import time; time.sleep(60)"
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(Timeout):
        run.lease().acquire()
    process.kill()
    process.communicate()
    with run.lease().acquire():
        pass


# What is shown of runs


def test_a_title_names_what_differs_from_the_preset():
    assert run_title(preset_config("alexnet-32")) == "alexnet-32 · digits"
    config = preset_config("alexnet-32", "CIFAR-10", num_classes=10).with_settings(
        {"model.activation": "tanh", "model.lrn": False, "model.fc_widths": "128,64", "model.towers": 2}
    )
    assert run_title(config) == "alexnet-32 · fc_widths 128,64 · tanh · towers 2 · no lrn · CIFAR-10"
    assert run_title(config.model_copy(update={"model": MODEL_PRESETS["alexnet-64"]})) == "alexnet-64 · CIFAR-10"


def test_a_title_that_is_too_long_says_how_much_was_left_out():
    config = preset_config("alexnet-32", "CIFAR-10").with_settings(
        {"model.fc_widths": [128, 64], "model.activation": "tanh", "model.towers": 2}
    )
    whole = run_title(config)
    assert run_title(config, len(whole)) == whole == "alexnet-32 · fc_widths 128,64 · tanh · towers 2 · CIFAR-10"
    assert run_title(config, len(whole) - 1) == "alexnet-32 · fc_widths 128,64 · tanh · 1 more · CIFAR-10"
    assert run_title(config, 40) == run_title(config, 5) == "alexnet-32 · 3 more · CIFAR-10"


def test_a_summary_is_the_last_value_of_each_metric_and_the_best_validation():
    rows = [{"step": 1, "train/loss": 2.0}, {"step": 2, "val/top1_error": 0.4}, {"step": 4, "val/top1_error": 0.3}]
    first = summarise(rows)
    assert first == {"train/loss": 2.0, "val/top1_error": 0.3, "best/val_top1_error": 0.3}
    again = summarise([{"step": 6, "val/top1_error": 0.5, "train/loss": 1.0}], first)
    assert again == {"train/loss": 1.0, "val/top1_error": 0.5, "best/val_top1_error": 0.3}
    assert first["val/top1_error"] == 0.3


def test_differences_are_the_fields_that_are_not_the_same_everywhere():
    one = RunConfig()
    two = one.with_settings({"model.activation": "tanh", "model.fc_widths": "8"})
    three = one.model_copy(update={"train": TrainConfig(seed=3)})
    assert differences({"a": one, "b": two, "c": three}) == {
        "model.fc_widths": {"a": [256, 256], "b": [8], "c": [256, 256]},
        "model.activation": {"a": "relu", "b": "tanh", "c": "relu"},
        "train.seed": {"a": 0, "b": 0, "c": 3},
    }
    assert differences({"a": one, "b": RunConfig()}) == differences({}) == {}


def test_a_run_knows_who_computed_its_parts(run):
    assert run.sessions() == run.codes() == []  # it has not begun
    old = {"device": "cpu", "precision": "fp32", "threads": 1, "code": "c0de"}
    (run.path / "env.json").write_text(json.dumps(old))
    assert run.sessions() == [{**old, "processes": 1, "from_step": 0}] and run.codes() == ["c0de"]
    parts = [{**old, "code": code, "from_step": step} for step, code in ((0, "c0de"), (7, "d1ff"), (9, "c0de"))]
    (run.path / "env.json").write_text(json.dumps({**old, "sessions": parts}))
    assert run.sessions() == parts and run.codes() == ["c0de", "d1ff"]
    for damage in ("[", '{"code": "c0de", "sessions": 3}', '{"code": "c0de", "sessions": [{"from_step": "x"}]}'):
        (run.path / "env.json").write_text(damage)
        assert run.codes() == ([] if damage == "[" else ["c0de"])


def test_what_the_machine_settled_is_part_of_what_was_computed(run):
    assert run.as_computed() == run.config and run.config.train.precision == "auto"
    env = {"device": "cpu", "precision": "bf16", "threads": 3, "hardware": "abacus", "versions": {}}
    (run.path / "env.json").write_text(json.dumps(env))
    found = differences({"asked": run.config, "computed": run.as_computed()})
    assert {name: values["computed"] for name, values in found.items()} == {
        "train.device": "cpu", "train.precision": "bf16", "train.threads": 3,
    }  # fmt: skip
    (run.path / "env.json").write_text(json.dumps({**env, "compiled": True}))
    assert run.as_computed().train.compile == "on"
    for damage in ("[]", "{", '{"device": "cpu", "precision": "fp8", "threads": 1}', "{}"):
        (run.path / "env.json").write_text(damage)
        with pytest.raises(RunError, match=f"run {run.id}: its env.json cannot be read"):
            run.as_computed()


def test_a_run_that_nobody_works_on_is_settled_in_a_state(run, ended):
    run.write_status(running(pid=ended, step=7, seconds_left=3.0))
    run.settle("paused", "as asked")
    status = run.status()
    assert (status.state, status.message, status.step, status.seconds_left) == ("paused", "as asked", 7, None)
    assert not status.at_work
    for write in (lambda: run.settle("stopped"), run.delete):
        run.write_status(running())
        with pytest.raises(RunError, match="at work already"):
            write()
    assert run.status().state == "running"


def test_the_process_is_told_in_which_state_to_end(run):
    assert run.stop_requested() is None
    for state in ("paused", "stopped"):
        run.request_stop(state)
        assert run.stop_requested() == state
    run.stop_file.unlink()
    run.stop_file.touch()  # by hand
    assert run.stop_requested() == "stopped"


def test_a_deleted_run_is_gone_from_the_runs_and_whole_in_the_trash(run, root):
    (run.path / "checkpoints" / "epoch-00001.safetensors").touch()
    deleted = run.delete()
    assert list_runs(root, gallery=False) == [] and not run.exists()
    assert deleted.id == run.id and list(deleted.snapshots()) == [1]


def test_a_status_file_is_replaced_as_a_whole(run):
    """A reader that comes at any moment sees a whole status."""
    process = python(
        "from pathlib import Path; from alexnet_explorer.runs import Run, Status\n"
        f"run, step = Run(Path({str(run.path)!r})), 0\n"
        "while not run.stop_file.exists():\n"
        "    step += 1\n"
        "    run.write_status(Status(state='done', step=step, message='x' * (step % 7) * 5000))"
    )
    seen = set()
    while len(seen) < 20 and process.poll() is None:
        status = run.status()
        seen.add((status.state, status.step, len(status.message)))
    run.request_stop()
    process.communicate()
    assert process.returncode == 0 and len(seen) == 20
    assert all(state in ("queued", "done") and length == step % 7 * 5000 for state, step, length in seen)
    assert not [path for path in run.path.iterdir() if path.name.startswith(".status")]


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_a_status_that_cannot_be_read_for_a_moment_is_asked_for_again(run, monkeypatch, number):
    read, refused = Path.read_bytes, []

    def lag(file):
        if file.name == "status.json" and len(refused) < most:
            refused.append(file)
            raise OSError(number, "it lags")
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", lag)
    monkeypatch.setattr(module, "STATUS_PAUSE_SECONDS", 0.0)
    most = module.STATUS_TRIES - 1
    assert run.status().state == "queued" and len(refused) == most
    most = 99
    assert (run.status().state, run.status().message) == ("failed", "status.json cannot be read (it lags)")
    refused.clear()
    (run.path / "status.json").unlink()
    most = 0
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("one that is gone is not waited for"))
    assert run.status().state == "failed"


# The mistakes of its validation


def test_mistakes_are_read_as_the_training_wrote_them(run):
    assert run.mistakes() is None
    worst = {"image": 7, "true": 0, "predicted": 2, "probability": 0.75, "probability_of_true": 0.125}
    written = {"epoch": 4, "confusion": [[0, 0, 5], [0, 2, 1]], "worst": [worst]}
    (run.path / "mistakes.json").write_text(json.dumps(written))
    assert run.mistakes() == Mistakes(4, [(0, 0, 5), (0, 2, 1)], [Mistake(**worst)])


@pytest.mark.parametrize(
    "part",
    [{"predicted": [0, 1]}, {"true": [0, 10], "predicted": [0, 1]}, {"true": [-1], "predicted": [0]},
     {"confusion": [[0, 77, 1]]}],
)  # fmt: skip
def test_mistakes_of_another_network_are_told(run, part):
    (run.path / "mistakes.json").write_text(json.dumps({"epoch": 4, "confusion": [], "worst": []} | part))
    assert run.config.model.num_classes == 10
    with pytest.raises(RunError, match=r"its mistakes\.json is not of this network"):
        run.mistakes()


def test_damaged_mistakes_are_told(run):
    (run.path / "mistakes.json").write_text('{"epoch": 4, "conf')
    with pytest.raises(RunError, match=r"its mistakes\.json cannot be read"):
        run.mistakes()


def test_two_runs_of_one_second_have_two_names(tmp_path, small, monkeypatch):
    drawn = iter(["0000", "0000", "0001"])
    monkeypatch.setattr(module.secrets, "token_hex", lambda count: next(drawn))
    monkeypatch.setattr(module.time, "strftime", lambda form: "20260101-000000")
    first, second = create_run(small(), tmp_path), create_run(small(), tmp_path)
    assert first.id.endswith("-0000") and second.id.endswith("-0001") and first.exists()
