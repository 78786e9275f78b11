"""Attribution of many pictures by several methods: do they agree, and which is the most faithful for this network?

Of every picture each method explains the same class, the predicted one or one that is asked for. Kept of a map are the
areas under its curves of deletion and insertion, beside those of one random order and of the order from the centre
outwards, and its |values|, averaged in cells, by which maps are compared. It is kept on disk as it comes, so that
work that was broken off goes on from there, and a method more costs only its own maps.

    survey = Survey(loaded, pictures, ["saliency", "grad-cam"])
    survey.plan().seconds
    survey.run(progress).verdict
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from alexnet_explorer.data.images import ImageError
from alexnet_explorer.data.packed import data_root

from .agreement_tables import Agreement, MethodRows, Rows
from .array_cache import ArrayCache
from .attribution import NotApplicable, ask, attribute, baseline_of, private
from .costs import Passes, passes, seconds_of_pass
from .methods import METHODS, Settings
from .perturbing import STEPS, Kind, centre_map, curves, order
from .verdicts import area

if TYPE_CHECKING:
    from alexnet_explorer.model import AlexNet
    from alexnet_explorer.weights import LoadedModel

    from .picture_sets import PictureSet

MOST = 100  # pictures, unless more are asked for
SIDE = 32  # cells of a side in which maps are compared, or as many as there are pixels
KEEP_EVERY = 8  # pictures
MOST_BYTES = 256 * 2**20  # of all that is kept; a method's 100 maps have 0.4 MB
KINDS: tuple[Kind, ...] = ("deletion", "insertion")
_FORMAT = "1"
_REFERENCE = "reference"
_REFERENCES = tuple(f"{name}_{kind}" for name in ("random", "centre") for kind in KINDS)

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Plan:
    """What is left to do, told before it starts."""

    pictures: int
    maps: int  # that are not kept yet, of all methods together
    passes: int  # pictures forward through the network, and back
    seconds: float


class AgreementCache(ArrayCache):
    """Where it is kept, by default in the data folder of this machine."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(folder or data_root() / "agreement", most_bytes)


Row = dict[str, Any]


@dataclass
class _Part:
    """What is known of one method, or of the reference: a row for each of the first pictures."""

    about: tuple[str, ...]  # by which it is kept
    rows: list[Row] = field(default_factory=list)
    kept: int = 0


