"""The numbers of the page Compare."""

from dataclasses import replace

import pytest

from alexnet_explorer.runs import Status, create_run
from alexnet_explorer.ui.comparison import METRICS, metric_table, short_names


@pytest.fixture
def finished(tmp_path, small):
    """A run directory with this summary, never trained."""

    def build(**summary):
        run = create_run(small(), tmp_path)
        metrics = {name.replace("__", "/"): value for name, value in summary.items()}
        run.write_status(replace(Status(), state="done", summary=metrics))
        return run

    return build


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([{}, {"model__activation": "tanh"}], ["relu", "tanh"]),
        ([{"model__lrn": True}, {"model__lrn": False, "train__seed": 3}], ["lrn, seed 0", "no lrn, seed 3"]),
        (
            [{"model__init": "2012", "data__scaling": "2012"}, {"train__learning_rate": 0.1}],
            ["init 2012, scaling 2012, rate 0.02", "init modern, scaling standard, rate 0.1"],
        ),
        (
            [{"model__lrn_place": "after-pool", "model__dropout_place": "before-fc"}, {}],
            ["after-pool, before-fc", "before-pool, after-fc"],
        ),
        ([{"model__widths": "6,8,8"}, {"model__widths": "6,8,10"}], ["widths 6,8,8", "widths 6,8,10"]),
        ([{}, {}], []),
    ],
)
def test_runs_are_named_by_what_differs_with_the_field_where_a_value_says_too_little(small, changes, names):
    configs = {f"run-{place}": small(**settings) for place, settings in enumerate(changes)}
    assert list(short_names(configs).values()) == names


def test_each_run_is_compared_with_the_first(finished):
    runs = [
        finished(val__top1_error=0.25, test__loss=1.0),
        finished(val__top1_error=0.2, test__loss=1.25),
        finished(val__top1_error=0.2499, test__loss=0.9999),
    ]
    table = metric_table(runs, {run.id: name for run, name in zip(runs, "abc", strict=True)})
    assert table == [
        {"metric": "validation error", "a": "25.0%", "b": "20.0% (-5.0 points)", "c": "25.0%"},
        {"metric": "test loss", "a": "1.000", "b": "1.250 (+0.250)", "c": "1.000"},
    ]


def test_a_value_that_is_no_number_has_no_difference(finished):
    runs = [finished(val__loss=float("nan"), test__loss=1.0), finished(val__loss=1.0, test__loss=float("inf"))]
    assert metric_table(runs, {run.id: name for run, name in zip(runs, "ab", strict=True)}) == [
        {"metric": "validation loss", "a": "–", "b": "1.000"},
        {"metric": "test loss", "a": "1.000", "b": "–"},
    ]


def test_what_a_run_has_not_reached_is_said(finished):
    young, old = finished(), finished(test__top1_error=0.5)
    assert metric_table([young, old], {young.id: "young", old.id: "old"}) == [
        {"metric": "test error", "young": "not yet", "old": "50.0%"}
    ]
    assert metric_table([young], {young.id: "young"}) == []


def test_every_metric_of_a_finished_training_has_a_row(finished):
    run = finished(**{name.replace("/", "__"): 0.5 for name in METRICS})
    assert [row["metric"] for row in metric_table([run], {run.id: "it"})] == list(METRICS.values())
