"""The queue in words."""

import pytest

from alexnet_explorer.runs import Status, this_process
from alexnet_explorer.ui import queueing

AT_WORK = this_process()


@pytest.mark.parametrize(
    ("status", "asked", "place", "text"),
    [
        (Status(), None, None, "not started"),
        (Status(), None, 3, "third in the queue"),
        (Status(), None, 21, "number 21 in the queue"),
        (Status(**AT_WORK), None, 0, "starting …"),
        (Status(**AT_WORK), "paused", 0, "pausing …"),
        (Status(state="running", **AT_WORK), None, 0, "running"),
        (Status(state="running", **AT_WORK), "stopped", 0, "stopping …"),
        (Status(state="paused", **AT_WORK), None, 1, "paused"),
        (Status(state="stopped"), "stopped", None, "stopped"),
        (Status(state="done"), None, None, "done"),
        (Status(job="7"), None, None, "job 7 of Slurm waits"),
        (Status(state="running", job="7", **AT_WORK), None, None, "running"),
    ],
)
def test_the_state_in_words(status, asked, place, text):
    assert queueing.state_text(status, asked, place) == text
