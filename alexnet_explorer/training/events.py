"""Metrics as TensorBoard reads them: `tensorboard --logdir runs` opens the runs folder as it is.

An event file is a row of records (TFRecord), each one a protocol buffer; only the few fields that scalars take are
written, so that a training needs no library that takes seconds to import.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_CASTAGNOLI = 0x82F63B78  # CRC-32C's polynomial, its bits reversed


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted as TFRecord wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """One record: its length, the data, a checksum of each."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _event(step: int, content: bytes) -> bytes:
    """Event { double wall_time = 1; int64 step = 2; … }"""
    return record(b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + content)


class EventFile:
    """The event file of one process of a run; what is written is on its way to the disk when `add` returns.

    `step` is where the run goes on: what earlier files hold beyond it was lost with their process, and TensorBoard
    leaves it out. Raises OSError.
    """

    def __init__(self, folder: Path, step: int) -> None:
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("ab")
        self._write(_event(0, _field(3, b"brain.Event:2")))  # string file_version = 3
        if step:
            self._write(_event(step + 1, _field(7, b"\x08\x01")))  # SessionLog { status = START } session_log = 7

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One value for each tag: Summary { Value { string tag = 1; float simple_value = 2; } value = 1; } = 5."""
        summary = b"".join(
            _field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)) for tag, value in values.items()
        )
        self._write(_event(step, _field(5, summary)))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
