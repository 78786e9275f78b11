import math

import numpy as np
import pytest
from scipy import stats

from alexnet_explorer.inspection import verdicts
from alexnet_explorer.inspection.verdicts import FIGURES, Figure, Perturbed, Trust, area

KEYS = {
    "completeness_error", "deletion_area", "insertion_area", "random_deletion_area", "random_insertion_area",
    "centre_deletion_area", "centre_insertion_area", "randomisation_correlation", "max_sensitivity",
}  # fmt: skip


def test_json_has_a_flat_key_for_every_value_and_none_where_nothing_was_asked():
    found = Trust({"sensitivity": verdicts.sensitivity(0.25, 5, 10)}).to_json()
    assert set(found) >= KEYS
    assert found.pop("max_sensitivity") == 0.25
    assert set(found.values()) == {None}


@pytest.mark.parametrize("key", FIGURES)
def test_a_figure_that_does_not_apply_has_all_its_values_undefined(key):
    figure = verdicts.nothing(key, "Because.")
    assert (figure.verdict, figure.reading, figure.title) == ("says nothing", "Because.", FIGURES[key].title)
    assert figure.values == dict.fromkeys(FIGURES[key].keys)


@pytest.mark.parametrize(
    ("total", "error", "verdict"),
    [(8.0, 0.0, "holds"), (7.7, 0.0375, "holds"), (9.2, 0.15, "doubtful"), (0.0, 1.0, "fails"), (-8.0, 2.0, "fails")],
)
def test_the_error_of_a_sum_is_that_of_what_is_due(total, error, verdict):
    figure = verdicts.completeness(total, 8.0, 40.0, "rise")
    assert figure.values["completeness_error"] == pytest.approx(error)
    assert figure.verdict == verdict and "8" in figure.reading


@pytest.mark.parametrize("due", [0.0, 0.3, -0.3])
def test_a_sum_that_is_what_rounding_leaves_says_nothing(due):
    figure = verdicts.completeness(0.1, due, 40.0, "logit")
    assert figure.verdict == "says nothing" and figure.values == {"completeness_error": None}


def test_a_network_that_says_nothing_leaves_no_sum_to_be_measured():
    figure = verdicts.completeness(0.0, 0.0, 0.0, "rise")
    assert figure.verdict == "says nothing" and "nothing that the map could have shared out" in figure.because


def test_a_method_that_draws_points_by_chance_keeps_its_promise_on_average():
    assert "by chance" in verdicts.completeness(7.0, 8.0, 40.0, "rise", random=True).because
    assert "by chance" not in verdicts.completeness(8.0, 8.0, 40.0, "rise", random=True).because


def test_an_area_is_that_of_the_trapezoid_rule():
    curve = np.random.default_rng(0).random(29)
    assert area(curve.tolist()) == pytest.approx(np.trapezoid(curve, dx=1 / 28))
    assert area([1.0, 0.0]) == 0.5 and area([0.3] * 5) == pytest.approx(0.3)


def line(height, end=0.0):
    """A curve from 1 to `end` that is `height` in between: its area is about that."""
    return [1.0, *[height] * 27, end]


CHANCE = [line(height) for height in (0.4, 0.42, 0.44, 0.46, 0.48, 0.5, 0.52, 0.54)]


@pytest.mark.parametrize(
    ("own", "centre", "copy", "verdict"),
    [
        (0.2, 0.3, 0.3, "holds"),
        (0.38, 0.5, 0.5, "doubtful"),  # within what another random order may do
        (0.2, 0.1, 0.3, "doubtful"),  # no better than the centre
        (0.2, 0.3, 0.1, "doubtful"),  # no better than one of its turned copies
        (0.38, 0.3, 0.3, "fails"),
    ],
)
def test_deletion_has_to_beat_chance_the_centre_and_itself_elsewhere(own, centre, copy, verdict):
    elsewhere = [line(0.9), line(copy), line(0.9)]
    figure = verdicts.perturbation("deletion", Perturbed(line(own), CHANCE, line(centre), elsewhere))
    assert figure.verdict == verdict
    assert figure.values["deletion_area"] == pytest.approx(area(line(own)))
    assert figure.values["random_deletion_area"] == pytest.approx(area(line(0.47)))
    assert figure.values["centre_deletion_area"] == pytest.approx(area(line(centre)))
    assert figure.values["elsewhere_deletion_area"] == pytest.approx(area(line((1.8 + copy) / 3)))


def test_insertion_is_judged_the_other_way_round():
    def rising(height):
        return line(height)[::-1]

    seen = Perturbed(rising(0.7), [rising(0.5), rising(0.52), rising(0.54)], rising(0.6), [rising(0.3)] * 4)
    good = verdicts.perturbation("insertion", seen)
    assert good.verdict == "holds" and good.values["insertion_area"] == pytest.approx(area(rising(0.7)))
    bad = Perturbed(rising(0.2), seen.random, seen.centre, seen.elsewhere)
    assert verdicts.perturbation("insertion", bad).verdict == "fails"


