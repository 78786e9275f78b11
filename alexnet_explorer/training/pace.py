"""How fast a training goes now, and how long the rest will take: means over the last half minute, not since its start.

A machine that gets another task, or loses one, changes its pace within seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LATELY = 30.0  # seconds of training in which what was before loses two thirds of its weight


class Pace:
    """Images a second while training; what validation takes counts by itself, as it comes once an epoch.

    `images` is the number of images that were trained on before; `clock` gives seconds.
    """

    def __init__(self, images: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last, self._images = clock, clock(), images
        self._recent_images = self._recent_seconds = 0.0
        self._aside = self._aside_last_epoch = 0.0
        self._is_aside = False

    def at(self, images: int) -> None:
        """So many images have been trained on by now; while something else is done, this changes nothing."""
        if self._is_aside:
            return
        now = self._clock()
        seconds = now - self._last
        kept = math.exp(-seconds / LATELY)
        self._recent_images = kept * self._recent_images + images - self._images
        self._recent_seconds = kept * self._recent_seconds + seconds
        self._last, self._images = now, images

    @contextmanager
    def aside(self, images: int) -> Iterator[None]:
        """What is no training: validation, checkpoints. `images` as in `at`."""
        self.at(images)
        self._is_aside = True
        try:
            yield
        finally:
            self._is_aside, now = False, self._clock()
            self._aside += now - self._last
            self._last = now

    def end_epoch(self) -> None:
        """What comes now belongs to the next epoch."""
        self._aside_last_epoch, self._aside = self._aside, 0.0

    @property
    def img_per_s(self) -> float | None:
        """None before the first images."""
        return self._recent_images / self._recent_seconds if self._recent_images and self._recent_seconds else None

    def seconds_left(self, epochs: float, images: int) -> float | None:
        """For so many more epochs of so many images each, with validations that take as long as in the last epoch."""
        speed = self.img_per_s
        return None if speed is None else epochs * (images / speed + self._aside_last_epoch)
