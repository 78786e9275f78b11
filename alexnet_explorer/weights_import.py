"""Weights from elsewhere as files of our own: a user's `.pth`, `.safetensors` or `.onnx`, torchvision's AlexNet.

Nothing is unpickled but tensors. A foreign state dict is renamed, then matched strictly against every preset; an ONNX
file has its whole network in it (`onnx_import`), and is taken as it is.
"""

from __future__ import annotations

import filecmp
import hashlib
import io
import json
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import torch
from torch import Tensor

from .config import MODEL_PRESETS, DataConfig, ModelConfig, RunConfig, Shape
from .data.preprocess import LUMA, Preprocessing, canvas_for
from .onnx_import import OnnxNetwork, read_onnx
from .weights import build, compare, differences, parameter_shapes, parse_weights, save_weights, tensors_of
from .weights_file import MAX_BYTES, Prepared, WeightsError, read_bytes, read_header

TORCHVISION_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
TORCHVISION_FILE = "torchvision-imagenet.safetensors"
TORCHVISION_NAMES = {
    "features.0": "conv1", "features.3": "conv2", "features.6": "conv3", "features.8": "conv4", "features.10": "conv5",
    "classifier.1": "fc6", "classifier.4": "fc7", "classifier.6": "fc8",
}  # fmt: skip

# Of ImageNet's pixels, in grey levels, as torchvision's weights were trained with.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
# Caffe's, of ImageNet's pixels in grey levels; it divides by nothing, and takes blue first.
CAFFE_MEAN = (123.0, 117.0, 104.0)

TIMEOUT_S = 5.0
ATTEMPTS = 5
CHUNK_BYTES = 2**18

UNKNOWN = "unknown (user's file)"

Progress = Callable[[int, int], None]


def rename_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names as the paper's: `features.0.weight` becomes `conv1.weight`. Others stay as they are."""
    renamed = {}
    for name, tensor in state.items():
        layer, dot, parameter = name.rpartition(".")
        renamed[TORCHVISION_NAMES.get(layer, layer) + dot + parameter] = tensor
    return renamed


def import_weights(data: bytes | Path, filename: str, folder: Path, prepared: Prepared = "as the file says") -> Path:
    """Bring a user's file into `folder` as a weights file of our own; gives the path of that file.

    Read are our own files, and state dicts with our or torchvision's names, as PyTorch (also nested under
    `state_dict`, `model_state_dict` or `model`, also from `DataParallel`) or safetensors. Shapes tell the preset, the
    number of towers and of classes; activation, LRN and pooling cannot be told from them and are the preset's.
    Without metadata of ours the input is scaled as torchvision's models are, and 1000 classes are ImageNet's.
    An ONNX file (`.onnx`) has all but classes and input in its graph. Of the input it rarely says more than its size:
    `prepared` is how its pictures were; unless it is given, as PyTorch's where PyTorch wrote the file, else as Caffe's.
    The new name comes from `filename`'s letters and digits; the same content again gives the file that is there.

    Raises WeightsError: not a weights file, damaged, more than tensors in it, over 1 GB, or what differs from the
    nearest preset.
    """
    shown = filename.replace("\\", "/").rpartition("/")[2] or "The file"
    if isinstance(data, Path):
        data = read_bytes(data)
    elif len(data) > MAX_BYTES:
        raise WeightsError(f"{shown} is larger than 1 GB: an AlexNet has a quarter of that.")
    slug = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(shown).stem.lower())[:60].strip("-") or "model"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as work:
            part = Path(work) / "weights.safetensors"
            if _is_onnx(data, shown):
                _convert_onnx(read_onnx(data, shown), part, shown, prepared)
            else:
                _convert(data, part, shown, title=shown, trained_on=UNKNOWN)
            return _settle(part, folder, slug)
    except OSError as error:
        raise WeightsError(f"{shown} could not be stored: {error.strerror}.") from None


