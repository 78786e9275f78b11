import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alexnet_explorer.comparing import Curve, band, dimension
from alexnet_explorer.figures import (
    BASELINE_COLOUR,
    RUN_COLOURS,
    SYMBOLS,
    Interval,
    RunCurve,
    Style,
    colour_of,
    confusion,
    confusion_difference,
    correlations,
    curves,
    dots,
    histogram,
    histograms,
    intervals,
    likeness,
    prediction_bars,
    scatter,
    section,
    shares,
    smooth,
    smoothed,
    style_of,
    thin,
)
from alexnet_explorer.inspection.predict import Prediction


@pytest.mark.parametrize("weight", [0.3, 0.6, 0.99])
def test_smoothing_is_the_debiased_moving_average(weight):
    values = np.random.default_rng(0).normal(size=50)
    expected = pd.Series(values).ewm(alpha=1 - weight, adjust=True).mean()
    np.testing.assert_allclose(smooth(values, weight), expected)


def test_smoothing_with_weight_zero_changes_nothing_and_a_constant_stays():
    values = [3.0, -1.0, 2.0]
    np.testing.assert_array_equal(smooth(values, 0), values)
    np.testing.assert_allclose(smooth([2.5] * 9, 0.9), 2.5)


def test_smoothing_steps_over_what_is_not_finite():
    values = np.array([1.0, np.nan, 3.0, np.inf, 2.0])
    expected = smooth(values[[0, 2, 4]], 0.5)
    np.testing.assert_allclose(smooth(values, 0.5), [expected[0], np.nan, expected[1], np.inf, expected[2]])


def test_thinning_keeps_the_ends_and_every_spike():
    x, y = np.arange(50_000.0), np.random.default_rng(0).normal(size=50_000)
    y[12_345], y[40_000] = 99, -99
    few_x, few_y = thin(x, y)
    assert len(few_x) == len(few_y) <= 1002
    assert few_x[0] == 0 and few_x[-1] == 49_999 and (np.diff(few_x) > 0).all()
    assert few_y.max() == 99 and few_y.min() == -99
    np.testing.assert_array_equal(y[few_x.astype(int)], few_y)


def test_a_short_line_is_not_thinned():
    x, y = thin([1, 2, 3], [4, 5, 6])
    assert x.tolist() == [1, 2, 3] and y.tolist() == [4, 5, 6]


RUNS = [RunCurve("relu", "#0072B2", [0, 1, 2], [3.0, 1.0, 2.0]), RunCurve("tanh", "#D55E00", [0, 1], [4.0, 3.0], "dot")]


def test_curves_without_smoothing_are_the_values():
    figure = curves(RUNS, "loss", "epoch")
    assert [trace.name for trace in figure.data] == ["relu", "tanh"]
    assert list(figure.data[0].x) == [0, 1, 2] and list(figure.data[0].y) == [3, 1, 2]
    assert figure.data[1].line.color == "#D55E00" and figure.data[1].line.dash == "dot"
    assert figure.layout.yaxis.title.text == "loss" and figure.layout.xaxis.title.text == "epoch"
    assert figure.layout.yaxis.type is None and curves(RUNS, "loss", "epoch", log_y=True).layout.yaxis.type == "log"


def test_a_smoothed_curve_lies_over_its_faint_raw_one():
    figure = curves([smoothed(run, 0.6) for run in RUNS], "loss", "epoch")
    raw, mean = figure.data[:2]
    assert len(figure.data) == 4
    assert list(raw.y) == [3, 1, 2] and raw.opacity < 0.5 and raw.showlegend is False
    np.testing.assert_allclose(mean.y, smooth([3, 1, 2], 0.6))
    assert mean.opacity is None and raw.line.color == mean.line.color
    assert raw.legendgroup == mean.legendgroup == "relu"  # the legend hides both
    assert smoothed(RUNS[0], 0) == RUNS[0]


