"""The weights file as bytes on disk: safetensors with our metadata. Needs no PyTorch, so a listing of models is quick.

The metadata, all of it text: `alexnet_explorer` (the version of this layout), `config` (a `RunConfig` as JSON),
`classes` (a JSON list of names), `canvas` (pixels, see `Preprocessing`), `layers` (a JSON list; not empty in a
partial snapshot), `folders` where it is known (a JSON list: what the training data's class folders were called), and
whatever the writer adds, `title` or `epoch` for example.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

VERSION = "1"
MAX_BYTES = 2**30
MAX_HEADER_BYTES = 2**23
Prepared = Literal["as the file says", "as Caffe's", "as PyTorch's"]
"""How pictures are brought to a network from elsewhere, see `weights_import`."""

_DTYPES = {"float16": "F16", "float32": "F32"}


class WeightsError(ValueError):
    """A weights file that cannot be used; one sentence for a visitor: what is wrong and what to do."""


def read_header(stream: BinaryIO, name: str) -> dict[str, str]:
    """The metadata of a safetensors file, ours or not; empty where it has none. Raises WeightsError."""
    size = int.from_bytes(stream.read(8), "little")
    if size > MAX_HEADER_BYTES:
        raise WeightsError(f"{name} is not a safetensors file, or its header is damaged: take another copy of it.")
    text = stream.read(size)
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError(f"{name} is not a safetensors file, or only the beginning of one: take another copy of it.")
    return metadata


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of one of our weights files, without reading its tensors. Raises WeightsError."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            metadata = read_header(stream, path.name)
    except OSError as error:
        raise WeightsError(f"{path.name} cannot be read: {error.strerror}.") from None
    check_version(metadata, path.name)
    return metadata


def is_whole(path: Path) -> bool:
    """Whether this is a weights file with every layer of its network."""
    try:
        return read_metadata(path).get("layers", "[]") == "[]"
    except WeightsError:
        return False


def read_layer(path: str | Path, name: str) -> NDArray[np.float32]:
    """One tensor, `conv1.weight` say, of a complete or partial file, as float32. Raises WeightsError."""
    path = Path(path)
    try:
        with safe_open(path, framework="np") as file:
            if name not in file.keys():  # noqa: SIM118 (not a dict)
                raise WeightsError(f"{path.name} does not hold {name}: choose another epoch or file.")
            tensor = file.get_tensor(name)
    except (OSError, SafetensorError):
        raise WeightsError(f"{path.name} is not there or damaged: choose another epoch or file.") from None
    values: NDArray[np.float32] = tensor.astype(np.float32)  # not a view of the file, which a run may replace
    if not np.isfinite(values).all():
        raise WeightsError(f"{path.name}: {name} holds values that are not finite (NaN or infinite), as after a "
                           "training that diverged; take weights from an earlier epoch.")  # fmt: skip
    return values


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by its name; only the header is read. Raises WeightsError."""
    try:
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError):
        raise WeightsError(f"{path.name} is not there or damaged: take another copy of it.") from None


def check_version(metadata: Mapping[str, str], name: str) -> None:
    """Raises WeightsError unless the metadata is ours and of a version that this code reads."""
    version = metadata.get("alexnet_explorer")
    if version is None:
        raise WeightsError(f"{name} does not say which network it belongs to: add it as a file of your own first.")
    if version != VERSION:
        raise WeightsError(f"{name} was written by another version of AlexNet Explorer (layout {version}, "
                           f"this one reads {VERSION}): update the app.")  # fmt: skip


def read_bytes(path: Path) -> bytes:
    """A whole file of at most 1 GiB. Raises WeightsError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path.name} is larger than 1 GB: an AlexNet has a quarter of that.")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path.name} cannot be read: {error.strerror}.") from None


def digest_of(data: bytes) -> str:
    """By what a weights file is known: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file of float16 and float32 arrays: the whole file appears at `path`, or none of it.

    The same content gives the same bytes, which the library's own writer does not promise (it shuffles the
    metadata), so that a file's digest names its content. Raises OSError.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    # The wider type first keeps every tensor aligned.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    for name in names:
        array = tensors[name]
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                stream.write(np.ascontiguousarray(tensors[name]).data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
