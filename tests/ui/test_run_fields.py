"""The filter of the list of runs, its order and its groups, on rows as the index gives them."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_explorer.config import preset_config
from alexnet_explorer.listing import read_row
from alexnet_explorer.notes import Notes
from alexnet_explorer.runs import Status, create_run
from alexnet_explorer.ui import run_fields
from alexnet_explorer.ui.run_fields import find_field, grouped, matching, ordered, parse, short, shown, varying, write


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Four runs: two activations, two seeds each; the last one has no errors yet."""
    root, found = tmp_path_factory.mktemp("runs"), []
    for activation in ("relu", "tanh"):
        for seed in (0, 1):
            settings = {"model.activation": activation, "train.seed": seed, "model.lrn": activation == "relu"}
            run = create_run(preset_config("alexnet-32", "my digits").with_settings(settings), root)
            error = 0.1 + 0.1 * (activation == "tanh") + 0.02 * seed
            summary = {"best/val_top1_error": error, "val/loss": 3 * error}
            run.write_status(Status(state="done", epoch=3, seconds=60, summary=summary))
            found.append(read_row(run))
    found[3] = replace(found[3], status=Status(state="failed"), notes=Notes("Fourth", ("bad", "to do")))
    return found


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ("", [0, 1, 2, 3]),
        ("TANH", [2, 3]),
        ("tanh done", [2]),
        ("nothing", []),
        ("activation=tanh", [2, 3]),
        ("model.activation!=tanh", [0, 1]),
        ("activation=relu,sigmoid", [0, 1]),
        ("seed=1", [1, 3]),
        ("seed=1.0 best<15", [1]),
        ("lrn=on", [0, 1]),
        ("lrn=false", [2, 3]),
        ("best<15", [0, 1]),
        ("best>=12 best<=20", [1, 2]),
        ("best=none", [3]),
        ("best<abc", []),
        ("state=failed", [3]),
        ("tag=bad", [3]),
        ('tag="to do"', [3]),
        ("tag=none", [0, 1, 2]),
        ('data.name="my digits" fourth', [3]),
        ("from=gallery", []),
        ("augmentation=flip,crop", [0, 1, 2, 3]),
        ("init=modern", []),  # two fields end so: a word
        ("name=fourth", [3]),
        ("minutes=1", [0, 1, 2]),
    ],
)
def test_a_filter_lets_through_what_fulfils_all_of_it(rows, words, places):
    assert matching(rows, words) == [rows[place] for place in places]


def test_fields_are_found_by_their_last_part_where_it_is_one():
    assert find_field("activation") == "model.activation" and find_field("model.activation") == "model.activation"
    assert find_field("init") == "" == find_field("nonsense")  # of the model, and of the training
    assert short("train.init") == "train.init" and short("model.lrn") == "lrn"
    assert all(find_field(short(field)) == field for field in (*run_fields.OWN, *run_fields.config_fields()))


@given(st.sampled_from(["name", "data.name", "tag"]), st.text(max_size=20))
def test_a_written_condition_is_read_as_it_was_meant(field, text):
    (condition,) = parse(write(field, "=", text))
    assert (condition.field, condition.operator) == (field, "=")
    assert condition.text == text.replace('"', "").lower()


@given(st.text(max_size=60))
def test_any_words_are_a_filter(rows, words):
    assert {row.id for row in matching(rows, words)} <= {row.id for row in rows}


def test_a_name_that_no_field_has_is_noticed():
    assert run_fields.misnamed("tanh activaton=tanh best<20 init=2012 a-b=c") == ["activaton", "init"]


def test_runs_without_a_value_come_last_in_either_order(rows):
    assert ordered(rows, "best", False) == rows
    assert ordered(rows, "best", True) == [rows[2], rows[1], rows[0], rows[3]]
    assert ordered(rows[::-1], "", False) == rows[::-1]
    unmeasured = replace(rows[0], id="nan", status=replace(rows[0].status, summary={"best/val_top1_error": math.nan}))
    assert ordered([unmeasured, *rows], "best", True) == [rows[2], rows[1], rows[0], unmeasured, rows[3]]
    assert [row.value("model.activation") for row in ordered(rows, "model.activation", True)] == ["tanh"] * 2 + [
        "relu"
    ] * 2


def test_a_group_tells_mean_best_and_spread(rows):
    relu, tanh = grouped(rows, "model.activation", "best")
    assert (relu.value, relu.runs, relu.mean, relu.best) == ("relu", 2, pytest.approx(11), pytest.approx(10))
    assert relu.deviation == pytest.approx(2**0.5)
    assert (tanh.value, tanh.runs, tanh.mean, tanh.deviation) == ("tanh", 2, pytest.approx(20), None)
    assert [group.mean for group in grouped(rows, "state", "best")][1] is None
    for group in grouped(rows, "state", "best"):
        assert len(matching(rows, write("state", "=", group.value))) == group.runs


def test_a_run_with_several_tags_is_in_the_group_of_each(rows):
    other = [replace(rows[0], notes=Notes("One", ("bad",))), *rows[1:]]
    counts = {group.value: group.runs for group in grouped(other, "tag", "best")}
    assert counts == {"bad": 2, "to do": 1, "none": 2}
    assert all(len(matching(other, write("tag", "=", tag))) == runs for tag, runs in counts.items())


def test_a_name_with_quotes_is_found_again(rows):
    named = [replace(rows[0], notes=Notes('the "good" one', ())), *rows[1:]]
    assert matching(named, write("name", "=", 'the "good" one')) == named[:1]


@pytest.mark.parametrize("odd", [float("inf"), float("nan")])
def test_a_metric_that_is_no_number_is_in_no_mean(rows, odd):
    broken = replace(rows[0], status=Status(state="failed", summary={"val/loss": odd}))
    relu = next(
        group for group in grouped([broken, *rows[1:]], "model.activation", "val_loss") if group.value == "relu"
    )
    assert (relu.runs, relu.mean, relu.deviation) == (2, pytest.approx(0.36), None)


def test_only_what_differs_and_was_changed_varies(rows):
    assert set(varying(rows, (), 9)) == {"model.activation", "model.lrn", "train.seed"}
    assert varying(rows, ("model.activation", "model.lrn"), 9) == ["train.seed"]
    assert varying(rows[:1], (), 9) == [] and len(varying(rows, (), 1)) == 1


@pytest.mark.parametrize(
    ("found", "text"), [(True, "on"), (0.5, "0.5"), ([], "none"), ([1, 2], "1,2"), (None, "none"), ("x", "x"), (3, "3")]
)
def test_values_are_shown_as_they_are_written(found, text):
    assert shown(found) == text