def test_a_section_of_a_smoothed_line_is_what_the_whole_one_is_there():
    x, y = np.arange(2000.0), np.random.default_rng(0).normal(size=2000) + np.linspace(40, 10, 2000)
    whole = smoothed(RunCurve("a", "#0072B2", x, y, low=y - 1, high=y + 1), 0.99)
    part = section(whole, 1200.5, 1300.0)
    assert part.x.tolist() == list(range(1200, 1302))  # and a point on either side, to which the line leads
    for cut, full in ((part.y, whole.y), (part.raw, y), (part.low, y - 1), (part.high, y + 1)):
        np.testing.assert_array_equal(cut, full[1200:1302])
    assert abs(part.y[0] - smooth(y[1200:], 0.99)[0]) > 1  # as it would be if it were smoothed after the cut
    nothing = section(replace(whole, low=(), high=(), raw=()), 0, 5)
    assert len(nothing.x) == 7 and nothing.low == nothing.high == nothing.raw == ()


def test_of_many_lines_each_has_fewer_points_and_keeps_its_peak():
    y = np.zeros(5000)
    y[1234] = 9
    for count, most in ((5, 1002), (20, 502), (60, 302)):
        figure = curves([RunCurve(str(n), "#0072B2", np.arange(5000.0), y) for n in range(count)], "loss", "step")
        assert {len(trace.x) for trace in figure.data} <= set(range(most + 1)) and len(figure.data[0].x) > 2
        assert all(max(trace.y) == 9 for trace in figure.data)


def test_a_peak_of_one_of_many_long_runs_is_in_the_band_and_in_its_line():
    lines = [Curve(np.arange(0.0, 20_000, 2), np.ones(10_000)) for _ in range(4)]
    lines.append(Curve(np.arange(1.0, 20_001, 2), np.where(np.arange(10_000) == 7_123, 100.0, 1.0)))
    mean = band(lines, "std")
    line = RunCurve("mean", "#0072B2", mean.x, mean.mean, low=mean.low, high=mean.high)
    high, low, middle = curves([line], "loss", "step").data
    place = middle.x[np.argmax(middle.y)]
    assert place == 2 * 7_123 + 1 and max(middle.y) == pytest.approx((4 + 100) / 5)
    assert max(high.y) == pytest.approx(mean.high.max()) and min(low.y) == pytest.approx(mean.low.min())
    assert max(map(len, (high.x, low.x, middle.x))) <= 1002
    assert len(curves([section(line, 14_000, 14_400)], "loss", "step").data[2].x) > 200  # all its points


def test_predictions_are_bars_in_percent_with_the_best_on_top():
    figure = prediction_bars([Prediction("cat", 3, 0.873), Prediction("dog", 5, 0.0004)], "#123456")
    (bars,) = figure.data
    assert list(bars.x) == [0.873, 0.0004] and list(bars.text) == ["87.3%", "0.0%"]
    assert bars.orientation == "h" and bars.marker.color == "#123456"
    assert list(figure.layout.yaxis.ticktext) == ["cat", "dog"] and figure.layout.yaxis.autorange == "reversed"


MARKED = '<b>x</b> & <a href="y">'
SHOWN = '&lt;b&gt;x&lt;/b&gt; &amp; &lt;a href="y"&gt;'


def test_names_of_users_are_text_and_no_html():
    bars = prediction_bars([Prediction(MARKED, 0, 0.5)])
    assert list(bars.layout.yaxis.ticktext) == [SHOWN]
    assert list(bars.data[0].hovertext) == [f"{SHOWN}: 50.00%"]
    lines = curves([smoothed(RunCurve(MARKED, "#0072B2", [0, 1], [1.0, 2.0]), 0.5)], "loss", "epoch")
    assert [line.name for line in lines.data] == [SHOWN, SHOWN]