def download_torchvision(folder: Path, progress: Progress | None = None, url: str = TORCHVISION_URL) -> Path:
    """Fetch torchvision's ImageNet AlexNet (233 MB) into `folder`, once, as a weights file of our own.

    `progress(bytes so far, bytes in all)` may raise to cancel: the next call goes on from there.
    Raises WeightsError: no network, broken off, not the file that its name promises, no room on the disk.
    """
    final = folder / TORCHVISION_FILE
    if final.exists():
        return final
    source = download(url, folder / PurePosixPath(url).name, progress)
    try:
        with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as work:
            part = Path(work) / final.name
            title, trained_on = "torchvision's AlexNet, ImageNet", "ImageNet (ILSVRC 2012)"
            _convert(read_bytes(source), part, source.name, title=title, trained_on=trained_on)
            part.replace(final)
        source.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"{final.name} could not be stored: {error.strerror}.") from None
    return final


def download(url: str, target: Path, progress: Progress | None = None) -> Path:
    """Fetch `url`, whose name ends in the first digits of its SHA-256 as PyTorch's do, to `target`.

    What has arrived is kept in `target`.part and continued from, in this call and the next one; two calls at a time
    write the same bytes to the same places. Raises WeightsError (see `download_torchvision`).
    """
    if target.exists():
        return target
    digest = re.search(r"-([0-9a-f]{8,64})\.\w+$", url)
    if digest is None:
        raise ValueError(f"{url}: the name does not end in the file's hash")
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        with part.open("r+b") as file:
            _fetch(url, file, progress)
            file.seek(0)
            right = hashlib.file_digest(file, "sha256").hexdigest().startswith(digest[1])
        if not right:
            part.unlink(missing_ok=True)
            raise WeightsError(f"What arrived is not {target.name} (a network's sign-in page, perhaps) and was "
                               "deleted: check the connection and try again.")  # fmt: skip
        if part.exists():  # else another call has just finished it
            part.replace(target)
    except OSError as error:
        raise WeightsError(f"{target.name} could not be stored: {error.strerror}.") from None
    return target


def _fetch(url: str, file: BinaryIO, progress: Progress | None) -> None:
    """Write what `file` lacks of `url`; an interrupted transfer is taken up again a few times."""
    host = url.split("/")[2]
    for _ in range(ATTEMPTS):
        done = file.seek(0, os.SEEK_END)
        try:
            request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
            response: HTTPResponse = urlopen(request, timeout=TIMEOUT_S)
        except HTTPError as error:
            error.close()
            if error.code == 416:  # there is nothing after what is here
                return
            raise WeightsError(f"{host} does not hand out the weights (it answered {error.code}): try again later, "
                               "the app works without them.") from None  # fmt: skip
        except (OSError, HTTPException):
            raise WeightsError(f"{host} could not be reached: check the network connection and try again, the app "
                               "works without it.") from None  # fmt: skip
        with response:
            if response.status != 206:  # the server sends all of it
                done = file.seek(0)
            total = done + int(response.headers.get("Content-Length", 0))
            while chunk := _read(response):
                done += file.write(chunk)
                if progress is not None:
                    progress(done, total)
        if done >= total:
            file.truncate()
            return
    raise WeightsError(f"The connection to {host} broke off {ATTEMPTS} times: what has arrived is kept, try again to "
                       "go on from there.")  # fmt: skip


def _read(response: HTTPResponse) -> bytes:
    """The next bytes; none at the end or where the connection breaks."""
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, HTTPException):
        return b""


