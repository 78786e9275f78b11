"""The rows that a session keeps of a run that is being written."""

import json

import pytest

from alexnet_explorer.config import preset_config
from alexnet_explorer.runs import create_run
from alexnet_explorer.ui.history import MOST_ROWS, follow


@pytest.fixture
def run(tmp_path):
    return create_run(preset_config("alexnet-32"), tmp_path)


def row(step, part="train", loss=1.0):
    return {"step": step, "epoch": step / 10, f"{part}/loss": loss, "seconds": step * 1.5}


def write(run, *rows, mode="a", end="\n"):
    with (run.path / "metrics.jsonl").open(mode) as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).removesuffix("\n") + end)


def steps(kept, part="train"):
    return [row["step"] for row in kept[part]]


def test_nothing_is_there_before_the_first_row(run):
    kept = follow(run)
    assert (kept["train"], kept["val"]) == ([], [])


def test_rows_of_training_and_validation_are_told_apart(run):
    write(run, row(1, loss=2.5), row(1, "val", 2.25), row(2, "test", 9.0))
    kept = follow(run)
    assert (kept["train"], kept["val"]) == ([row(1, loss=2.5)], [row(1, "val", 2.25)])


def test_only_what_is_new_is_read(run):
    write(run, row(1), row(2))
    kept = follow(run)
    text = (run.path / "metrics.jsonl").read_text()
    (run.path / "metrics.jsonl").write_text("x" * len(text))  # nobody looks there again
    write(run, row(3))
    assert steps(follow(run, kept)) == [1, 2, 3]


def test_a_row_that_is_being_written_is_left_for_the_next_time(run):
    write(run, row(1))
    whole = json.dumps(row(2))
    write(run, mode="a", end=whole[:20])
    kept = follow(run)
    assert steps(kept) == [1]
    write(run, mode="a", end=whole[20:] + "\n")
    assert steps(follow(run, kept)) == [1, 2]


@pytest.mark.parametrize("again", [[5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9, 10, 11, 12]])
@pytest.mark.parametrize("slower", [0, 1000])
def test_a_resumed_run_writes_its_rows_again(run, again, slower):
    """Its file is cut back to the checkpoint, so that what was read last may be gone, or in the middle of a line."""
    write(run, *map(row, range(1, 9)))
    kept = follow(run)
    rewritten = [row(step, loss=0.25) | {"seconds": step + slower} for step in again]
    write(run, *map(row, range(1, 5)), *rewritten, mode="w")
    assert steps(follow(run, follow(run, kept))) == [1, 2, 3, 4, *again]


def test_a_resumed_run_of_which_less_is_there_than_was_read_has_lost_its_last_rows(run):
    """The checkpoint was long before the end, and what is written since does not yet reach so far."""
    write(run, *map(row, range(1, 40)))
    kept = follow(run)
    write(run, *map(row, range(1, 20)), mode="w")
    kept = follow(run, kept)
    assert steps(kept) == list(range(1, 20))
    write(run, *(row(step, loss=0.25) for step in range(20, 30)))
    kept = follow(run, kept)
    assert steps(kept) == list(range(1, 30)) and kept["train"][-1]["train/loss"] == 0.25


def test_a_file_that_is_gone_has_no_rows(run):
    write(run, row(1))
    kept = follow(run)
    (run.path / "metrics.jsonl").unlink()
    assert steps(follow(run, kept)) == []


def test_another_run_begins_anew(run, tmp_path):
    write(run, row(1))
    other = create_run(preset_config("alexnet-32"), tmp_path)
    write(other, row(3), row(4))
    assert steps(follow(other, follow(run))) == [3, 4]


def test_a_long_run_is_kept_within_bounds_and_its_epochs_are_all_there(run):
    write(run, *map(row, range(1, MOST_ROWS + 3)), *(row(step, "val") for step in range(10, 500, 10)))
    kept = follow(run)
    assert MOST_ROWS / 2 <= len(kept["train"]) <= MOST_ROWS
    assert kept["train"][0]["step"] == 1 and kept["train"][-1]["step"] == MOST_ROWS + 2
    assert steps(kept, "val") == list(range(10, 500, 10))
