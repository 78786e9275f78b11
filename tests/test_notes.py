"""What a person says of a run: kept with it, within limits, and never in the way of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_explorer.notes import NAME_LENGTH, Notes, NotesError, parse_notes, read_notes, tidy_tags, write_notes
from alexnet_explorer.runs import RunError, create_run, find_run, this_process


@pytest.fixture
def run(tmp_path, small):
    return create_run(small(), tmp_path)


def test_nothing_said_is_empty_notes(run):
    assert run.notes() == Notes()
    assert run.title == "small · colours"


def test_what_is_said_of_a_run_is_kept_with_it(run, tmp_path):
    said = Notes("The first", ("paired", "tanh"), "Two lines:\nand *more*.", archived=True)
    run.write_notes(said)
    assert find_run(run.id, tmp_path).notes() == said
    assert run.title == "The first"


def test_a_run_at_work_can_be_named(run):
    run.write_status(replace(run.status(), state="running", **this_process()))
    with run.lease():
        run.write_notes(Notes("Busy"))
    assert run.title == "Busy"


def test_names_and_tags_are_tidied(run):
    run.write_notes(Notes("  two \n words ", ("b, a", " b ", "", "two  words"), " note\n"))
    assert run.notes() == Notes("two words", ("a", "b", "two words"), "note")


@pytest.mark.parametrize(
    "notes",
    [Notes("x" * (NAME_LENGTH + 1)), Notes(tags=("x" * 41,)), Notes(tags=tuple(map(str, range(21)))),
     Notes(note="x" * 10_001)],
)  # fmt: skip
def test_what_is_too_long_is_refused_in_words(run, notes):
    with pytest.raises(RunError, match=r"notes: (name|tags|note)"):
        run.write_notes(notes)
    assert run.notes() == Notes()


def test_the_gallery_is_read_only(tmp_path):
    with pytest.raises(RunError, match="stays as it is"):
        find_run("alexnet-64", tmp_path).write_notes(Notes("mine"))


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": 3}', b"[]", b'{"tags": ["a,b"]}', b'{"name": "a\\nb"}'])
def test_damaged_notes_hide_no_run(run, content):
    (run.path / "notes.json").write_bytes(content)
    assert run.notes() == Notes()
    assert run.title == "small · colours"


@given(st.binary(max_size=200))
def test_any_bytes_are_notes_or_a_fault_in_words(data):
    try:
        assert isinstance(parse_notes(data), Notes)
    except NotesError as error:
        assert str(error).startswith("notes: ")


@given(st.lists(st.text(max_size=12), max_size=8))
def test_tidy_tags_stay_as_they_are(tmp_path_factory, texts):
    tags = tidy_tags(texts)
    assert tidy_tags(tags) == tags
    folder = tmp_path_factory.mktemp("notes")
    write_notes(folder, Notes(tags=tags))
    assert read_notes(folder).tags == tags