def _convert(data: bytes, target: Path, shown: str, *, title: str, trained_on: str) -> None:
    """Write `data`, a weights file of any kind, to `target` as one of ours."""
    if _is_safetensors(data):
        if "alexnet_explorer" in read_header(io.BytesIO(data), shown):
            parse_weights(data, target.stem, shown=shown)
            target.write_bytes(data)
            return
        state = tensors_of(data, shown)
    else:
        state = _unpickle(data, shown)
    state = {_plain(name): tensor for name, tensor in state.items()}
    if any(name.startswith(("features.", "classifier.")) for name in state):
        state = rename_torchvision(state)

    model = _recognise({name: tuple(tensor.shape) for name, tensor in state.items()}, shown)
    config = RunConfig(model=model, data=DataConfig(name=trained_on))
    size = model.input_size
    canvas = _canvas("", size)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    save_weights(
        target,
        build(model, state, shown),
        Preprocessing(canvas, size, mean, std),
        _classes(model.num_classes),
        config,
        half=all(tensor.dtype == torch.float16 for tensor in state.values()),
        extra={"title": title},
    )


def _is_onnx(data: bytes, shown: str) -> bool:
    # What every writer puts first is the version of the format, the field that a byte of 8 stands for.
    return shown.lower().endswith(".onnx") or (data.startswith(b"\x08") and not _is_safetensors(data))


def _convert_onnx(found: OnnxNetwork, target: Path, shown: str, prepared: Prepared) -> None:
    """Write the network of an ONNX file to `target` as one of ours."""
    model, size = found.model, found.model.input_size
    if model.in_channels not in (1, 3):
        raise WeightsError(f"{shown} takes in pictures of {model.in_channels} channels: allowed are 3 (colour) and 1 "
                           "(grey).")  # fmt: skip
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in found.tensors.items()}
    caffe = prepared == "as Caffe's" or (prepared == "as the file says" and not found.producer.startswith("pytorch"))
    if found.mean is not None and found.std is not None:
        mean, std = torch.from_numpy(found.mean), torch.from_numpy(found.std)
        how = "The file says itself what is subtracted and divided by; its channels are taken as red, green, blue."
    elif caffe:
        mean, std = _channels(CAFFE_MEAN, model), torch.ones(model.in_channels, 1, 1)
        tensors["conv1.weight"] = tensors["conv1.weight"].flip(1)
        how = ("Pictures are prepared as Caffe's: the mean pixel (123 red, 117 green, 104 blue) is subtracted; the "
               "kernels of conv1, which took blue first, are turned round to red first.")  # fmt: skip
    else:
        mean, std = _channels(IMAGENET_MEAN, model), _channels(IMAGENET_STD, model)
        how = "Pictures are prepared as PyTorch's: red first, each channel to ImageNet's mean 0 and deviation 1."
    if found.declared not in (None, size):
        how += (f" The file says {found.declared}×{found.declared} pixels; its layers fit {size}×{size}, "
                "which it sees here.")  # fmt: skip
    about = found.metadata
    save_weights(
        target,
        build(model, tensors, shown),
        Preprocessing(_canvas(about.get("canvas", ""), size), size, mean, std),
        _names(about.get("classes", ""), model.num_classes) or _classes(model.num_classes),
        RunConfig(model=model, data=DataConfig(name=about.get("trained_on", "")[:120] or UNKNOWN)),
        half=all(tensor.dtype == torch.float16 for name, tensor in tensors.items() if name.endswith(".weight")),
        folders=_names(about.get("folders", ""), model.num_classes),
        extra={"title": shown, "note": how},
    )


def _channels(values: tuple[float, float, float], model: ModelConfig) -> Tensor:
    """Of red, green and blue; or of the grey that is made of them: (C, 1, 1)."""
    if model.in_channels == 1:
        return torch.tensor([sum(value * share for value, share in zip(values, LUMA, strict=True))])[:, None, None]
    return torch.tensor(values)[:, None, None]


def _canvas(text: str, size: int) -> int:
    """The side that an export of ours states, or the usual one."""
    if text.isdecimal() and len(text) < 5 and size <= int(text) <= 4096:
        return int(text)
    return canvas_for(256 if size >= 224 else size, size)


def _names(text: str, count: int) -> list[str]:
    """A JSON list of so many names; empty where it is none."""
    try:
        names = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return []
    good = isinstance(names, list) and len(names) == count and all(isinstance(name, str) for name in names)
    return names if good else []


