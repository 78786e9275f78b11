"""What most tests need: a place for data, a packed set of 120 small images, a run config that trains in a second."""

import json
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from alexnet_explorer import cli
from alexnet_explorer.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from alexnet_explorer.data.packed import PackedWriter
from alexnet_explorer.runs import Run, new_run

torch.set_num_threads(1)

SIZE = 16


class Trained(NamedTuple):
    """See the fixture `trained`."""

    root: Path
    data: Path
    relu: Run
    tanh: Run


@contextmanager
def process_restored():
    """A training is made for a process of its own: here it gives back what it sets for the whole process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(1)
    if torch.are_deterministic_algorithms_enabled():  # the call imports for seconds
        torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def untouched_process():
    """Every test starts from the same draw of PyTorch's generator, and leaves the process as it was."""
    torch.manual_seed(0)
    with process_restored():
        yield


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    """A data folder of this test's own."""
    root = tmp_path / "data"
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(root))
    return root


@pytest.fixture(scope="session")
def pack():
    """Packs random images into the data folder in force: each class has a colour, and noise on it."""

    def write(name="colours", count=120, test=45, classes=("red", "green", "blue"), size=SIZE, noise=60, seed=0):
        rng = np.random.default_rng(seed)
        with PackedWriter(name, classes, size) as writer:
            for split, number in (("train", count), ("test", test)):
                if number:
                    labels = rng.integers(0, len(classes), number)
                    colours = rng.integers(60, 196, (len(classes), 3))
                    colours[np.arange(len(classes)), np.arange(len(classes)) % 3] += 40
                    pixels = colours[labels][:, None, None] + rng.normal(0, noise, (number, size, size, 3))
                    writer.add(split, pixels.clip(0, 255).astype(np.uint8), labels)
            return writer.finish()

    return write


@pytest.fixture
def packed(data_root, pack):
    """120 training and 45 test images of 16×16 pixels in three classes."""
    return pack()


@pytest.fixture(scope="session")
def small():
    """Builds a run config that has a bit of everything, and trains on `packed` in a second; dotted fields change it."""

    def build(**settings):
        config = RunConfig(
            model=ModelConfig(
                preset="small", input_size=SIZE, num_classes=3, widths=(6, 8, 8), kernels=(3, 3, 3), strides=(1, 1, 1),
                paddings=(1, 1, 1), convolutions=(1, 2, 3), fc_widths=(16,), towers=2, grouped=(2,), lrn_after=(1, 2),
                pool_after=(1, 3), pool_kinds=("max", "avg"), bias_one=(2, 4),
            ),
            data=DataConfig(name="colours", augmentation=("flip", "crop", "pca-colour", "rotation", "shift")),
            train=TrainConfig(epochs=3, batch_size=20, learning_rate=0.02, device="cpu", precision="fp32", threads=1),
        )  # fmt: skip
        return config.with_settings({name.replace("__", "."): value for name, value in settings.items()})

    return build


@pytest.fixture(scope="session")
def trained(tmp_path_factory, pack, small):
    """A folder with two finished runs, a network and its tanh twin, and the folder of their data."""
    from alexnet_explorer.training.loop import train

    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched, process_restored():
        patched.setenv("ALEXNET_EXPLORER_DATA", str(root / "data"))
        packed = pack()
        runs = [new_run(small(model__activation=name), packed, root / "runs") for name in ("relu", "tanh")]
        assert [train(run).state for run in runs] == ["done", "done"]
    return Trained(root / "runs", root / "data", *runs)


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs `python -m alexnet_explorer` with these arguments in this process: exit status, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["alexnet_explorer", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def document(call):
    """The one JSON document that a command prints, and nothing else."""

    def read(*arguments):
        status, out, err = call(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    return read


@pytest.fixture
def refused(call):
    """Checks that a command ends with exit status 2 and one line on stderr, in which a pattern is found."""

    def check(said, *arguments):
        status, out, err = call(*arguments)
        assert (status, out) == (2, "")
        assert len(err.splitlines()) == 1 and re.search(said, err), err

    return check