def test_where_there_is_nothing_to_lose_the_curve_says_nothing():
    flat = [0.04] * 29
    figure = verdicts.perturbation("deletion", Perturbed(flat, [flat, flat], flat, [flat]))
    assert figure.verdict == "says nothing" and figure.values["deletion_area"] == pytest.approx(0.04)
    assert figure.curves


def test_one_random_order_in_twenty_is_beyond_the_bound():
    """Of 4000 times eight and one more draws of a normal distribution, 95 % ± three standard errors."""
    draws = np.random.default_rng(0).normal(0.3, 0.05, (4000, 9))
    inside = 0
    for *eight, ninth in draws.tolist():
        mean, half = verdicts._next_one(eight)
        inside += ninth <= mean + half
    assert abs(inside / 4000 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 4000)


def test_the_bound_is_students():
    mean, half = verdicts._next_one([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert half == pytest.approx(stats.t.ppf(0.95, 2) * np.std([1, 2, 4], ddof=1) * math.sqrt(4 / 3))


def test_a_curves_bundle_has_its_mean_and_its_ends():
    figure = verdicts.perturbation("deletion", Perturbed(line(0.2), CHANCE, line(0.3), [line(0.6), line(0.7)]))
    curves = {curve.name: curve for curve in figure.curves}
    assert set(curves) == {"map", "random", "centre", "elsewhere"}
    random = curves["random"]
    assert (random.low[5], random.high[5], random.x[-1]) == (0.4, 0.54, 1.0)
    assert random.y[5] == pytest.approx(0.47)
    assert all(len(curve.x) == len(curve.y) == 29 for curve in figure.curves)


def test_the_reading_tells_when_half_is_gone_or_there():
    curve = [0.8, 0.7, 0.4, 0.1, 0.0]
    found = verdicts.perturbation("deletion", Perturbed(curve, [curve, curve], curve, [curve]))
    assert "80 %, has fallen to half when 50 % of the pixels are gone" in found.reading
    curve = [0.0, 0.1, 0.1, 0.7, 0.8]
    found = verdicts.perturbation("insertion", Perturbed(curve, [curve, curve], curve, [curve]))
    assert "half of that when 75 % of the pixels are there" in found.reading
    curve = [0.6, 0.65, 0.7, 0.8, 0.88]
    found = verdicts.perturbation("insertion", Perturbed(curve, [curve, curve], curve, [curve]))
    assert "88 % in the end, is 60 % before any pixel is there: more than half" in found.reading


@pytest.mark.parametrize(
    ("draws", "mean", "verdict"),
    [
        ([0.1, 0.3, -0.1], 0.1, "holds"),
        ([0.5, 0.4, 0.45], 0.45, "doubtful"),
        ([1.0, 1.0, 1.0], 1.0, "fails"),
        ([None, 0.6, None], 0.6, "fails"),
        ([None, None, None], None, "holds"),
    ],
)
def test_a_map_has_to_change_with_the_weights(draws, mean, verdict):
    figure = verdicts.randomisation(["fc8", "conv1"], [0.9, draws[0]], [0.8, -0.2], draws)
    found = figure.values["randomisation_correlation"]
    assert found == (None if mean is None else pytest.approx(mean))
    assert figure.verdict == verdict and figure.values["signed_randomisation_correlation"] == -0.2
    assert [curve.x for curve in figure.curves] == [("as trained", "fc8", "conv1")] * 2
    assert [curve.y for curve in figure.curves] == [(1.0, 0.9, draws[0]), (1.0, 0.8, -0.2)]


@pytest.mark.parametrize(("change", "verdict"), [(0.0, "holds"), (0.5, "holds"), (0.9, "doubtful"), (1.5, "fails")])
def test_a_map_should_not_change_with_noise(change, verdict):
    figure = verdicts.sensitivity(change, 5, 10)
    assert (figure.verdict, figure.values) == (verdict, {"max_sensitivity": change})


def test_a_map_that_noise_takes_away_fails():
    figure = verdicts.lost_in_noise("There is none.", 5)
    assert figure.verdict == "fails" and figure.values == {"max_sensitivity": None}
    assert figure.reading.endswith("There is none.")


def test_every_reading_and_reason_is_whole_sentences():
    curve = line(0.2)
    figures: list[Figure] = [
        verdicts.completeness(1.0, 1.0, 4.0, "logit"),
        verdicts.completeness(1.0, 0.0, 4.0, "rise"),
        verdicts.perturbation("deletion", Perturbed(curve, CHANCE, curve, [curve])),
        verdicts.perturbation("insertion", Perturbed(curve[::-1], CHANCE, curve, [curve])),
        verdicts.randomisation(["fc8"], [0.1], None, [0.1]),
        verdicts.sensitivity(0.1, 5, 10),
    ]
    for figure in figures:
        for text in (figure.reading, figure.because):
            assert text[0].isupper() and text.endswith(".") and "nan" not in text and "None" not in text