def test_classes_of_the_same_name_have_a_bar_each():
    figure = prediction_bars([Prediction("crane", 134, 0.6), Prediction("crane", 517, 0.3)])
    assert len(set(figure.data[0].y)) == 2


def test_a_histogram_counts_every_finite_value():
    figure = histogram(np.array([[0.0, 0.1], [0.9, 1.0], [np.nan, np.inf]]), "weight", "#0072B2", 0, 1, bins=2)
    (bars,) = figure.data
    assert list(bars.y) == [2, 2] and list(bars.x) == [0.25, 0.75] and list(bars.width) == [0.5, 0.5]


def test_histograms_of_two_networks_have_the_same_bins_and_the_same_axes():
    one, other = (histogram(values, "norm", "#0072B2", 0, 4, 4, most=3) for values in ([0.5, 3.5], [1.5, 1.5, 1.5]))
    assert list(one.data[0].x) == list(other.data[0].x) == [0.5, 1.5, 2.5, 3.5]
    for figure in (one, other):
        assert (figure.layout.xaxis.range, figure.layout.yaxis.range) == ((0, 4), (0, 3))
    assert sum(histogram([2.0, 2.0], "norm", "#0072B2", 2, 2).data[0].y) == 2  # all the same


def test_colours_are_different_repeat_and_are_never_the_baselines():
    colours = [colour_of(position) for position in range(len(RUN_COLOURS))]
    assert len({*colours, BASELINE_COLOUR}) == len(RUN_COLOURS) + 1
    assert colour_of(len(RUN_COLOURS)) == colours[0]


def test_figures_leave_text_and_background_to_the_theme():
    for figure in (
        curves(RUNS, "loss", "epoch"),
        prediction_bars([Prediction("cat", 0, 1.0)]),
        histogram([1, 2], "x", "#0072B2", 1, 2),
        confusion([[1]], ["cat"]),
    ):
        layout = figure.to_plotly_json()["layout"]
        assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
        assert "font" not in layout and "font" not in layout.get("legend", {})


def test_a_confusion_matrix_is_coloured_by_the_share_of_each_true_class():
    figure = confusion([[6, 2], [0, 0]], ["cat", "dog"])
    (heat,) = figure.data
    np.testing.assert_allclose(heat.z, [[0.75, 0.25], [0, 0]])  # of a class without images there is no share
    np.testing.assert_array_equal(heat.customdata, [[6, 2], [0, 0]])
    assert list(heat.x) == list(heat.y) == ["cat", "dog"] and figure.layout.yaxis.autorange == "reversed"


def test_a_confusion_matrix_tells_classes_of_one_name_apart_and_names_no_more_than_find_room():
    heat = confusion(np.eye(3), ["crane", MARKED, "crane"]).data[0]
    assert list(heat.x) == ["crane (0)", SHOWN, "crane (2)"]
    labels = [confusion(np.eye(n), [str(i) for i in range(n)]).layout.xaxis.showticklabels for n in (40, 41)]
    assert labels == [True, False]


def test_one_point_alone_is_marked_and_a_long_line_is_not():
    lines = [RunCurve("point", "#0072B2", [1], [2]), RunCurve("line", "#0072B2", range(99), range(99))]
    short, long = curves(lines, "y", "x").data
    assert (short.mode, long.mode) == ("lines+markers", "lines")


def test_intervals_of_ratios_are_as_far_above_1_as_below_and_open_ends_reach_the_edge():
    lines = [
        Interval("<b>twice</b>", 2.0, 1.5, 3.0, claimed=6.0),
        Interval("half", 0.5, 0.25, 1.0),
        Interval("more", None, 9.0, math.inf),
    ]
    figure = intervals(lines, "times", none=1.0, ratio=True)
    low, high = (10**end for end in figure.layout.xaxis.range)
    spans = [list(trace.x) for trace in figure.data if trace.mode == "lines"]
    assert spans == [[1.5, 3.0], [0.25, 1.0], [9.0, pytest.approx(high)]] and low < 0.25
    assert [trace.x[0] for trace in figure.data if trace.mode == "markers"] == [2.0, 0.5]  # no estimate, no point
    claimed, none = figure.layout.shapes
    assert (claimed.x0, claimed.x1, claimed.y0, claimed.y1) == (6.0, 6.0, -0.5, 0.5) and none.x0 == 1.0
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;twice&lt;/b&gt;"


