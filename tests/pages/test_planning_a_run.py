"""The Train page before the start: what a run will need, which rate suits it, fine-tuning, the script."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet_explorer.catalogue import find_weights
from alexnet_explorer.config import preset_config
from alexnet_explorer.data.sources import prepare
from alexnet_explorer.launch import local
from alexnet_explorer.runs import Status, create_run, find_run, list_runs, this_process
from alexnet_explorer.script import plain_script
from alexnet_explorer.training.finetune import finetune_config, new_finetune
from alexnet_explorer.ui import advising, chosen, preparing, probing
from alexnet_explorer.weights import load_weights, parse_weights

ESTIMATE = {
    "parameters": 578_250, "img_per_s": 1234.4, "epoch_seconds": 21.0, "total_seconds": 605.0,
    "memory_bytes": 612_000_000, "gpu_memory_bytes": 0, "device": "cpu", "precision": "bf16", "threads": 2,
    "others": 0.1,
}  # fmt: skip
POINTS = [[10 ** (n / 8 - 4), 2.3 - n / 20] for n in range(20)]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """What takes a moment is ready within the click that asks for it."""
    for module in (preparing, advising):
        monkeypatch.setattr(module, "PATIENCE", 60)
    start = probing.Probe.start
    monkeypatch.setattr(probing.Probe, "start", lambda probe: (start(probe), probe.join(60)))
    probing.shared.clear()


class Process:
    """One that has answered already."""

    def __init__(self, lines, returncode=0):
        self.stdout, self.returncode = [json.dumps(line) + "\n" for line in lines], returncode

    def __enter__(self):
        return self

    def __exit__(self, *given):
        return None

    def kill(self):
        raise AssertionError("nobody stopped it")


@pytest.fixture
def answer(monkeypatch):
    """Sets what the next measurements say; the configs they were asked for, with the bytes of their weights file."""
    asked = []

    def said(*lines, errors="", returncode=0):
        def ask(command, question, file, environment):
            weights = Path(command[command.index("--init") + 1]).read_bytes() if "--init" in command else b""
            asked.append((command[2], json.loads(question), weights))
            file.write(errors.encode())
            return Process(lines, returncode)

        monkeypatch.setattr(local, "ask", ask)
        return asked

    return said


@pytest.fixture
def own(root, pack):
    """Thirty pictures of a visitor's own."""
    return pack("my *things*", count=30, test=0, classes=("cup", "pen", "key"), size=24)


def press(visitor, key):
    return visitor.button(key=key).click().run()


def metrics(visitor):
    return {metric.label: metric.value for metric in visitor.main.metric}


def command(visitor):
    return next(code.value for code in visitor.code if code.value.startswith("python -m"))


# What it will need


def test_time_and_memory_are_told_for_the_settings_that_they_hold_for(visit, answer):
    asked = answer({"result": ESTIMATE})
    visitor = visit("train")
    assert "Time" not in metrics(visitor)
    press(visitor, "probe_estimate")
    assert not visitor.exception and metrics(visitor) == {"Time": "≈ 10 min", "Memory": "612 MB"}
    assert visitor.says(
        "21 s an epoch, 1,234 images per second, measured by a few steps on the CPU, 2 threads, in bf16."
    )
    ((kind, config, _),) = asked
    assert (kind, config["model"]["preset"], config["train"]["epochs"]) == ("estimate", "alexnet-32", 30)

    visitor.number_input(key="train_train.learning_rate").set_value(0.5).run()
    assert metrics(visitor)["Memory"] == "612 MB"  # it has nothing to do with the rate
    visitor.number_input(key="train_train.batch_size").set_value(64).run()
    assert "Time" not in metrics(visitor) and visitor.says("have changed since it was measured")
    visitor.number_input(key="train_train.batch_size").set_value(128).run()
    assert metrics(visitor)["Memory"] == "612 MB" and len(asked) == 1
    visitor.go("home").go("train")
    assert metrics(visitor)["Memory"] == "612 MB"


def test_what_a_gpu_needs_is_told(visit, answer):
    answer({"result": ESTIMATE | {"device": "cuda", "gpu_memory_bytes": 3_210_000_000}})
    visitor = press(visit("train"), "probe_estimate")
    assert metrics(visitor)["GPU memory"] == "3.2 GB" and visitor.says("on the GPU, in bf16")


def test_a_run_at_work_is_told_before_and_after_as_it_takes_time(visit, answer, root):
    create_run(preset_config("alexnet-32"), root).write_status(Status(state="running", epochs=3, **this_process()))
    answer({"result": ESTIMATE})
    visitor = visit("train")
    assert visitor.says("what is measured now is slower than it will be")
    press(visitor, "probe_estimate")
    assert visitor.says("a run was at work beside it")


def test_what_else_the_machine_did_while_it_was_measured_is_told(visit, answer):
    answer({"result": ESTIMATE | {"others": 1.42}})
    visitor = press(visit("train"), "probe_estimate")
    assert visitor.says("other processes kept 1.4 cores busy meanwhile")


