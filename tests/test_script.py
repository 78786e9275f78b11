"""The printed script runs by itself, without this project, and its losses are those of our loop."""

import re
import subprocess
import sys

import pytest
import torch

from alexnet_explorer import cli
from alexnet_explorer.config import preset_config
from alexnet_explorer.data.batches import TrainingData, preprocessing_for
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.runs import config_on, new_run
from alexnet_explorer.script import plain_script
from alexnet_explorer.training.finetune import new_finetune
from alexnet_explorer.training.loop import train
from alexnet_explorer.weights import save_weights
from alexnet_explorer.weights_file import digest_of, read_bytes

# Together they take every branch of the script.
CASES = {
    "every augmentation, towers": {
        "data.augmentation": "flip,crop,pca-colour,rotation,shift,blur,zoom", "train.weight_decay": 0.01,
    },
    "2012, plateau, tanh": {
        "data.augmentation": "none", "data.scaling": "2012", "train.schedule": "plateau", "train.patience": 1,
        "train.epochs": 4, "train.learning_rate": 0.02, "model.activation": "tanh", "model.init": "2012",
        "model.init_std": "0.002,0.1", "model.lrn_kind": "within-map", "model.lrn_size": 3, "model.towers": 1,
        "model.lrn_place": "after-pool", "model.lrn_alpha": 0.01, "model.pooling": "non-overlapping",
        "model.dropout_place": "before-fc",
    },
    "muon, cosine, grey, a canvas to crop from": {
        "data.augmentation": "crop,pca-colour,rotation", "train.optimiser": "muon", "train.schedule": "cosine",
        "train.average": 1,
        "model.in_channels": 1, "model.input_size": 12, "model.activation": "sigmoid", "model.fc_widths": "",
    },
    "step, frozen, larger than the data": {
        "data.augmentation": "shift,zoom", "data.zoom": 0.3, "train.schedule": "step", "model.input_size": 20,
        "model.lrn": False,
        "train.freeze": "conv2", "model.dropout": 0, "data.val_fraction": 0.3, "data.split_seed": 5,
        "train.average": 0.4,
    },
    "mean image of a canvas, one tower, constant, grey": {
        "data.augmentation": "flip", "data.scaling": "2012", "model.input_size": 12, "train.schedule": "constant",
        "train.learning_rate": 1e-4, "model.towers": 1, "model.lrn_alpha": 0.01, "model.convolutions": "1,3",
        "model.in_channels": 1, "train.seed": 7,
    },
    "bf16": {"train.precision": "bf16", "train.epochs": 1},
    "bf16, softened": {"train.precision": "bf16", "train.epochs": 1, "data.augmentation": "crop,blur"},
    "fine-tuned": {},
    "fine-tuned, larger": {"model.input_size": 20, "train.epochs": 1},
}  # fmt: skip


def numbers(text):
    """{"step 3": {"train/loss": 1.1, …}, "epoch 1": {"val/loss": …}, "test": {…}} of a script's output."""
    rows = {}
    for line in text.splitlines():
        head = re.match(r"(?:step|epoch) \d+", line)
        rows[head[0] if head else "test"] = {name: float(n) for name, n in re.findall(r"([a-z]\S+/\S+) (\S+)", line)}
    return rows


def logged(run):
    """The same of a run's metrics."""
    rows = {}
    for row in run.metrics()[0]:
        name = f"step {row['step']:.0f}" if "train/loss" in row else f"epoch {row['epoch']:.0f}"
        rows["test" if "test/loss" in row else name] = row
    return rows


def fine_tuned(config, packed, folder):
    """A run that begins from a network of other classes, which saw its pictures in another way."""
    source = config_on(config, packed).with_settings(
        {"model.activation": "tanh", "data.scaling": "2012", "model.input_size": packed.size}
    )
    model = AlexNet(source.model)
    initialise(model, 3)
    save_weights(folder / "source.safetensors", model, preprocessing_for(packed, source), ["a", "b", "c"], source)
    weights = read_bytes(folder / "source.safetensors")
    config = config.with_settings({"train.init": f"source@{digest_of(weights)}", "train.learning_rate": 1e-3})
    return new_finetune(config, packed, weights, folder / "runs")