class Survey:
    """Attribution of the first `most` pictures of a set by some methods, all with the same settings.

    What is explained is class `target`, or where it is None each picture's predicted class. Raises ConfigError or
    KeyError as `attribute` does.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        pictures: PictureSet,
        methods: Sequence[str],
        settings: Settings | None = None,
        target: int | None = None,
        *,
        cache: AgreementCache | None = None,
        most: int = MOST,
    ) -> None:
        self.loaded, self.pictures, self.settings, self.target = loaded, pictures, settings, target
        self.count = min(pictures.count, most)
        self._cache = cache or AgreementCache()
        self._side = min(SIDE, loaded.preprocessing.size)
        any_picture = Image.new("RGB", (8, 8))  # the costs are the same for all
        self._questions = {key: ask(loaded, any_picture, key, target, settings) for key in methods}
        common = (_FORMAT, loaded.digest, pictures.key, str(target))
        self._parts = {_REFERENCE: _Part((*common, _REFERENCE))}
        for key, question in self._questions.items():
            own = replace(question.settings, layer=question.layer)
            self._parts[key] = _Part((*common, key, repr(own)))
        for key, part in self._parts.items():
            part.rows = self._read(part.about, key == _REFERENCE)
            part.kept = len(part.rows)

    def plan(self) -> Plan:
        """What is left to do, and about how long it takes, from a probe of a few passes."""
        forward, back = seconds_of_pass(ask(self.loaded, Image.new("RGB", (8, 8)), "saliency"))
        left = {key: self.count - len(part.rows) for key, part in self._parts.items()}
        costs = self._costs()
        return Plan(
            self.count,
            sum(left[key] for key in self._questions),
            sum(left[key] * (cost.forward + cost.back) for key, cost in costs.items()),
            sum(left[key] * (cost.forward * forward + cost.back * back) for key, cost in costs.items()),
        )

    def so_far(self) -> Agreement:
        """What can be said of the pictures that all these methods have been through; there may be none."""
        return self._result(min(len(part.rows) for part in self._parts.values()))

    def _costs(self) -> dict[str, Passes]:
        """The passes that one picture takes: two curves of each order, and each method's map."""
        both = len(KINDS) * (STEPS + 1)
        costs = {_REFERENCE: Passes(2 * both + 1, 0)}
        for key, question in self._questions.items():
            own = passes(question, key)
            costs[key] = Passes(own.forward + both + 1, own.back)
        return costs

    def run(self, progress: Progress | None = None) -> Agreement:
        """Go through every picture that some method has not been through.

        `progress` is called with the share that is done and what is under way; what it raises ends the work, and what
        was done by then is kept for the next time. A method that has nothing to say of a picture is counted, with its
        reason, and so is a picture that cannot be read.
        """
        import captum.attr  # noqa: F401 - half a second that is no part of the first method's time

        progress = progress or (lambda share, text: None)
        model = private(self.loaded)
        weights = {key: cost.forward + 2 * cost.back for key, cost in self._costs().items()}
        whole = sum(weights[key] * (self.count - len(part.rows)) for key, part in self._parts.items()) or 1
        done = 0
        try:
            for number in range(min(len(part.rows) for part in self._parts.values()), self.count):
                picture = self._open(number)
                for key, part in self._parts.items():
                    if len(part.rows) > number:
                        continue
                    title = METHODS[key].title if key in METHODS else "random orders and the centre"
                    text = f"picture {number + 1:,} of {self.count:,}: {title}"
                    share, own = done / whole, weights[key] / whole
                    progress(share, text)

                    def hear(inner: float, share: float = share, own: float = own, text: str = text) -> None:
                        progress(share + own * inner, text)

                    part.rows.append(self._row(key, number, picture, model, hear))
                    done += weights[key]
                if (number + 1) % KEEP_EVERY == 0:
                    self._keep()
        finally:
            self._keep()
        progress(1.0, f"{self.count:,} pictures")
        return self._result(self.count)

    def _open(self, number: int) -> Image.Image | str:
        """A picture, or why it cannot be read."""
        try:
            return self.pictures.picture(number)
        except ImageError as error:
            return str(error)

    def _row(
        self, key: str, number: int, picture: Image.Image | str, model: AlexNet, hear: Callable[[float], None]
    ) -> Row:
        if key == _REFERENCE:
            return self._reference(number, picture, model)
        nothing = {
            "reason": "",
            "cells": np.full(self._side**2, np.nan, np.float32),
            "seconds": math.nan,
        } | dict.fromkeys(KINDS, math.nan)
        if isinstance(picture, str):
            return nothing | {"reason": picture}
        target = int(self._parts[_REFERENCE].rows[number]["target"])
        try:
            found = attribute(self.loaded, picture, key, target, self.settings, progress=hear)
        except NotApplicable as reason:
            return nothing | {"reason": str(reason)}
        cells = F.adaptive_avg_pool2d(torch.from_numpy(np.abs(found.map))[None], self._side).flatten().numpy()
        areas = {kind: row[0] for kind, row in self._areas(model, picture, [order(found.map)], target).items()}
        return nothing | {"cells": cells, "seconds": found.seconds} | areas

    def _reference(self, number: int, picture: Image.Image | str, model: AlexNet) -> Row:
        """The class that is explained, and the areas of a random order and of the centre's."""
        if isinstance(picture, str):
            return {"target": -1} | dict.fromkeys(_REFERENCES, math.nan)
        size = self.loaded.preprocessing.size
        if (target := self.target) is None:
            with torch.inference_mode():
                target = int(model(self.loaded.preprocessing(picture))[0].argmax())
        orders = [np.random.default_rng((0, number)).permutation(size**2), order(centre_map(size, size))]
        found = self._areas(model, picture, orders, target)
        areas = [found[kind][place] for place in range(len(orders)) for kind in KINDS]
        return {"target": target} | dict(zip(_REFERENCES, areas, strict=True))

    def _areas(
        self, model: AlexNet, picture: Image.Image, orders: list[NDArray[np.intp]], target: int
    ) -> dict[str, list[float]]:
        x, blurred = self.loaded.preprocessing(picture), baseline_of(self.loaded, picture, "blurred")
        return {
            kind: [
                area(curve.tolist())
                for curve in curves(model, x, blurred, kind, orders, lambda share: None)[..., target]
            ]
            for kind in KINDS
        }

    def _keep(self) -> None:
        for part in self._parts.values():
            if len(part.rows) > part.kept:
                arrays = {name: np.array([row[name] for row in part.rows]) for name in part.rows[0]}
                self._cache.keep(arrays, *part.about)
                part.kept = len(part.rows)

    def _read(self, about: tuple[str, ...], reference: bool) -> list[Row]:
        """The rows that are kept, none where they do not have the form that this code gives them."""
        arrays = self._cache.find(*about)
        if arrays is None:
            return []
        numbers = {"target", *_REFERENCES} if reference else {"seconds", *KINDS}
        shapes = dict.fromkeys(numbers, 1) | ({} if reference else {"reason": 1, "cells": 2})
        if set(arrays) != set(shapes) or any(arrays[name].ndim != shape for name, shape in shapes.items()):
            return []
        count = len(arrays["target" if reference else "reason"])
        sound = all(
            len(array) == count and (array.dtype.kind == "U") == (name == "reason") for name, array in arrays.items()
        )
        if not sound or (not reference and arrays["cells"].shape[1] != self._side**2):
            return []
        return [{name: array[number] for name, array in arrays.items()} for number in range(min(count, self.count))]

    def _result(self, count: int) -> Agreement:
        """What the first `count` pictures say."""
        reference = self._parts[_REFERENCE].rows[:count]

        def column(rows: list[Row], name: str) -> NDArray[np.float64]:
            return np.array([row[name] for row in rows], np.float64)

        methods = {}
        for key in self._questions:
            rows = self._parts[key].rows[:count]
            methods[key] = MethodRows(
                column(rows, "deletion"), column(rows, "insertion"),
                np.array([row["cells"] for row in rows], np.float32).reshape(count, self._side**2),
                column(rows, "seconds"), tuple(str(row["reason"]) for row in rows),
            )  # fmt: skip
        targets = np.array([row["target"] for row in reference], np.int64)
        random, centre = (
            Rows(column(reference, f"{name}_deletion"), column(reference, f"{name}_insertion"))
            for name in ("random", "centre")
        )
        return Agreement(
            methods, random, centre, targets,
            [self.loaded.classes[target] if target >= 0 else "" for target in targets],
            [self.pictures.label(number) or "" for number in range(count)],
            [self.pictures.name_of(number) for number in range(count)],
        )  # fmt: skip