@pytest.mark.parametrize(("ratio", "lowest"), [(False, -math.inf), (True, 0.0)])
def test_a_pair_of_runs_has_a_point_and_no_line(ratio, lowest):
    figure = intervals([Interval("one pair", 0.5, lowest, math.inf)], "x", none=float(ratio), ratio=ratio)
    (point,) = figure.data
    low, high = (10**end if ratio else end for end in figure.layout.xaxis.range)
    assert point.mode == "markers" and list(point.x) == [0.5] and low < 0.5 < high


def test_a_long_name_takes_several_lines_beside_its_interval():
    long = "activation tanh against relu (weights <modern>, input standard)"
    short, tall = (intervals([Interval(name, 1.0, 0.5, 2.0)], "x", none=0.0) for name in ("short", long))
    name = "activation tanh against relu<br>(weights &lt;modern&gt;, input<br>standard)"
    assert tall.layout.yaxis.ticktext[0] == name and tall.layout.height > short.layout.height


# Comparisons


def test_the_baseline_is_grey_and_the_first_35_others_differ_in_colour_or_in_dash_and_shape():
    styles = [style_of(position) for position in range(1 + 5 * len(RUN_COLOURS))]
    assert styles[0] == (BASELINE_COLOUR, "solid", "circle")
    for pairs in ([(one.colour, one.dash) for one in styles], [(one.colour, one.symbol) for one in styles]):
        assert len(set(pairs)) == len(styles)
    assert "dot" not in {one.dash for one in styles} and {one.symbol for one in styles} == set(SYMBOLS)
    assert [one.colour for one in styles[1:8]] == list(RUN_COLOURS)


def test_a_run_has_the_same_shape_in_every_chart():
    styles = [style_of(2), style_of(2 + len(RUN_COLOURS))]
    one = dimension("error", [1.0, 2.0])
    lines = [RunCurve(name, style.colour, [0, 1], [1, 2], style.dash, symbol=style.symbol)
             for name, style in zip("ab", styles, strict=True)]  # fmt: skip
    for figure in (
        scatter(one, one, "ab", styles),
        dots(["cat"], [(name, style, [1.0]) for name, style in zip("ab", styles, strict=True)], "error"),
        curves(lines, "error", "epoch"),
    ):
        assert [trace.marker.symbol for trace in figure.data] == ["circle", "square"]


def test_a_band_is_filled_between_its_edges_behind_the_mean():
    mean = RunCurve("mean", "#0072B2", [0, 1], [2.0, 3.0], low=[1.0, 2.5], high=[3.0, 3.5])
    high, low, line = curves([mean], "error", "epoch").data
    assert (list(high.y), list(low.y), list(line.y)) == ([3, 3.5], [1, 2.5], [2, 3])
    assert low.fill == "tonexty" and low.fillcolor.startswith("rgba(0, 114, 178") and line.showlegend
    assert {trace.legendgroup for trace in (high, low, line)} == {"mean"}


def test_a_level_is_a_line_over_the_whole_width():
    (line,) = curves(RUNS, "loss", "epoch", log_y=True, level=2.5).layout.shapes
    assert (line.y0, line.y1) == (2.5, 2.5) and (line.xref, line.x0, line.x1) == ("paper", 0, 1)
    assert not curves(RUNS, "loss", "epoch").layout.shapes


