"""TensorBoard itself reads what was written."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_explorer.training.events import EventFile, masked_crc, record


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=True).Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_the_checksum_is_crc_32c():
    # The check value of CRC-32C, and 32 bytes of zeros (RFC 3720, B.4); the mask is undone.
    for data, crc in ((b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)):
        masked = (masked_crc(data) - 0xA282EAD8) & 0xFFFFFFFF
        assert (masked << 15 | masked >> 17) & 0xFFFFFFFF == crc


@given(st.binary(max_size=300))
def test_a_record_holds_its_length(data):
    assert struct.unpack("<Q", record(data)[:8])[0] == len(data)
    assert len(record(data)) == len(data) + 16 and data in record(data)


def test_tensorboard_reads_every_row(tmp_path):
    with EventFile(tmp_path, 0) as file:
        file.add(1, {"train/loss": 2.5, "learning_rate": 0.01})
        file.add(300, {"train/loss": 1.25, "val/τ": -math.pi})
    assert read(tmp_path) == {
        "train/loss": [(1, 2.5), (300, 1.25)],
        "learning_rate": [(1, pytest.approx(0.01))],
        "val/τ": [(300, pytest.approx(-math.pi))],
    }


def test_what_a_killed_process_wrote_beyond_its_checkpoint_is_left_out(tmp_path):
    with EventFile(tmp_path, 0) as file:
        for step in range(1, 6):
            file.add(step, {"train/loss": step})
    with EventFile(tmp_path, 3) as file:
        file.add(4, {"train/loss": 40})
    assert read(tmp_path)["train/loss"] == [(1, 1), (2, 2), (3, 3), (4, 40)]


def test_a_torn_record_costs_itself_only(tmp_path):
    with EventFile(tmp_path, 0) as file:
        file.add(1, {"a": 1})
        file.add(2, {"a": 2})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert read(tmp_path) == {"a": [(1, 1)]}