def test_what_others_hardly_do_is_no_matter(visit, answer):
    answer({"result": ESTIMATE})
    visitor = press(visit("train"), "probe_estimate")
    assert visitor.says("measured by a few steps") and not visitor.says("cores busy")


def test_why_it_cannot_be_measured_is_told(visit, answer):
    answer(errors="not enough memory: take a smaller train.batch_size\n", returncode=2)
    visitor = press(visit("train"), "probe_estimate")
    assert visitor.complaints == ["not enough memory: take a smaller train.batch_size"]
    answer({"result": ESTIMATE})
    press(visitor, "probe_estimate")
    assert not visitor.error and "Time" in metrics(visitor)


def test_a_measurement_under_way_can_be_stopped(visit, monkeypatch):
    monkeypatch.setattr(probing.Probe, "is_alive", lambda probe: not probe.stopped)
    monkeypatch.setattr(probing.Probe, "start", lambda probe: None)
    visitor = press(visit("train"), "probe_estimate")
    assert visitor.button(key="probe_estimate").disabled and visitor.says("Waiting for another measurement")
    press(visitor, "probe_estimate_stop")
    assert not visitor.exception and not visitor.error and "Time" not in metrics(visitor)
    assert not visitor.button(key="probe_estimate").disabled


# The rate


def test_the_rate_that_is_found_is_drawn_and_used(visit, answer):
    lines = [{"progress": n / 20, "rate": rate, "loss": loss} for n, (rate, loss) in enumerate(POINTS)]
    asked = answer(*lines, {"result": {"points": POINTS, "suggestion": 0.017}})
    visitor = press(visit("train"), "probe_rate")
    assert not visitor.exception
    (chart,) = visitor.charts
    assert chart == "Loss against the learning rate, 0.0001 to 0.02; suggested is 0.017"
    figure = json.loads(visitor.main.get("plotly_chart")[0].proto.spec)
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["data"][-1]["x"] == [0.017, 0.017]
    press(visitor, "probe_use")
    assert visitor.number_input(key="train_train.learning_rate").value == 0.017
    assert "--set train.learning_rate=0.017" in command(visitor) and visitor.says("the rate in use")
    assert len(visitor.charts) == 1 and visitor.button(key="probe_use").disabled and len(asked) == 1


def test_where_no_rate_helps_none_is_suggested(visit, answer):
    answer({"progress": 1, "rate": 1e-6, "loss": 2.3}, {"result": {"points": POINTS, "suggestion": None}})
    visitor = press(visit("train"), "probe_rate")
    assert any("No rate lowers the loss" in info.value for info in visitor.info)
    assert not [button for button in visitor.button if button.key == "probe_use"]


# The script


def test_the_script_is_that_of_the_settings(visit):
    packed = prepare("digits")
    visitor = visit("train")
    visitor.segmented_control(key="train_model.activation").set_value("tanh").run()
    (script,) = (code.value for code in visitor.code if code.value.startswith('"""'))
    config = chosen.planned(preset_config("alexnet-32").with_settings({"model.activation": "tanh"}), packed)
    assert script == plain_script(config, str(packed.folder)).strip()
    assert config.train.precision == "auto" and visitor.says("auto becomes fp32 in the script")
    (download,) = visitor.main.get("download_button")
    assert download.proto.label == "Download the script"


# Fine-tuning


def fine_tuning(visit, own):
    visitor = visit("train")
    visitor.selectbox(key="train_data").set_value(own.name).run()
    visitor.segmented_control(key="train_origin").set_value("a trained network").run()
    assert not visitor.exception
    return visitor


def test_a_trained_network_learns_a_visitors_own_classes(visit, own, root, started):
    visitor = fine_tuning(visit, own)
    source = visitor.selectbox(key="train_source").value
    weights, name, title = find_weights(source, root)
    network = parse_weights(weights, name, title, shown=name)
    usual = finetune_config(network, own)
    frozen = visitor.multiselect(key="train_train.freeze")
    assert frozen.options == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    assert frozen.value == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert visitor.number_input(key="train_train.epochs").value == usual.train.epochs
    assert visitor.pills(key="train_data.augmentation").value == list(usual.data.augmentation)
    frozen.set_value(["conv1", "conv2"]).run()
    assert command(visitor) == (
        f"python -m alexnet_explorer train --init {source}@{network.digest} --data 'my *things*' --freeze conv1,conv2"
    )
    press(visitor, "train_start")
    (run,) = list_runs(root, gallery=False)
    assert started == [run.id] and run.init_file.read_bytes() == weights
    assert run.config == usual.with_settings({"train.freeze": "conv1,conv2"})