def test_points_of_one_word_are_apart_and_always_in_the_same_place():
    words, error = dimension("activation", ["relu", "relu", "tanh"]), dimension("error", [1.0, 2.0, 3.0])
    drawn = [scatter(words, error, ["a", MARKED, "c"], [Style("#111111")] * 3) for _ in range(2)]
    x = [trace.x[0] for trace in drawn[0].data]
    assert x[0] != x[1] and round(x[0]) == round(x[1]) == 0 and round(x[2]) == 1
    assert x == [trace.x[0] for trace in drawn[1].data]
    assert [trace.y[0] for trace in drawn[0].data] == [1, 2, 3] and drawn[0].data[1].name == SHOWN


def test_confusions_of_a_run_less_those_of_another_in_points():
    (heat,) = confusion_difference([[6, 2], [0, 4]], [[4, 4], [1, 3]], ["cat", "dog"]).data
    np.testing.assert_allclose(heat.z, [[25, -25], [-25, 25]])
    assert (heat.zmin, heat.zmax) == (-25, 25) and heat.colorscale[5][1] == "#f7f6f6"


def test_shares_of_two_networks_stand_in_the_same_bins():
    one, other = (shares(values, "x", "#111111", 0, 4, bins=4).data[0] for values in ([0, 0, 1, 3], [2.5, np.nan]))
    assert list(one.x) == list(other.x) == [0.5, 1.5, 2.5, 3.5]
    assert list(one.y) == [0.5, 0.25, 0, 0.25] and list(other.y) == [0, 0, 1, 0]
    assert sum(shares([2, 2], "x", "#111111", 2, 2).data[0].y) == 1


def test_dots_have_a_row_a_class_and_a_colour_a_run():
    figure = dots(
        ["cat", MARKED], [("a", Style("#111111"), [1.0, np.nan]), ("b", Style("#222222"), [2.0, 3.0])], "error (%)"
    )
    assert list(figure.layout.yaxis.ticktext) == ["cat", SHOWN] and figure.layout.yaxis.autorange == "reversed"
    assert [trace.marker.color for trace in figure.data] == ["#111111", "#222222"]


def test_groups_share_their_bins():
    figure = histograms([("one", "#000000", [0.1, 0.2, 0.9]), ("<b>", "#ffffff", [0.95])], "x", "y", 0, 1, bins=2)
    assert [list(bar.y) for bar in figure.data] == [[2, 1], [0, 1]] and list(figure.data[0].x) == [0.25, 0.75]
    assert figure.data[1].name == "&lt;b&gt;" and figure.layout.showlegend
    assert not histograms([("one", "#000000", [0.1])], "x", "y", 0, 1).layout.showlegend


def test_the_likeness_of_layers_is_drawn_from_the_first_layer_down():
    figure = likeness([[1, 0.5, 0], [0.2, 0.7, 0.1]], ["conv1", "fc2"], ["conv1", "conv2", "fc3"], "<a>", "b")
    (heat,) = figure.data
    assert (heat.zmin, heat.zmax) == (0, 1) and list(heat.x) == ["conv1", "conv2", "fc3"]
    assert np.allclose(heat.z[1], [0.2, 0.7, 0.1]) and figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.yaxis.title.text == "&lt;a&gt;"


def test_correlations_of_methods_have_their_numbers_about_a_white_zero():
    figure = correlations([[1, -0.2], [-0.2, 1]], ["<one>", "two"])
    (heat,) = figure.data
    assert heat.zmin == -1 and heat.zmax == 1 and heat.z[0][1] == np.float32(-0.2)
    assert tuple(heat.x) == ("&lt;one&gt;", "two") and heat.texttemplate == "%{z:.2f}"
    assert set(heat.colorscale[5][1][1::2]) == {"f"}


def test_pandas_is_whole_before_any_figure_is_made():
    """Plotly asks it about every array; half of it, from another visitor's thread, failed."""
    code = "import sys, alexnet_explorer.figures; sys.modules['pandas'].Series"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
