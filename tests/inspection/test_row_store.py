"""Rows on disk: computed once, gone on with where they were broken off, never taken where they do not fit, bounded."""

import os

import numpy as np
import pytest

from alexnet_explorer.data.packed import DataError
from alexnet_explorer.inspection.row_store import RowStore

ROWS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
KEY = ("network", "layer", "set")


class Source:
    """Gives the rows from a number on, three at a time, and notes from which ones it was asked."""

    def __init__(self, rows=ROWS):
        self.rows, self.starts = rows, []

    def __call__(self, start):
        self.starts.append(start)
        for first in range(start, len(self.rows), 3):
            yield self.rows[first : first + 3]


class StoppedHere(Exception):
    pass


def silent(share, text):
    pass


def stop_at(share):
    def progress(done, text):
        if done >= share:
            raise StoppedHere(text)

    return progress


@pytest.fixture
def store(tmp_path):
    return RowStore(tmp_path / "rows")


@pytest.mark.parametrize("rows", [ROWS, (ROWS * 50).astype(np.uint8)], ids=["numbers", "pixels"])
def test_what_was_computed_is_read_from_then_on(store, rows):
    source, heard = Source(rows), []
    assert store.find(KEY, 7) is None
    found = store.fill(KEY, 7, source, lambda share, text: heard.append((round(share, 2), text)))
    np.testing.assert_array_equal(found, rows)
    assert found.dtype == rows.dtype and isinstance(found, np.memmap)
    assert heard == [(0.43, "3 of 7 pictures"), (0.86, "6 of 7 pictures"), (1.0, "7 of 7 pictures")]
    np.testing.assert_array_equal(store.find(KEY, 7), rows)
    np.testing.assert_array_equal(store.fill(KEY, 7, source, silent), rows)
    assert source.starts == [0]
    assert store.find(("network", "layer", "another set"), 7) is None


def test_it_goes_on_where_it_was_stopped(store):
    source = Source()
    with pytest.raises(StoppedHere, match="6 of 7"):
        store.fill(KEY, 7, source, stop_at(0.8))
    assert store.find(KEY, 7) is None
    np.testing.assert_array_equal(store.fill(KEY, 7, source, silent), ROWS)
    assert source.starts == [0, 6]


@pytest.mark.parametrize(("keep", "start"), [(0, 0), (3, 0), (130, 0), (128 + 20 * 4 + 7, 4), (128 + 20 * 6, 6)])
def test_a_part_that_was_cut_off_anywhere_is_gone_on_with(store, keep, start):
    with pytest.raises(StoppedHere):
        store.fill(KEY, 7, Source(), stop_at(0.8))
    (part,) = store.folder.glob("*.part")
    os.truncate(part, keep)
    source = Source()
    np.testing.assert_array_equal(store.fill(KEY, 7, source, silent), ROWS)
    assert source.starts == [start]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_computed_again(store, content):
    store.fill(KEY, 7, Source(), silent)
    (file,) = store.folder.glob("*.npy")
    file.write_bytes(content)
    assert store.find(KEY, 7) is None
    np.testing.assert_array_equal(store.fill(KEY, 7, Source(), silent), ROWS)


def test_a_file_that_lost_its_end_or_has_other_rows_is_not_taken(store):
    store.fill(KEY, 7, Source(), silent)
    assert store.find(KEY, 8) is None
    (file,) = store.folder.glob("*.npy")
    os.truncate(file, file.stat().st_size - 1)
    assert store.find(KEY, 7) is None


def test_nothing_that_is_pickled_is_read(store):
    store.fill(KEY, 7, Source(), silent)
    (file,) = store.folder.glob("*.npy")
    np.save(file, np.array([[print]] * 7, dtype=object), allow_pickle=True)
    assert store.find(KEY, 7) is None


def test_those_not_read_for_the_longest_time_go_first(tmp_path):
    store = RowStore(tmp_path, most_bytes=3 * (128 + ROWS.nbytes))
    keys = [(str(number),) for number in range(5)]
    for age, key in enumerate(keys[:3]):
        store.fill(key, 7, Source(), silent)
        (newest,) = [file for file in tmp_path.glob("*.npy") if file.stat().st_mtime > 10**6]
        os.utime(newest, (1000 + age, 1000 + age))
    assert store.find(keys[0], 7) is not None  # read just now
    for key in keys[3:]:
        store.fill(key, 7, Source(), silent)
    assert [store.find(key, 7) is not None for key in keys] == [True, False, False, True, True]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= store.most_bytes


def test_a_folder_that_cannot_be_is_told_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be kept in 'rows'"):
        RowStore(tmp_path / "file" / "rows").fill(KEY, 7, Source(), silent)
