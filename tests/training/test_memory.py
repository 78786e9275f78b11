"""A set that is larger than what a training may take of the memory is read from its map."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alexnet_explorer.config import preset_config
from alexnet_explorer.data.packed import PackedWriter
from alexnet_explorer.runs import new_run

PROJECT = Path(__file__).resolve().parents[2]
MOST_BYTES = 600e6  # of the process's own, most of it PyTorch's
IMAGES, AT_ONCE, SIDE = 100_000, 2_000, 64


@pytest.fixture
def large(data_root):
    """100,000 images of 64×64 pixels, 1.2 GB, in 200 classes."""
    rng = np.random.default_rng(0)
    with PackedWriter("large", [f"class {number}" for number in range(200)], SIDE) as writer:
        for _ in range(IMAGES // AT_ONCE):
            pixels = rng.integers(0, 256, (AT_ONCE, SIDE, SIDE, 3), np.uint8)
            writer.add("train", pixels, rng.integers(0, 200, AT_ONCE))
        return writer.finish()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_training_from_the_map_takes_no_memory_for_the_images(large, tmp_path):
    # Validation-like passes at once, and steps over images from everywhere in the file.
    settings = {"train.precision": "fp32", "train.threads": 1, "train.clean_passes": 1, "train.clean_images": 2000}
    run = new_run(preset_config("alexnet-32", "large").with_settings(settings), large, tmp_path / "runs")
    command = [sys.executable, "-m", "alexnet_explorer", "train", "--resume", run.id, "--runs", str(run.path.parent)]
    peak, end = 0, time.monotonic() + 300
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while run.status().step < 150:  # of 704
            assert process.poll() is None and time.monotonic() < end
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
            peak = max([peak, *(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))])
            time.sleep(0.02)
        run.request_stop()
    assert run.status().state == "stopped"
    assert 100e6 < peak < MOST_BYTES
