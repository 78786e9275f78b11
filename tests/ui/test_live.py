"""What the live view says of a run, and the rows that it keeps of one that is being written."""

import json

import pytest

from alexnet_explorer.config import preset_config
from alexnet_explorer.runs import Status, create_run, this_process
from alexnet_explorer.ui import live


@pytest.fixture
def run(tmp_path):
    return create_run(preset_config("alexnet-32"), tmp_path)


def row(step, part="train", loss=1.0, error=0.5):
    return {"step": step, "epoch": step / 10, f"{part}/loss": loss, f"{part}/top1_error": error, "seconds": step * 1.5}


def write(run, *rows, mode="a", end="\n"):
    with (run.path / "metrics.jsonl").open(mode) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).removesuffix("\n") + end)


def test_nothing_is_there_before_the_first_row(run):
    kept = live.follow(run)
    assert (kept["train"], kept["val"]) == ([], [])


def test_training_and_validation_are_told_apart_and_errors_are_percent(run):
    write(run, row(1, loss=2.5, error=0.9), row(1, "val", 2.25, 0.75), row(2, "test", 9.0))
    kept = live.follow(run)
    assert kept["train"] == [(0.1, 2.5, 90.0)]
    assert kept["val"] == [(0.1, 2.25, 75.0)]


def test_only_what_is_new_is_read(run):
    write(run, row(1), row(2))
    kept = live.follow(run)
    text = (run.path / "metrics.jsonl").read_text()
    (run.path / "metrics.jsonl").write_text("x" * len(text))  # nobody looks there again
    write(run, row(3))
    assert [x for x, _, _ in live.follow(run, kept)["train"]] == [0.1, 0.2, 0.3]


def test_a_row_that_is_being_written_is_left_for_the_next_time(run):
    write(run, row(1))
    whole = json.dumps(row(2))
    write(run, mode="a", end=whole[:20])
    kept = live.follow(run)
    assert len(kept["train"]) == 1
    write(run, mode="a", end=whole[20:] + "\n")
    assert len(live.follow(run, kept)["train"]) == 2


@pytest.mark.parametrize("again", [[5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9, 10, 11, 12]])
@pytest.mark.parametrize("slower", [0, 1000])
def test_a_resumed_run_writes_its_rows_again(run, again, slower):
    """Its file is cut back to the checkpoint, so that what was read last may be gone, or in the middle of a line."""
    write(run, *map(row, range(1, 9)))
    kept = live.follow(run)
    rewritten = [row(step, loss=0.25) | {"seconds": step + slower} for step in again]
    write(run, *map(row, range(1, 5)), *rewritten, mode="w")
    kept = live.follow(run, live.follow(run, kept))
    assert [round(10 * x) for x, _, _ in kept["train"]] == [1, 2, 3, 4, *again]


def test_another_run_begins_anew(run, tmp_path):
    write(run, row(1))
    other = create_run(preset_config("alexnet-32"), tmp_path)
    write(other, row(1), row(2))
    assert len(live.follow(other, live.follow(run))["train"]) == 2


def test_a_long_run_is_kept_within_bounds(run):
    write(run, *map(row, range(1, live.MOST_ROWS + 3)))
    kept = live.follow(run)
    assert live.MOST_ROWS / 2 <= len(kept["train"]) <= live.MOST_ROWS
    assert kept["train"][0][0] == 0.1 and kept["train"][-1][0] > live.MOST_ROWS / 10 - 1


def test_both_charts_show_training_and_validation(run):
    write(run, row(1, loss=2.5, error=0.9), row(1, "val", 2.25, 0.75))
    loss, error = live.charts(live.follow(run))
    assert [(line.name, list(line.y)) for line in loss.data] == [("training", [2.5]), ("validation", [2.25])]
    assert [list(line.y) for line in error.data] == [[90.0], [75.0]]


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (840, "14 min"),
        (3899, "1 h 04 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations(seconds, text):
    assert live.duration(seconds) == text


def test_a_view_is_drawn_again_only_while_its_run_is_at_work_or_waits():
    at_work = this_process()
    assert live.refresh_seconds(Status(**at_work)) == live.refresh_seconds(Status(state="running", **at_work)) == 0.5
    assert live.refresh_seconds(Status(state="running", step=50, **at_work)) == 1.0
    assert live.refresh_seconds(Status(), place=2) == 2.0
    assert live.refresh_seconds(Status(state="paused"), place=2) is None
    for status in (Status(), Status(state="done"), Status(state="stopped"), Status(state="failed")):
        assert live.refresh_seconds(status) is None


def test_a_chart_in_words():
    assert live.in_words("loss", {"train/loss": 0.5, "val/loss": 0.625}).endswith("training 0.5, validation 0.625")
    assert live.in_words("top1_error", {}) == "Curves of top-1 error over the epochs; now: nothing yet"