def test_what_is_fine_tuned_has_no_architecture_to_choose(visit, own):
    visitor = fine_tuning(visit, own)
    assert not [widget.key for widget in visitor.segmented_control if widget.key.startswith("train_model")]
    assert not [widget for widget in visitor.selectbox if widget.key == "train_preset"]
    visitor.segmented_control(key="train_origin").set_value("new weights").run()
    assert visitor.selectbox(key="train_preset").value == "alexnet-32"
    assert "--preset alexnet-32" in command(visitor) and "--freeze" not in command(visitor)


def test_frozen_layers_that_do_not_fit_other_classes_are_let_go(visit, own, make_run, root, pack):
    run = make_run(classes=own.classes)
    visitor = fine_tuning(visit, own)
    visitor.selectbox(key="train_source").set_value(run.id).run()
    layers = visitor.multiselect(key="train_train.freeze")
    assert layers.options[-1] == "fc5"  # the same classes
    layers.set_value(["conv1", "fc5"]).run()
    others = pack("others", count=30, test=0, classes=("a", "b", "c"), size=24)
    visitor.run()
    visitor.selectbox(key="train_data").set_value(others.name).run()
    assert not visitor.exception and visitor.multiselect(key="train_train.freeze").value == ["conv1"]
    assert "--freeze conv1 " in command(visitor) + " "


def test_its_measurements_begin_from_the_same_weights(visit, own, answer, root):
    asked = answer({"result": ESTIMATE})
    visitor = press(fine_tuning(visit, own), "probe_estimate")
    ((_, config, weights),) = asked
    assert weights == find_weights(visitor.selectbox(key="train_source").value, root)[0]
    assert config["train"]["freeze"] == ["conv1", "conv2", "conv3", "conv4", "conv5"]


def test_data_that_are_still_to_be_had_are_fetched_first(visit, root):
    visitor = visit("train")
    visitor.segmented_control(key="train_origin").set_value("a trained network").run()
    assert "depends on the pictures" in visitor.info[0].value
    assert visitor.button(key="train_start").disabled
    press(visitor, "train_get")
    visitor.run()
    assert not visitor.exception and not visitor.button(key="train_start").disabled
    assert visitor.multiselect(key="train_train.freeze").value == []  # there are many


def test_runs_at_work_are_not_begun_from(visit, own, make_run):
    ready, working = make_run(), make_run()
    working.write_status(replace(working.status(), state="running", **this_process()))
    options = fine_tuning(visit, own).selectbox(key="train_source").options
    assert any(ready.id[-4:] in option for option in options)
    assert not any(working.id[-4:] in option for option in options)


def test_a_fine_tuned_run_is_cloned_with_its_weights_though_their_network_is_gone(visit, own, make_run, root, started):
    source = make_run(says=2)
    weights, name, _ = find_weights(source.id, root)
    config = finetune_config(load_weights(source.weights_file(), name), own)
    config = config.with_settings({"train.freeze": "conv2", "train.epochs": 4, "model.dropout": 0.3})
    run = new_finetune(config, own, weights, root)
    run.write_status(Status(state="done", epochs=4))
    source.delete()
    visitor = visit("train", like=run.id)
    assert not visitor.exception and not visitor.error
    assert visitor.selectbox(key="train_source").options[0] == f"{source.id} (as it was)"
    press(visitor, "train_start")
    (clone,) = (found for found in list_runs(root, gallery=False) if found.id != run.id)
    assert clone.config == run.config and clone.init_file.read_bytes() == weights


def test_weights_that_are_gone_are_told(visit, own, make_run, root):
    run = make_run()
    visitor = fine_tuning(visit, own)
    visitor.selectbox(key="train_source").set_value(run.id).run()
    find_run(run.id, root).delete()
    chosen._read_source.clear()
    visitor.run()
    assert not visitor.exception and f"there is no model '{run.id}'" in visitor.complaints[0]


@pytest.mark.parametrize("count", [30, 120])
def test_what_may_spoil_a_training_is_told_under_the_data(visit, root, pack, count):
    packed = pack("mine", count=count, test=0, classes=("cup", "pen"))
    visitor = visit("train")
    visitor.selectbox(key="train_data").set_value(packed.name).run()
    warnings = [warning.value.replace("\\", "") for warning in visitor.warning]
    assert [text.startswith("Fewer than 20 pictures of") for text in warnings] == [True] * (count == 30)


def test_a_large_set_is_looked_through_in_the_background(visit, root, pack, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(advising, "_look", lambda *given: [str(go_on.wait(60)), "Give *more* of each."])
    monkeypatch.setattr(advising, "PATIENCE", 0.1)
    pack("many", count=40, test=0, classes=("cup", "pen"), seed=3)
    visitor = visit("train")
    visitor.selectbox(key="train_data").set_value("many").run()
    assert visitor.says("Looking for pictures") and not visitor.warning
    assert not visitor.button(key="train_start").disabled
    go_on.set()
    monkeypatch.setattr(advising, "PATIENCE", 60)
    visitor.run()
    assert [warning.value for warning in visitor.warning] == ["True", "Give \\*more\\* of each\\."]
