"""Attribution maps for the pages: each is computed once and kept; what takes long waits for a click and shows a bar."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import streamlit as st

from alexnet_explorer.config import ConfigError
from alexnet_explorer.inspection.methods import METHODS, Settings
from alexnet_explorer.inspection.mosaic import RGB, encircled, heat_limit, overlay
from alexnet_explorer.inspection.regions import in_words, strongest
from alexnet_explorer.ui import networks, working
from alexnet_explorer.ui.views import Array, Look
from alexnet_explorer.words import duration

if TYPE_CHECKING:
    from alexnet_explorer.inspection.attribution import Attribution

AT_ONCE = 2.0  # seconds: what takes no longer needs no click
Share = Callable[[float], None]
Answer: TypeAlias = "Attribution | str | None"
"""A map; the reason why there is none; or None where it waits for a click, or is under way."""


@dataclass(frozen=True)
class Job:
    """Something to compute once, and to keep under `key`; `compute` is told whom to report the share that is done."""

    key: Hashable
    title: str
    compute: Callable[[Share], Any]
    seconds: Callable[[], float] | None = None  # about how long it takes; None: not worth mentioning


def results_of(jobs: Sequence[Job], slot: str, button: str, at_once: float | None = None) -> list[Any]:
    """What came of each; None where it waits for a click, or is under way.

    `slot` is that of the work in the background; the button tells the time. What takes less than `at_once` seconds,
    else than `AT_ONCE`, needs no click.
    """
    store = networks.results()
    left = []
    total = 0.0
    with st.spinner("Computing …", show_time=True):
        for job in jobs:
            if job.seconds is None:
                store.get(job.key, partial(job.compute, _nobody))
            elif job.key not in store:
                left.append(job)
                total += job.seconds()
    if left:

        def act(progress: working.Progress) -> bool:
            for number, job in enumerate(left):

                def report(share: float, number: int = number, title: str = job.title) -> None:
                    progress((number + share) / len(left), title)

                report(0.0)
                store.get(job.key, partial(job.compute, report), waiting=partial(report, 0.0))
            return True

        # Of all, so that it stays the same piece of work while one after the other is done.
        about = repr([job.key for job in jobs if job.seconds is not None])
        working.offer(
            slot,
            about,
            f"{button}: about {duration(max(1, total))}",
            act,
            at_once=total < (AT_ONCE if at_once is None else at_once),
        )
    return [store.find(job.key) for job in jobs]


def _nobody(share: float) -> None:
    """Hears how far quick work came."""


@dataclass(frozen=True)
class Ask:
    """One map: of the look's network and picture, by a method, for a class (None: what this network predicts)."""

    look: Look
    method: str
    settings: Settings
    target: int | None

    @property
    def key(self) -> Hashable:
        return ("map", self.method, self.settings, self.target, self.look.model.digest, self.look.picture.key)

    def job(self) -> Job:
        title = f"{METHODS[self.method].title}, {self.look.model.title}"
        return Job(self.key, title, self.compute, self.seconds if METHODS[self.method].slow else None)

    def compute(self, report: Share = _nobody) -> Attribution | str:
        """The map, or the reason why there is none."""
        from alexnet_explorer.inspection.attribution import NotApplicable, attribute

        look = self.look
        try:
            return attribute(look.model, look.picture.image, self.method, self.target, self.settings, progress=report)
        except (NotApplicable, ConfigError) as reason:
            return str(reason)
        except KeyError as error:
            return str(error.args[0])

    def seconds(self) -> float:
        """About how long it will take, by a probe of this network on this machine."""
        return self.look.remember(("seconds", self.method, self.settings), self._estimate)

    def _estimate(self) -> float:
        from alexnet_explorer.inspection.attribution import NotApplicable, ask
        from alexnet_explorer.inspection.costs import passes

        look = self.look
        try:
            question = ask(look.model, look.picture.image, self.method, self.target, self.settings)
        except (NotApplicable, ConfigError, KeyError):  # which `compute` tells
            return 0.0
        number = passes(question, self.method)
        forward, back = pass_seconds(look)
        return number.forward * forward + number.back * back


def pass_seconds(look: Look) -> tuple[float, float]:
    """How long this network takes for a picture, forward and back, by one probe."""
    from alexnet_explorer.inspection.attribution import ask
    from alexnet_explorer.inspection.costs import seconds_of_pass

    key = ("seconds of a pass", look.model.digest)
    return networks.results().get(key, lambda: seconds_of_pass(ask(look.model, look.picture.image, "saliency")))


def answers(asks: Sequence[Ask], slot: str, what: str) -> list[Answer]:
    """The maps, each computed where it is not kept; see `results_of`."""
    return results_of([ask.job() for ask in asks], slot, f"Compute {what}")


def maps_of(results: Sequence[Answer]) -> list[Attribution]:
    """Those that there are."""
    return [result for result in results if result is not None and not isinstance(result, str)]


def shared_limit(results: Sequence[Answer]) -> float:
    """The |value| in full colour for all of them: the largest of their 99th percentiles."""
    return max((heat_limit(found.map) for found in maps_of(results)), default=0.0)


def drawn(seen: RGB, heat: Array, signed: bool, limit: float | None, outline: bool) -> RGB:
    """A map over what the network saw; on request with a line around its strongest tenth."""
    picture = overlay(seen, heat, signed, limit=limit or None)
    region = strongest(heat) if outline else None
    return encircled(picture, region.mask) if region else picture


def said(found: Attribution, label: str) -> str:
    """A map's text alternative."""
    return in_words(found.map, f"Evidence for {label} by {METHODS[found.method].title}", found.signed)


def colours(signed: bool) -> str:
    """What the colours say, for a caption."""
    return "blue speaks against the class, red for it" if signed else "the lighter, the more it matters"


def difference(one: Attribution, other: Attribution) -> Array:
    """What the first has more than the second, pixel by pixel."""
    return np.asarray(one.map - other.map, dtype=np.float32)
