"""Deleted runs lie in the trash, whole, until it is emptied."""

import shutil
from dataclasses import replace

import pytest

from alexnet_explorer.files import size_on_disk
from alexnet_explorer.runs import Run, RunError, create_run, list_runs, this_process, trash_folder
from alexnet_explorer.trash import empty, find_deleted, list_trash, restore


@pytest.fixture
def run(tmp_path, small):
    run = create_run(small(), tmp_path, init=b"weights")
    run.write_status(replace(run.status(), state="done"))
    return run


def files_of(run):
    return {str(file.relative_to(run.path)): file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


def test_what_is_restored_is_what_was_deleted(run, tmp_path):
    before = files_of(run) | {".lease": b""}
    deleted = run.delete()
    assert list_trash(tmp_path) == [deleted] and list_runs(tmp_path, gallery=False) == []
    assert restore(find_deleted(run.id, tmp_path), tmp_path) == run
    assert files_of(run) | {".lease": b""} == before and list_trash(tmp_path) == []


def test_two_of_one_id_are_both_kept(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    first = run.delete()
    shutil.copytree(tmp_path / "copy", run.path)
    second = run.delete()
    assert {first.id, second.id} == {run.id, f"{run.id}-2"} == {found.id for found in list_trash(tmp_path)}
    shutil.copytree(tmp_path / "copy", run.path)
    assert restore(first, tmp_path).id == f"{run.id}-2" and run.exists()


def test_emptying_frees_the_room_it_says(run, tmp_path):
    deleted = run.delete()
    size = size_on_disk(deleted.path)
    assert size > len(b"weights") and empty(list_trash(tmp_path)) == size
    assert list(trash_folder(tmp_path).iterdir()) == []


def test_a_run_at_work_stays_where_it_is(run, tmp_path):
    run.write_status(replace(run.status(), state="running", **this_process()))
    with pytest.raises(RunError, match="is at work"):
        run.delete()
    assert run.exists() and list_trash(tmp_path) == []


@pytest.mark.parametrize("name", ["nobody", "alexnet-64", "../x", ".trash"])
def test_only_what_lies_in_the_trash_is_found_there(tmp_path, name):
    with pytest.raises(RunError, match="there is no run"):
        find_deleted(name, tmp_path)


def test_what_cannot_be_moved_is_told(run, tmp_path):
    deleted = run.delete()
    shutil.rmtree(deleted.path)
    for act in (lambda: restore(deleted, tmp_path), lambda: empty([deleted])):
        with pytest.raises(RunError, match="cannot be re"):
            act()
    assert not Run(tmp_path / run.id).exists()