def _is_safetensors(data: bytes) -> bool:
    # Eight bytes of length, then JSON; zip files and pickles have neither byte there.
    return data[8:9] == b"{"


def _unpickle(data: bytes, shown: str) -> dict[str, Tensor]:
    """The state dict of a PyTorch file, its tensors only."""
    if not data.startswith((b"PK\x03\x04", b"\x80")):
        raise WeightsError(f"{shown} is neither a PyTorch file (.pth, .pt) nor a safetensors file: choose the file "
                           "that torch.save or safetensors wrote.")  # fmt: skip
    if _unpacked_bytes(data) > MAX_BYTES:
        raise WeightsError(f"{shown} unpacks to more than 1 GB: an AlexNet has a quarter of that.")
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(f"{shown} holds more than tensors, and opening it could run what is in there, so it was "
                           "not opened: save the weights alone, "
                           "torch.save(model.state_dict(), …).") from None  # fmt: skip
    except Exception:  # bytes from anyone: the reader ends in whatever error they lead it to
        raise WeightsError(f"{shown} is damaged, only the beginning of a file, or a TorchScript program: save the "
                           "weights again, torch.save(model.state_dict(), …).") from None  # fmt: skip
    if isinstance(loaded, dict):
        nested = (loaded.get(key) for key in ("state_dict", "model_state_dict", "model"))
        loaded = next((state for state in nested if isinstance(state, dict)), loaded)
    if not isinstance(loaded, dict) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise WeightsError(f"{shown} holds no state dict (names with their tensors): save one, "
                           "torch.save(model.state_dict(), …).")  # fmt: skip
    return {str(name): tensor for name, tensor in loaded.items()}


def _unpacked_bytes(data: bytes) -> int:
    """What a zip file takes once unpacked; 0 where it is none, or is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        return 0


def _plain(name: str) -> str:
    """A parameter's name without what `DataParallel` and `torch.compile` put in it."""
    return ".".join(part for part in name.split(".") if part not in ("module", "_orig_mod"))


def _recognise(found: Mapping[str, Shape], shown: str) -> ModelConfig:
    """The preset, with one tower or two and as many classes as the last layer has, that has these tensors."""
    candidates = [
        _with_classes_of(found, preset.model_copy(update={"towers": towers}))
        for preset in MODEL_PRESETS.values()
        for towers in (preset.towers, 3 - preset.towers)
    ]
    nearest = min(candidates, key=lambda config: sum(map(len, compare(parameter_shapes(config), found))))
    if different := differences(parameter_shapes(nearest), found):
        same = nearest.towers == MODEL_PRESETS[nearest.preset].towers
        towers = "" if same else f" with {nearest.towers} tower{'s' * (nearest.towers > 1)}"
        raise WeightsError(f"{shown} fits none of the networks here; the nearest is {nearest.preset}{towers}, where "
                           f"this differs: {different}.")  # fmt: skip
    return nearest


def _with_classes_of(found: Mapping[str, Shape], config: ModelConfig) -> ModelConfig:
    shape = found.get(f"{config.layers()[-1].name}.weight", ())
    if len(shape) == 2 and 2 <= shape[0] <= 100_000:
        return config.model_copy(update={"num_classes": shape[0]})
    return config


def _classes(count: int) -> list[str]:
    if count != 1000:
        return [f"class {index}" for index in range(count)]
    from torchvision.models import AlexNet_Weights

    return list(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])


def _settle(part: Path, folder: Path, slug: str) -> Path:
    """Move `part` to the first free name, or give the file that holds the same already."""
    target, number = folder / f"{slug}.safetensors", 1
    while True:
        try:
            target.touch(exist_ok=False)  # reserves the name: two visitors may bring a model.pth at once
            return part.replace(target)
        except FileExistsError:
            if filecmp.cmp(part, target, shallow=False):
                return target
        number += 1
        target = folder / f"{slug}-{number}.safetensors"
