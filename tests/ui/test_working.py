"""Work in the background: what came of it, why nothing did, and an end to it."""

import base64
import io
import threading
import time
import weakref

import numpy as np
from PIL import Image

from alexnet_explorer.runs import RunError
from alexnet_explorer.ui import working
from alexnet_explorer.ui.working import Work, _in_a_link


def done(work):
    work.start()
    work.join(10)
    assert not work.is_alive()
    return work


def test_the_result_is_there_at_the_end():
    heard = []

    def act(progress):
        progress(0.5, "half of it")
        heard.append((work.share, work.text))
        return 7

    work = Work(act)
    assert done(work).result == 7 and heard == [(0.5, "half of it")]


def test_what_stood_against_it_is_told():
    def act(progress):
        raise RunError("no room on the disk")

    work = done(Work(act))
    assert work.result is None and work.message == "no room on the disk"


def test_it_ends_at_its_next_step_when_it_is_stopped():
    begun, go_on, steps = threading.Event(), threading.Event(), []

    def act(progress):
        for step in range(100):
            progress(step / 100, "on its way")
            steps.append(step)
            begun.set()
            go_on.wait(10)

    work = Work(act)
    work.start()
    begun.wait(10)
    work.stop()
    go_on.set()
    work.join(10)
    assert steps == [0] and work.result is None and work.message == "Stopped."


def test_what_is_over_keeps_nothing_of_what_it_began_from():
    upload = io.BytesIO(bytes(10))
    gone = weakref.ref(upload)
    work = Work(lambda progress, upload=upload: len(upload.getvalue()))
    del upload
    assert done(work).result == 10 and gone() is None


def test_what_nobody_looks_at_any_more_goes(monkeypatch):
    kept, old, under_way = (Work(lambda progress: 1), Work(lambda progress: 1), Work(lambda progress: go_on.wait(10)))
    go_on = threading.Event()
    works = {"kept": done(kept), "old": done(old), "under way": under_way}
    under_way.start()
    old.asked = under_way.asked = time.monotonic() - 2 * working.KEPT_SECONDS
    monkeypatch.setattr(working, "_works", lambda: works)
    working._sweep()
    go_on.set()
    assert set(works) == {"kept", "under way"}


def test_what_has_come_so_far_can_be_seen():
    picture, seen = np.zeros((2, 2, 3), np.uint8), []

    def act(progress):
        progress(0.5, "half of it", picture)
        seen.append(work.picture)

    work = Work(act)
    assert work.picture is None
    done(work)
    assert seen[0] is picture


def test_a_picture_in_a_link_is_one_that_browsers_read():
    link = _in_a_link(np.full((4, 6, 3), 200, np.uint8))
    kind, _, text = link.partition(",")
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert (image.format, image.size, kind) == ("JPEG", (6, 4), "data:image/jpeg;base64")
