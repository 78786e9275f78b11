"""What the live view says of a run."""

import pytest

from alexnet_explorer.runs import Status, this_process
from alexnet_explorer.ui import live


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status(epochs=30), "0 of 30 epochs"),
        (Status(state="running", epoch=3.36, epochs=30, seconds_left=200), "3.4 of 30 epochs, 3 min 20 s left"),
        (Status(state="stopped", epoch=3.36, epochs=30, seconds_left=200), "3.4 of 30 epochs"),
        (Status(state="done", epoch=30, epochs=30), "30 of 30 epochs"),
    ],
)
def test_the_progress_in_words(status, text):
    assert live.progress_text(status) == text


def test_a_view_is_drawn_again_only_while_its_run_is_at_work_or_waits():
    at_work = this_process()
    assert live.refresh_seconds(Status(**at_work)) == live.refresh_seconds(Status(state="running", **at_work)) == 0.5
    assert live.refresh_seconds(Status(state="running", step=50, **at_work)) == 1.0
    assert live.refresh_seconds(Status(), place=2) == 2.0
    assert live.refresh_seconds(Status(state="paused"), place=2) is None
    for status in (Status(), Status(state="done"), Status(state="stopped"), Status(state="failed")):
        assert live.refresh_seconds(status) is None