@pytest.fixture(scope="module")
def both(tmp_path_factory, pack, small):
    """For each case the numbers of the script and of our loop. One process runs all scripts: torch loads slowly."""
    folder = tmp_path_factory.mktemp("scripts")
    runs, calls = {}, []
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALEXNET_EXPLORER_DATA", str(folder / "data"))
        packed = pack()
        for number, (name, settings) in enumerate(CASES.items()):
            config = small(train__epochs=2).with_settings(settings)
            is_fine_tuned = name.startswith("fine-tuned")
            run = fine_tuned(config, packed, folder) if is_fine_tuned else new_run(config, packed, folder / "runs")
            assert train(run).state == "done", run.status().message
            file = folder / f"script{number}.py"
            file.write_text(plain_script(run.config, str(packed.folder)), encoding="utf-8")
            calls.append([str(file), *([str(packed.folder), str(run.init_file)] if is_fine_tuned else [])])
            runs[name] = run
    code = (
        "import runpy, sys\n"
        "sys.modules['alexnet_explorer'] = None\n"  # whoever imports it fails
        f"for call in {calls!r}:\n    print('-----')\n    sys.argv = call\n    runpy.run_path(call[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split("-----\n")[1:]
    return {name: (numbers(output), logged(runs[name])) for name, output in zip(CASES, outputs, strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_the_script_has_the_losses_of_our_loop(both, case):
    printed, expected = both[case]
    assert printed.keys() == expected.keys()
    rounded = case.startswith("bf16")
    tolerance = 0.03 if rounded else 1e-5  # the order of roundings is the script's own
    for place, values in printed.items():
        assert values.keys() <= expected[place].keys() and any(name.endswith("loss") for name in values)
        for name, value in values.items():
            if not rounded or name.endswith("loss"):
                assert value == pytest.approx(expected[place][name], abs=tolerance), (place, name)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_script_softens_images_in_the_type_that_our_loop_does(precision, dtype, packed, small, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    config = config_on(small(data__augmentation="blur", train__precision=precision), packed)
    data = TrainingData(packed, config, torch.device("cpu"), dtype)
    ours = next(data.training(0))
    # Of the script all that comes before the network is run, and its first batch is made.
    text = plain_script(config, str(packed.folder))
    parts = {"__name__": "script"}
    exec(text[: text.index("class LRN")], parts)  # the text is our own
    theirs = parts["training_batch"](ours.index, parts["draw"](0))
    assert theirs.dtype == ours.x.dtype == dtype
    torch.testing.assert_close(theirs, ours.x, rtol=0, atol=2e-6 if precision == "fp32" else 0)


def test_the_plateau_case_has_a_rate_that_falls(both):
    rates = {row["learning_rate"] for row in both["2012, plateau, tanh"][1].values() if "learning_rate" in row}
    assert len(rates) > 1


@pytest.mark.parametrize("preset", ["alexnet", "convnet-2012"])
def test_the_script_holds_what_its_config_uses(preset):
    text = plain_script(preset_config(preset, "cifar10"))
    assert 100 < len(text.splitlines()) <= 240 and max(map(len, text.splitlines())) <= 120
    assert "alexnet_explorer" not in text.replace("`python -m alexnet_explorer data list`", "")
    assert ("groups=2" in text) == ("nn.Dropout" in text) == ('def learning_rate(done):\n    """A tenth each' in text)
    assert ("avg_pool2d" in text) == (preset == "convnet-2012")


def test_a_label_cannot_write_code():
    config = preset_config("alexnet-32").with_settings({"model.preset": '"""\nraise SystemExit("owned")\n"""'})
    assert "owned" not in plain_script(config)


def test_the_command_prints_the_script_of_its_options(packed, capsys, monkeypatch):
    options = ["--data", "colours", "--epochs", "2", "--seed", "4", "--set", "model.activation=tanh"]
    monkeypatch.setattr(sys, "argv", ["alexnet_explorer", "script", *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    changes = {"train.epochs": 2, "train.seed": 4, "model.activation": "tanh"}
    config = config_on(preset_config("alexnet-32", "colours").with_settings(changes), packed)
    assert not end.value.code
    assert capsys.readouterr().out == plain_script(config, str(packed.folder))
