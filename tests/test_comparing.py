"""Comparisons, on curves and counts whose answers are known."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats

from alexnet_explorer.comparing import (
    Curve,
    Ratio,
    Reached,
    Track,
    all_but_the_seed,
    band,
    class_errors,
    confusion_matrix,
    dimension,
    disagreement,
    factor_of,
    groups,
    ratio,
    reached,
    same_validation,
)
from alexnet_explorer.runs import Mistakes


def curve(x, y):
    return Curve(np.array(x, float), np.array(y, float))


numbers = some.floats(-1e6, 1e6)
curves = some.lists(numbers, min_size=1, max_size=30).map(lambda y: curve(range(len(y)), y))


# Columns


def test_a_track_grows_while_others_read_it():
    """Visitors share the tracks of a run at work."""
    track, over, faults = Track(), threading.Event(), []

    def read():
        while not over.is_set():
            try:
                found = track.curve("train/loss", "epoch")
                assert (found.x == found.y).all() and track.metrics in ([], ["train/loss"])
            except Exception as error:
                faults.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(0, 20_000, 10):
        track.add([{"step": step, "epoch": step, "train/loss": step} for step in range(start, start + 10)])
    over.set()
    for reader in readers:
        reader.join(10)
    assert faults == [] and len(track.curve("train/loss", "epoch").x) == 20_000


def test_a_track_has_the_columns_of_all_its_rows():
    track = Track()
    track.add([{"step": 1, "epoch": 0.5, "seconds": 2, "images": 10, "train/loss": 3.0}])
    track.add([{"step": 2, "epoch": 1.0, "seconds": 4, "images": 20, "val/loss": 2.0},
               {"step": 3, "epoch": 1.5, "seconds": 6, "images": 30, "train/loss": 1.0}])  # fmt: skip
    assert track.metrics == ["train/loss", "val/loss"]
    found = track.curve("train/loss", "images")
    assert (found.x.tolist(), found.y.tolist()) == ([10, 30], [3, 1])
    assert track.curve("val/loss", "seconds").x.tolist() == [4]
    assert not len(track.curve("test/loss", "epoch").x)


def test_rows_that_lack_an_axis_are_left_out_along_it():
    track = Track()
    track.add([{"step": 1, "val/loss": 3.0}, {"step": 2, "images": 20, "val/loss": 2.0}])
    assert track.curve("val/loss", "images").y.tolist() == [2]
    assert track.curve("val/loss", "step").y.tolist() == [3, 2]


# Times to an error


def test_an_exponential_reaches_a_level_when_its_logarithm_says():
    x = np.linspace(0, 20, 20_001)
    found = reached(Curve(x, np.exp(-x / 4)), 0.1)
    assert found.at == pytest.approx(4 * np.log(10), rel=1e-6) and found.last == 20


def test_between_two_points_it_is_a_line():
    assert reached(curve([0, 10], [1, 0]), 0.25) == Reached(7.5, 10)
    assert reached(curve([2, 4], [0.3, 0.1]), 0.5) == Reached(2, 4)  # it was there when it was first measured
    assert reached(curve([0, 1, 2], [1, np.nan, 0]), 0.5) == Reached(1, 2)
    assert reached(curve([0, 1], [1, 0.6]), 0.5) == Reached(None, 1)
    assert reached(curve([], []), 0.5) is None


@pytest.mark.parametrize("thousandths", range(1, 1000))
def test_an_error_that_is_shown_as_reached_is_reached(thousandths):
    percent = factor_of("val/top1_error") * np.array([1.0, thousandths / 1000])
    assert reached(curve([0, 1], percent), round(thousandths / 10, 1)).at == pytest.approx(1)


@given(curves, numbers, numbers)
def test_a_lower_level_is_never_reached_earlier(line, one, other):
    high, low = reached(line, max(one, other)), reached(line, min(one, other))
    assert high.last == low.last
    if low.at is not None:
        assert high.at is not None and high.at <= low.at


@given(curves, numbers)
def test_where_it_is_reached_the_interpolated_curve_is_there_and_before_it_above(line, level):
    found = reached(line, level)
    if found.at is None:
        assert (line.y > level).all()
        return
    assert line.x[0] <= found.at <= found.last
    before = line.x < np.floor(found.at)
    assert (line.y[before] > level).all()
    there = np.interp(found.at, *line)
    assert there <= level or there == pytest.approx(level, abs=1e-6, rel=1e-6)


def test_ratios_are_exact_or_a_bound():
    fast, slow, never = Reached(4, 30), Reached(8, 30), Reached(None, 30)
    assert ratio(slow, fast) == Ratio("=", 2)
    assert ratio(never, fast) == Ratio(">", 7.5)
    assert ratio(fast, never) == Ratio("<", 4 / 30)
    assert ratio(never, never) is None and ratio(None, fast) is None
    assert ratio(slow, Reached(0, 30)) is None  # of nothing there is no multiple


# Groups


def test_runs_that_differ_in_their_seed_alone_are_one_group(small):
    configs = {f"{name}{seed}": small(model__activation=name, train__seed=seed)
               for name in ("relu", "tanh") for seed in (0, 1)}  # fmt: skip
    fields = all_but_the_seed(configs)
    assert fields == ["model.activation"]
    assert groups(configs, fields) == {"activation relu": ["relu0", "relu1"], "activation tanh": ["tanh0", "tanh1"]}
    assert groups(configs, ["train.seed"]) == {"seed 0": ["relu0", "tanh0"], "seed 1": ["relu1", "tanh1"]}
    assert groups(configs, ["model.lrn"]) == {"all": list(configs)}


def test_a_band_is_what_scipy_says_of_each_place():
    rng = np.random.default_rng(0)
    x = np.arange(6.0)
    values = rng.normal(size=(5, 6))
    lines = [Curve(x, row) for row in values]
    found = band(lines, "ci95")
    np.testing.assert_allclose(found.mean, values.mean(0))
    low, high = stats.t.interval(0.95, 4, values.mean(0), stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], [low, high])
    np.testing.assert_allclose(band(lines, "sem").high - found.mean, stats.sem(values))
    np.testing.assert_allclose(found.mean - band(lines, "std").low, values.std(0, ddof=1))


def test_curves_of_other_places_are_interpolated_and_only_where_all_have_values():
    found = band([curve([0, 2, 4], [0, 2, 4]), curve([1, 3, 5], [3, 5, 7])], "std")
    assert found.x.tolist() == [1, 2, 3, 4] and found.mean.tolist() == [2, 3, 4, 5]


def test_one_curve_has_no_spread_and_none_has_no_mean():
    alone = band([curve([0, 1], [1, 2]), curve([0], [np.nan])], "std")
    assert alone.mean.tolist() == [1, 2] and np.isnan(alone.low).all()
    assert not len(band([], "std").x)
    apart = band([curve([0, 1], [1, 2]), curve([2, 3], [1, 2])], "std")
    assert not len(apart.x)


def test_a_long_mean_has_every_place_of_its_curves():
    x, peak = np.arange(5000.0), np.zeros(5000)
    peak[3_210] = 1000
    found = band([Curve(x, 0 * x), Curve(x + 0.5, peak)], "std")
    assert len(found.x) == 9998 and (found.x[0], found.x[-1]) == (0.5, 4999)
    assert found.x[np.argmax(found.mean)] == 3_210.5


# Classes and images


def test_class_errors_are_shares_of_each_class():
    counts = confusion_matrix(Mistakes(1, [(0, 0, 6), (0, 1, 2), (1, 1, 5)], []), 3)
    assert counts.tolist() == [[6, 2, 0], [0, 5, 0], [0, 0, 0]]
    np.testing.assert_array_equal(class_errors(counts), [0.25, 0, np.nan])


def test_a_disagreement_counts_every_image_once_and_mcnemar_is_the_binomial_test():
    true = [0, 1, 2, 0, 1, 2, 0]
    found = disagreement(true, [0, 1, 2, 0, 0, 0, 1], [0, 0, 0, 1, 1, 0, 1])
    assert (found.both, found.neither) == (1, 2)
    assert found.only_first.tolist() == [1, 2, 3] and found.only_second.tolist() == [4]
    assert found.p == pytest.approx(2 * (4 + 1) / 2**4)  # both tails of four tosses that fell three to one
    assert disagreement(true, true, true).p == 1


def test_the_same_validation_needs_data_share_and_seed(small):
    one = small(data__digest="a")
    assert same_validation(one, small(data__digest="a", train__seed=5, model__activation="tanh"))
    for other in (small(data__digest="b"), small(data__digest="a", data__val_fraction=0.2),
                  small(data__digest="a", data__split_seed=1)):  # fmt: skip
        assert not same_validation(one, other)


# Fields


def test_fields_are_numbers_or_places_of_words():
    assert dimension("rate", [0.1, 3, None]).values.tolist()[:2] == [0.1, 3] and not dimension("rate", [1]).words
    switch = dimension("lrn", [True, False, True])
    assert switch.words == ("off", "on") and switch.values.tolist() == [1, 0, 1]
    lists = dimension("augmentation", [["flip", "crop"], [], ["flip", "crop"]])
    assert lists.words == ("flip,crop", "none") and lists.values.tolist() == [0, 1, 0]
