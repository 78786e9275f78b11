"""What the curves of a run show, along the axis that was chosen."""

import numpy as np
import pytest

from alexnet_explorer.figures import smooth
from alexnet_explorer.ui.curves import Scales, charts, in_words, rate_chart

ROWS = {
    "run": "r",
    "train": [
        {"step": n, "epoch": n / 10, "seconds": n * 60.0, "train/loss": 3 / n, "train/top1_error": 1 / n,
         "learning_rate": 0.1 / n}
        for n in range(1, 9)
    ],
    "val": [{"step": 4, "epoch": 0.4, "seconds": 250.0, "val/loss": 1.5, "val/top1_error": 0.25}],
}  # fmt: skip


def line(figure, name):
    """x and y of a line that is not faint."""
    (found,) = [trace for trace in figure.data if trace.name == name and trace.opacity is None]
    return list(found.x), list(found.y)


def test_both_charts_show_training_and_validation_and_errors_are_percent():
    made = charts(ROWS, Scales())
    assert line(made["loss"], "validation") == ([0.4], [1.5])
    assert line(made["top1_error"], "validation") == ([0.4], [25.0])
    assert line(made["loss"], "training")[1] == [3 / n for n in range(1, 9)]
    assert line(made["top1_error"], "training")[1] == pytest.approx([100 / n for n in range(1, 9)])


@pytest.mark.parametrize(
    ("axis", "x", "title"),
    [("epoch", 0.4, "epoch"), ("step", 4, "step"), ("seconds", 250 / 60, "time of training (min)")],
)
def test_curves_run_along_the_axis_that_was_chosen(axis, x, title):
    for figure in charts(ROWS, Scales(axis)).values():
        assert line(figure, "validation")[0] == [x]
        assert figure.layout.xaxis.title.text == title


@pytest.mark.parametrize(
    ("seconds", "title", "unit"),
    [(179, "time of training (s)", 1), (180, "time of training (min)", 60), (7200, "time of training (h)", 3600)],
)
def test_time_is_told_in_a_unit_that_fits(seconds, title, unit):
    assert Scales("seconds").along([{"seconds": 1.0}, {"seconds": seconds}]) == (title, unit)


def test_smoothing_leaves_the_line_as_it_was_faintly():
    figure = charts(ROWS, Scales(smoothing=0.6))["loss"]
    raw = [3 / n for n in range(1, 9)]
    np.testing.assert_allclose(line(figure, "training")[1], smooth(raw, 0.6))
    assert list(figure.data[0].y) == raw and figure.data[0].opacity < 0.5


def test_a_logarithmic_axis():
    for figure in (*charts(ROWS, Scales(log=True)).values(), rate_chart(ROWS, Scales(log=True))):
        assert figure.layout.yaxis.type == "log"


def test_the_learning_rate_is_never_smoothed():
    figure = rate_chart(ROWS, Scales(smoothing=0.9))
    assert list(figure.data[0].y) == [0.1 / n for n in range(1, 9)] and len(figure.data) == 1


def test_a_zoom_outlives_new_rows_and_smoothing_but_no_other_axis_or_run():
    def revision(rows=ROWS, **scales):
        return charts(rows, Scales(**scales))["loss"].layout.uirevision

    shorter = ROWS | {"train": ROWS["train"][:5]}
    assert revision() == revision(shorter) == revision(smoothing=0.5)
    assert len({revision(), revision(axis="step"), revision(log=True), revision(ROWS | {"run": "other"})}) == 4


def test_a_chart_in_words():
    assert in_words("loss", {"train/loss": 0.5, "val/loss": 0.625}).endswith("training 0.5, validation 0.625")
    assert in_words("top1_error", {}) == "Curves of top-1 error; now: nothing yet"


def test_points_are_of_the_rows_that_hold_the_metric():
    rows = [
        {"epoch": 0.5, "step": 10, "seconds": 1.5, "train/loss": 3.0},
        {"epoch": 1.0, "step": 20, "seconds": 3.0, "val/loss": 2.0},
        {"epoch": 1.5, "step": 30, "seconds": 4.5, "train/loss": 1.0},
    ]
    assert Scales("seconds").points(rows, "train/loss", 1.0) == ([1.5, 4.5], [3.0, 1.0])
    assert Scales("step").points(rows, "val/loss", 1.0) == ([20], [2.0])
    assert Scales().points(rows, "val/top1_error", 1.0) == ([], [])
