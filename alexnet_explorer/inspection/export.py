"""What a network makes of one picture, as files: predictions, the input, every layer's maps, statistics and kernels.

contents = Export(loaded, picture, ["conv1", "relu1"]).files()       # {"input.png": b"…", …}
write(Path("looked"), contents)
"""

from __future__ import annotations

import io
import json
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..files import csv_text
from ..weights import LoadedModel
from .activations import statistics, walk
from .filters import filters, kernels
from .mosaic import Colormap, heat_limit, limits, mosaic, overlay, to_png
from .predict import predict

MANIFEST = "inspect.json"
WIDTH = 1024  # pixels that a mosaic fills, if its maps are small
MOST_ZOOM = 8
TOP = 5  # classes in the manifest; the table has all

Array = NDArray[np.float32]


class ExportError(ValueError):
    """Files that cannot be written; one sentence that says what is in the way and what to do."""


@dataclass(frozen=True)
class Export:
    """One picture in one network; `layers` by their own names, `unit` in each of them."""

    loaded: LoadedModel
    image: Image.Image
    layers: Sequence[str]
    unit: int | None = None

    def files(self) -> dict[str, bytes]:
        """The files by their names. `inspect.json`, the last one, says what each picture shows, and on which scale."""
        maps = walk(self.loaded, self.image, self.layers)
        seen = np.asarray(self.loaded.preprocessing.crop(self.image.convert("RGB")))
        predictions = predict(self.loaded, self.image, len(self.loaded.classes))
        files = {"input.png": to_png(seen)}
        files["predictions.csv"] = _table(
            ("rank", "class", "index", "probability"),
            ((rank, p.label, p.index, p.probability) for rank, p in enumerate(predictions, 1)),
        )
        rows: list[dict[str, Any]] = []
        for name in self.layers:
            layer = self.loaded.model.layers[name]
            row = {"layer": name, "kind": layer.kind, "shape": list(layer.output), **asdict(statistics(maps[name]))}
            row["map"], files[f"{name}.png"] = _mosaic(name, maps[name])
            if layer.kind == "conv":
                row["kernels"], files[f"{name}-kernels.png"] = self._kernels(name)
            if self.unit is not None:
                row["unit"] = self._unit(name, maps[name], seen, files)
            rows.append(row)
        figures = [name for name in rows[0] if name not in ("shape", "map", "kernels", "unit")] if rows else []
        files["statistics.csv"] = _table(figures, ([row[name] for name in figures] for row in rows))
        files["maps.npz"] = _arrays(maps)
        about = {
            "model": self.loaded.name,
            "digest": self.loaded.digest,
            "predictions": [asdict(prediction) for prediction in predictions[:TOP]],
            "layers": rows,
            "files": [*files, MANIFEST],
        }
        files[MANIFEST] = (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode()
        return files

    def _kernels(self, name: str) -> tuple[dict[str, Any], bytes]:
        """Of the layer that sees colours, its kernels as such; of another one a row a kernel, a column an input map."""
        weights = kernels(self.loaded.model, name)
        count, seen, side, _ = weights.shape
        colours = self.loaded.model.layers[name].number == 1 and seen in (1, 3)
        # A few weights are far larger than the others, which would be white beside them.
        limit = float(np.abs(weights).max()) if colours else heat_limit(weights)
        about = {"file": f"{name}-kernels.png", "colormap": "rgb" if colours else "diverging", "lowest": -limit}
        layout = _layout(count, side) if colours else _layout(seen**2, side)
        tiles = filters(self.loaded.model, name) if colours else weights.reshape(-1, side, side)
        picture = mosaic(tiles, **layout, colormap="diverging", vmin=-limit, vmax=limit)
        return {**about, "highest": limit, **layout}, to_png(picture)

    def _unit(self, name: str, values: Array, seen: NDArray[np.uint8], files: dict[str, bytes]) -> dict[str, Any]:
        """The unit's value, or its map over what the network sees."""
        assert self.unit is not None
        own = values[self.unit]
        if own.ndim == 0:
            return {"number": self.unit, "value": float(own)}
        file = f"{name}-unit-{self.unit}.png"
        times = max(1, WIDTH // 2 // len(seen))
        signed = bool((own < 0).any())
        files[file] = to_png(overlay(seen.repeat(times, 0).repeat(times, 1), own, signed))
        return {"number": self.unit, "file": file, "lowest": float(own.min()), "highest": float(own.max())}


def _mosaic(name: str, values: Array) -> tuple[dict[str, Any], bytes]:
    """All maps of a layer on one scale, white at zero where there are negative values."""
    tiles = values if values.ndim == 3 else values[:, None, None]
    colormap: Colormap = "diverging" if (values < 0).any() else "viridis"
    low, high = limits(values, colormap)
    low = low if colormap == "diverging" else 0.0
    layout = _layout(len(tiles), tiles.shape[2])
    picture = mosaic(tiles, **layout, colormap=colormap, vmin=low, vmax=high)
    return {"file": f"{name}.png", "colormap": colormap, "lowest": low, "highest": high, **layout}, to_png(picture)


class _Layout(TypedDict):
    """Arguments of `mosaic`."""

    columns: int
    zoom: int


def _layout(count: int, side: int) -> _Layout:
    columns = math.ceil(math.sqrt(count))
    return {"columns": columns, "zoom": max(1, min(MOST_ZOOM, WIDTH // (columns * (side + 1))))}


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    return csv_text([head, *rows]).encode()


def _arrays(maps: Mapping[str, Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **maps)
    return buffer.getvalue()


def check_folder(folder: Path) -> None:
    """Raises ExportError where files cannot be written there: other files than those of an earlier export are in it."""
    if not folder.parent.is_dir():
        raise ExportError(f"there is no folder {folder.parent}")
    if folder.exists() and not folder.is_dir():
        raise ExportError("it is a file: name a folder")
    if foreign := sorted(_names(folder) - _earlier(folder)):
        some = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise ExportError(f"there are files in it that no `inspect` has written ({some}): name a new folder")


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write an export into a new or empty folder, or over an earlier one, whose files go.

    They are all written under another name first, so that a new folder is there as a whole or not at all. Raises
    ExportError, also for what `check_folder` says.
    """
    check_folder(folder)
    try:
        part = Path(tempfile.mkdtemp(dir=folder if folder.exists() else folder.parent, prefix=f".{folder.name}."))
        try:
            for name, content in files.items():
                (part / name).write_bytes(content)
            if not folder.exists():
                part.chmod(0o755)
                part.replace(folder)
                return
            for name in _earlier(folder) - set(files):
                (folder / name).unlink(missing_ok=True)
            for name in files:
                (part / name).replace(folder / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"it cannot be written: {error.strerror}") from error


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _earlier(folder: Path) -> set[str]:
    """The files there that an earlier export wrote, as its manifest says."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        return {name for name in listed if isinstance(name, str)} & _names(folder)
    except (OSError, ValueError, LookupError, TypeError):
        return set()
