"""Paired statistics on data with known answers, on the null, and as properties."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alexnet_explorer.studies.statistics import (
    Estimate,
    StatisticsError,
    Time,
    aliases,
    differences,
    effect_names,
    effects,
    holm,
    ratios,
)

# Student's own data (Biometrika 6, 1908), R's `sleep`: hours of sleep gained by ten patients with either drug.
FIRST_DRUG = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND_DRUG = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

STUDIES = 1000
# Of a thousand studies without any effect, how many a test at 5 % may find one in: all but 1 % of such thousands.
FALSE_ALARMS = stats.binom(STUDIES, 0.05).ppf([0.005, 0.995])

unhurried = settings(deadline=None)
values = st.floats(-100, 100).map(lambda value: round(value, 6))
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=12)


def reached(*numbers):
    return [Time(number, True) for number in numbers]


def given_up(*numbers):
    return [Time(number, False) for number in numbers]


def paired_difference(baseline, other, level=0.95):
    return differences(baseline, other).estimate(level)


def paired_ratio(baseline, other, level=0.95):
    return ratios(baseline, other).estimate(level)


def main_effects(cells, factors, level=0.95):
    return {effect: sample.estimate(level) for effect, sample in effects(cells, factors).items()}


def test_the_paired_difference_of_students_own_data():
    """As R's `t.test(extra ~ group, sleep, paired = TRUE)` prints it."""
    found = paired_difference(FIRST_DRUG, SECOND_DRUG)
    assert found.value == pytest.approx(1.58)
    assert found.low == pytest.approx(0.7001142, abs=1e-7)
    assert found.high == pytest.approx(2.4598858, abs=1e-7)
    assert found.p_value == pytest.approx(0.002833, abs=1e-6)
    assert found.n == 10


def test_a_level_of_99_percent_is_wider():
    # 1.58 ± 3.2498 · 0.38896
    found = paired_difference(FIRST_DRUG, SECOND_DRUG, level=0.99)
    assert (found.low, found.high) == pytest.approx((0.3160, 2.8440), abs=1e-4)


def test_one_seed_has_a_difference_and_no_interval():
    assert paired_difference([0.25], [0.5]) == Estimate(0.25, -math.inf, math.inf, 1, None)
    assert differences([0.25], [0.5]).bootstrap() is None


@pytest.mark.parametrize("other", [[0.2, 0.3, 0.4], [0.1, 0.2, 0.3]])
def test_equal_differences_show_no_spread_and_give_no_interval(other):
    # In floating point 0.2 − 0.1 and 0.4 − 0.3 are two numbers.
    found = paired_difference([0.1, 0.2, 0.3], other)
    assert found.value == pytest.approx(other[0] - 0.1)
    assert (found.low, found.high, found.n, found.p_value) == (-math.inf, math.inf, 3, None)
    assert differences([0.1, 0.2, 0.3], other).bootstrap() is None


@pytest.mark.parametrize(
    ("baseline", "other", "words"),
    [
        ([1.0], [1.0, 2.0], "1 values are paired with 2"),
        ([], [], "no values"),
        ([math.nan, 1.0], [1.0, 1.0], "not a finite number"),
    ],
)
def test_values_that_make_no_pairs_are_refused(baseline, other, words):
    with pytest.raises(StatisticsError, match=words):
        differences(baseline, other)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan])
def test_a_level_is_a_share(level):
    with pytest.raises(StatisticsError, match="between 0 and 1"):
        paired_difference(FIRST_DRUG, SECOND_DRUG, level)


@given(pairs)
@unhurried
def test_swapping_the_arms_negates_the_difference(pairs):
    first, second = zip(*pairs, strict=True)
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low), abs=1e-9)
    assert back.p_value == pytest.approx(there.p_value) if there.p_value is not None else back.p_value is None


@given(pairs, st.floats(0.01, 100))
@unhurried
def test_the_unit_scales_the_difference_and_not_the_p_value(pairs, unit):
    first, second = zip(*pairs, strict=True)
    found = paired_difference(first, second)
    scaled = paired_difference([unit * a for a in first], [unit * b for b in second])
    expected = (unit * found.value, unit * found.low, unit * found.high)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_study_of_nothing_finds_something_once_in_twenty():
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(STUDIES):
        found = paired_difference(random.normal(size=5), random.normal(size=5))
        assert (found.p_value < 0.05) == (not found.low <= 0 <= found.high)
        alarms += found.p_value < 0.05
    assert FALSE_ALARMS[0] <= alarms <= FALSE_ALARMS[1]


def test_the_bootstrap_agrees_with_student_where_there_are_many_seeds():
    random = np.random.default_rng(0)
    first, second = random.normal(size=400), random.normal(0.3, size=400)
    student = paired_difference(first, second)
    assert differences(first, second).bootstrap() == pytest.approx((student.low, student.high), abs=0.01)


def test_the_bootstrap_is_repeatable():
    gained = differences(FIRST_DRUG, SECOND_DRUG)
    assert gained.bootstrap(seed=3) == gained.bootstrap(seed=3) != gained.bootstrap(seed=4)


@given(pairs)
@unhurried
def test_the_bootstraps_interval_is_among_the_differences(pairs):
    first, second = zip(*pairs, strict=True)
    seen = np.subtract(second, first)
    if found := differences(first, second).bootstrap():
        low, high = found
        assert seen.min() <= low + 1e-9 and low <= high and high <= seen.max() + 1e-9


def test_the_bootstrap_of_a_ratio_is_that_of_its_logarithms_and_takes_no_limits():
    found = ratios(*TIMES)
    logs = differences(*[[math.log(time.value) for time in times] for times in TIMES])
    assert found.bootstrap() == pytest.approx(tuple(math.exp(end) for end in logs.bootstrap()))
    assert ratios(TIMES[0], [*TIMES[1][:4], Time(11.0, False)]).bootstrap() is None


TIMES = (reached(3.0, 4.5, 2.8, 3.9, 3.3), reached(9.1, 8.8, 10.4, 12.0, 7.7))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_ratio_of_times_that_were_all_reached_is_students(level, seeds):
    baseline, other = (times[:seeds] for times in TIMES)
    logs = [[math.log(time.value) for time in times] for times in (baseline, other)]
    expected, found = paired_difference(*logs, level), paired_ratio(baseline, other, level)
    assert found.value == pytest.approx(math.exp(expected.value), rel=1e-6)
    assert found.low == pytest.approx(math.exp(expected.low), rel=1e-6)
    assert found.high == pytest.approx(math.exp(expected.high), rel=1e-6)
    assert found.p_value == pytest.approx(expected.p_value, rel=1e-6)
    assert found.n == seeds


def test_a_censored_ratio_is_scipys_of_maximum_likelihood():
    logs = np.log([2.1, 3.0, 2.6, 4.2, 2.4])
    baseline, other = reached(1, 1, 1, 1), [*reached(2.1, 3.0, 2.6), *given_up(4.2)]
    baseline, other = [*baseline, *given_up(1)], [*other, *reached(2.4)]
    data = stats.CensoredData(uncensored=logs[:3], right=logs[3:4], left=logs[4:])
    mean, _ = stats.norm.fit(data)
    found = paired_ratio(baseline, other)
    assert found.value == pytest.approx(math.exp(mean), rel=1e-4)
    assert found.low < found.value < found.high and found.n == 5


def test_a_time_that_was_given_up_widens_the_interval_to_its_side():
    baseline, other = TIMES
    whole = paired_ratio(baseline, other)
    cut = paired_ratio(baseline, [*other[:3], Time(11.0, False), other[4]])
    assert cut.high > whole.high and cut.value > paired_ratio(baseline, [*other[:3], Time(11.0, True), other[4]]).value


def test_an_arm_that_never_reached_the_target_gives_a_bound():
    baseline = reached(3.0, 4.5, 2.8, 3.9, 3.3)
    found = paired_ratio(baseline, given_up(*[60.0] * 5))
    limits = paired_ratio(baseline, reached(*[60.0] * 5))
    assert (found.value, found.high, found.n) == (None, math.inf, 5)
    assert found.low == pytest.approx(limits.low) and found.low > 12
    assert found.p_value == pytest.approx(limits.p_value) and found.p_value < 1e-4
    mirrored = paired_ratio(given_up(*[60.0] * 5), baseline)
    assert (mirrored.value, mirrored.low, mirrored.high) == (None, 0.0, pytest.approx(1 / found.low))
    assert mirrored.p_value == pytest.approx(found.p_value)


def test_a_bound_below_one_says_nothing_against_one():
    found = paired_ratio(reached(3.0, 4.5, 2.8), given_up(1.0, 1.1, 1.2))
    assert found.low < 1 and found.high == math.inf and found.p_value == 1.0


def test_one_time_reached_is_too_few_for_an_estimate():
    # Likelihood would put the mean on the one ratio seen, with no spread.
    found = paired_ratio(reached(3.0, 4.5, 2.8), [*given_up(6.0, 6.0), *reached(9.0)])
    assert found.value is None and 0 < found.low < 9 / 2.8 and found.high == math.inf


def test_limits_on_both_sides_alone_say_nothing():
    found = paired_ratio([*given_up(5.0), *reached(2.0)], [*reached(3.0), *given_up(5.0)])
    assert found == Estimate(None, 0.0, math.inf, 2, None)


def test_a_pair_that_was_given_up_in_both_arms_is_left_out():
    baseline, other = TIMES
    more = paired_ratio([*baseline, Time(60.0, False)], [*other, Time(60.0, False)])
    assert more == paired_ratio(baseline, other)
    assert paired_ratio(given_up(5.0), given_up(5.0)) == Estimate(None, 0.0, math.inf, 0, None)


def test_ratios_without_a_spread_have_no_interval():
    assert paired_ratio(reached(2.0), reached(3.0)) == Estimate(pytest.approx(1.5), 0.0, math.inf, 1, None)
    found = paired_ratio(reached(0.1, 0.3, 0.7), reached(0.3, 0.9, 2.1))  # all 3, but for rounding
    assert found == Estimate(pytest.approx(3.0), 0.0, math.inf, 3, None)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_time_is_above_zero(value):
    with pytest.raises(StatisticsError, match="above 0"):
        paired_ratio(reached(value), reached(1.0))


def test_times_are_paired():
    with pytest.raises(StatisticsError, match="1 times are paired with 2"):
        paired_ratio(reached(1.0), reached(1.0, 2.0))


times = st.lists(
    st.tuples(*[st.builds(Time, st.floats(0.1, 100).map(lambda value: round(value, 3)), st.booleans())] * 2),
    min_size=1,
    max_size=8,
)


@given(times)
@unhurried
def test_swapping_the_arms_inverts_the_ratio(times):
    baseline, other = zip(*times, strict=True)
    there, back = paired_ratio(baseline, other), paired_ratio(other, baseline)
    for end, opposite in ((there.low, back.high), (there.high, back.low), (there.value, back.value)):
        if end is None:
            assert opposite is None
        elif 1e-12 < end < 1e12:
            assert opposite == pytest.approx(1 / end, rel=1e-5)
    assert there.n == back.n and (there.value is None or there.low <= there.value <= there.high)


@given(times, st.floats(0.01, 100))
@unhurried
def test_the_unit_of_time_is_nothing_to_the_ratio(times, unit):
    found, scaled = (
        paired_ratio(
            *zip(*[(Time(a.value * by, a.reached), Time(b.value * by, b.reached)) for a, b in times], strict=True)
        )
        for by in (1.0, unit)
    )
    assert (scaled.value is None) == (found.value is None)
    if found.value is not None:
        assert scaled.value == pytest.approx(found.value, rel=1e-5)


def test_the_ratio_of_two_equal_arms_is_told_from_one_once_in_twenty():
    random = np.random.default_rng(0)
    alarms = sum(
        paired_ratio(reached(*first), reached(*second)).p_value < 0.05
        for first, second in np.exp(random.normal(size=(STUDIES, 2, 5)))
    )
    assert FALSE_ALARMS[0] <= alarms <= FALSE_ALARMS[1]


@pytest.mark.parametrize("limit", [2.5, 1.0])  # a sixth and a half of all times run out
def test_equal_arms_of_which_some_run_out_of_time_are_seldom_told_apart(limit):
    random = np.random.default_rng(1)
    alarms = low = high = 0
    for arms in np.exp(random.normal(size=(STUDIES, 2, 5))):
        found = paired_ratio(*[[Time(min(time, limit), bool(time < limit)) for time in arm] for arm in arms])
        alarms += found.p_value is not None and found.p_value < 0.05
        low, high = low + (found.low > 1), high + (found.high < 1)
    assert low + high == alarms < 0.07 * STUDIES


def factorial(effect, factors=("a", "b"), seeds=3, levels=("off", "on")):
    """Cells of a full factorial design: `effect(*signs)` plus what each seed adds to all of them."""
    seed_effects = np.random.default_rng(0).normal(size=seeds)
    return {
        cell: list(effect(*[levels.index(level) for level in cell]) + seed_effects)
        for cell in product(levels, repeat=len(factors))
    }


def test_the_effects_of_a_two_by_two_design():
    # a: 2 where b is off and 5 where it is on; b: 1 and 4.
    found = main_effects(factorial(lambda a, b: 2 * a + b + 3 * a * b), ["a", "b"])
    assert {effect: estimate.value for effect, estimate in found.items()} == {
        ("a",): pytest.approx(3.5), ("b",): pytest.approx(2.5), ("a", "b"): pytest.approx(3.0),
    }  # fmt: skip
    # The seeds add the same to every cell, so no effect varies: there is nothing to make an interval of.
    assert all(estimate.low == -math.inf and estimate.p_value is None for estimate in found.values())


def test_an_effects_interval_is_students_over_the_seeds():
    random = np.random.default_rng(0)
    cells = {cell: list(random.normal(size=5)) for cell in product("xy", "uv")}
    found = main_effects(cells, ["first", "second"], level=0.9)
    low = np.add(cells["x", "u"], cells["x", "v"]) / 2
    high = np.add(cells["y", "u"], cells["y", "v"]) / 2
    for expected, effect in (
        (paired_difference(low, high, 0.9), ("first",)),
        (
            paired_difference(
                np.subtract(cells["y", "u"], cells["x", "u"]), np.subtract(cells["y", "v"], cells["x", "v"]), 0.9
            ),
            ("first", "second"),
        ),
    ):
        assert found[effect].value == pytest.approx(expected.value)
        assert (found[effect].low, found[effect].high) == pytest.approx((expected.low, expected.high))
        assert found[effect].p_value == pytest.approx(expected.p_value) and found[effect].n == 5


def test_yates_filtration_experiment():
    """Montgomery, Design and Analysis of Experiments, example 6.2: a 2⁴ of a filtration rate. One replicate."""
    rates = [45, 71, 48, 65, 68, 60, 80, 65, 43, 100, 45, 104, 75, 86, 70, 96]
    cells = {tuple(reversed(signs)): [rate] for signs, rate in zip(product("-+", repeat=4), rates, strict=True)}
    found = main_effects(cells, "ABCD")
    expected = {"A": 21.625, "B": 3.125, "C": 9.875, "D": 14.625,
                "AB": 0.125, "AC": -18.125, "AD": 16.625, "BC": 2.375, "BD": -0.375, "CD": -1.125}  # fmt: skip
    assert set(found) == {tuple(effect) for effect in expected}
    for effect, value in expected.items():
        # The book halves an interaction, which is told whole here.
        assert found[tuple(effect)].value == pytest.approx(value * len(effect))
    assert aliases(list(cells), "ABCD") == {}


def test_more_than_two_levels_are_each_compared_with_the_first():
    lifts = {"relu": 0.0, "tanh": 2.0, "elu": 5.0}
    cells = {(a, b): [lifts[a] + (b == "on") * (1 + lifts[a])] for a in lifts for b in ("off", "on")}
    found = main_effects(cells, ["activation", "dropout"])
    assert {effect: round(estimate.value, 9) for effect, estimate in found.items()} == {
        ("activation=tanh",): 3.0,
        ("activation=elu",): 7.5,
        ("dropout",): pytest.approx(1 + 7 / 3),
        ("activation=tanh", "dropout"): 2.0,
        ("activation=elu", "dropout"): 5.0,
    }


def fraction(generator, size):
    """The cells of a two-level fraction: signs of a full factorial, and one more that `generator` makes of them."""
    return [(*signs, generator(*signs)) for signs in product((-1, 1), repeat=size)]


def test_a_half_fraction_of_four_factors_tells_its_main_effects_and_names_the_rest():
    cells = {
        tuple("+" if sign > 0 else "-" for sign in signs): [float(3 * signs[0] + 2 * signs[3] + signs[0] * signs[1])]
        for signs in fraction(lambda a, b, c: a * b * c, 3)
    }
    found = main_effects(cells, "ABCD")
    assert {effect: round(estimate.value, 9) for effect, estimate in found.items()} == {
        ("A",): 6.0, ("B",): 0.0, ("C",): 0.0, ("D",): 4.0,
    }  # fmt: skip
    assert aliases(list(cells), "ABCD") == {
        ("A", "B"): [("C", "D")], ("C", "D"): [("A", "B")], ("A", "C"): [("B", "D")],
        ("B", "D"): [("A", "C")], ("A", "D"): [("B", "C")], ("B", "C"): [("A", "D")],
    }  # fmt: skip


def test_in_a_half_fraction_of_three_each_main_effect_stands_for_an_interaction():
    cells = {tuple(map(str, signs)): [1.0] for signs in fraction(lambda a, b: a * b, 2)}
    assert set(main_effects(cells, "ABC")) == {("A",), ("B",), ("C",)}
    assert aliases(list(cells), "ABC") == {("A", "B"): [("C",)], ("A", "C"): [("B",)], ("B", "C"): [("A",)]}


def test_two_factors_that_always_change_together_cannot_be_told_apart():
    cells = {("off", "off"): [1.0], ("on", "on"): [2.0]}
    with pytest.raises(StatisticsError, match="effect of dropout cannot be told from that of augmentation"):
        main_effects(cells, ["dropout", "augmentation"])


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({}, "one level of each of the factors a, b"),
        ({("x",): [1.0]}, "one level of each of the factors a, b"),
        ({("x", "u"): [1.0], ("y", "u"): [1.0]}, "factor b has one level"),
        ({("x", "u"): [1.0], ("y", "v"): [1.0, 2.0]}, "different numbers of seeds"),
    ],
)
def test_cells_that_do_not_fit_together_are_refused(cells, words):
    with pytest.raises(StatisticsError, match=words):
        main_effects(cells, ["a", "b"])


def test_effects_of_noise_are_found_once_in_twenty():
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(STUDIES):
        cells = dict(zip(product("xy", "uv"), random.normal(size=(4, 5)), strict=True))
        alarms += main_effects(cells, ["a", "b"])["a", "b"].p_value < 0.05
    assert FALSE_ALARMS[0] <= alarms <= FALSE_ALARMS[1]


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6, 0.7], [1.0, 1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holms_correction(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


@pytest.mark.parametrize("p_value", [-0.1, 1.1, math.nan])
def test_a_p_value_is_a_probability(p_value):
    with pytest.raises(StatisticsError, match="between 0 and 1"):
        holm([0.5, p_value])


@given(st.lists(st.floats(0, 1), max_size=10))
@unhurried
def test_holm_keeps_the_order_and_is_no_milder_than_none_nor_harder_than_bonferroni(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= min(1, len(p_values) * p) + 1e-12 for p, a in zip(p_values, adjusted, strict=True))
    ranked = sorted(zip(p_values, adjusted, strict=True))
    assert all(one[1] <= two[1] for one, two in pairwise(ranked))


def test_holm_finds_something_in_ten_studies_of_nothing_once_in_twenty():
    random = np.random.default_rng(0)
    alarms = sum(min(holm(p_values)) < 0.05 for p_values in random.uniform(size=(STUDIES, 10)))
    assert FALSE_ALARMS[0] <= alarms <= FALSE_ALARMS[1]


def sample(values):
    return differences([0.0] * len(values), values)


def test_how_many_seeds_would_settle_it():
    # Mean 1, spread 2: at n seeds the interval is 1 ± 2·t/√n, and t is 2.1098 at 18 seeds, 2.1009 at 19.
    seen = sample([-1.0, 1.0, 3.0])
    half = {n: 2 * stats.t.ppf(0.975, n - 1) / math.sqrt(n) for n in range(3, 30)}
    first = next(n for n, width in half.items() if width < 1)
    assert first == 18
    assert seen.further_seeds() == first - 3
    assert seen.further_seeds(most=14) == math.inf and seen.further_seeds(most=15) == 15
    assert sample([9.0, 11.0, 13.0]).further_seeds() == 0
    assert sample([-2.0, 0.0, 2.0]).further_seeds() == math.inf
    # As one of four rows that are read together: t at 98.75 %.
    half = {n: 2 * stats.t.ppf(1 - 0.05 / 4 / 2, n - 1) / math.sqrt(n) for n in range(3, 60)}
    assert seen.further_seeds(1 - 0.05 / 4) == next(n for n, width in half.items() if width < 1) - 3


def test_without_a_spread_no_number_of_seeds_is_told():
    assert sample([0.5]).further_seeds() is None
    assert sample([0.5, 0.5]).further_seeds() is None


def test_how_many_seeds_would_settle_a_ratio_of_which_some_times_ran_out():
    baseline, other = reached(3.0, 4.5, 2.8, 3.9), [*reached(3.3, 4.1, 4.9), *given_up(4.0)]
    found = ratios(baseline, other)
    estimate = found.estimate()
    assert estimate.low < 1 < estimate.value
    # The interval narrows with t/√n, as Student's does.
    half = math.log(estimate.value / estimate.low)
    width = {n: stats.t.ppf(0.975, n - 1) / math.sqrt(n) for n in range(4, 200)}
    needed = next(n for n, one in width.items() if half * one / width[4] < math.log(estimate.value)) - 4
    assert found.further_seeds() == needed > 0
    # Where as many pairs again say nothing, it takes twice the seeds.
    silent = ratios([*baseline, *given_up(9, 9, 9, 9)], [*other, *given_up(9, 9, 9, 9)])
    assert silent.further_seeds() == 2 * needed
    # Arms that never arrive: the bound may come to lie above 1; limits on both sides, or below 1, tell nothing.
    assert ratios(reached(3.0, 4.5, 2.8), given_up(4.0, 4.0, 4.0)).further_seeds() > 0
    assert ratios(reached(3.0, 4.5, 2.8), given_up(1.0, 1.1, 1.2)).further_seeds() is None
    assert ratios([*given_up(5.0), *reached(2.0)], [*reached(3.0), *given_up(5.0)]).further_seeds() is None
    assert ratios(given_up(5.0), given_up(5.0)).further_seeds() is None


@given(pairs)
@unhurried
def test_no_seeds_are_needed_where_the_interval_says_so_already(pairs):
    first, second = zip(*pairs, strict=True)
    found = differences(first, second)
    assert (found.further_seeds() == 0) == (found.estimate().low > 0 or found.estimate().high < 0)


def times_of(cells, limit=math.inf):
    """Logarithms as times, those over the limit given up."""
    return {
        cell: [Time(min(math.exp(log), limit), math.exp(log) <= limit) for log in logs] for cell, logs in cells.items()
    }


def test_effects_on_times_are_those_on_their_logarithms():
    random = np.random.default_rng(0)
    cells = {cell: list(random.normal(size=5)) for cell in product("xy", "uv")}
    found = main_effects(times_of(cells), ["a", "b"])
    for effect, expected in main_effects(cells, ["a", "b"]).items():
        assert found[effect].value == pytest.approx(math.exp(expected.value))
        assert (found[effect].low, found[effect].high) == pytest.approx(
            (math.exp(expected.low), math.exp(expected.high))
        )
        assert found[effect].p_value == pytest.approx(expected.p_value)


def test_one_factor_on_times_is_the_paired_ratio_censored_or_not():
    baseline, other = TIMES[0], [*TIMES[1][:3], *given_up(11.0, 9.0)]
    found = effects({("x",): baseline, ("y",): other}, ["a"])["a",].estimate()
    assert vars(found) == pytest.approx(vars(paired_ratio(baseline, other)))


def test_a_time_that_ran_out_is_a_limit_of_the_effects_that_it_lengthens_or_shortens():
    cells = {
        ("x", "u"): reached(2.0, 2.2, 2.1), ("x", "v"): reached(4.0, 4.6, 4.1),
        ("y", "u"): reached(3.0, 3.5, 2.9), ("y", "v"): [*reached(9.0, 9.9), *given_up(6.0)],
    }  # fmt: skip
    found = effects(cells, ["a", "b"])
    for sample in found.values():  # y and v are the later levels: each effect is larger than seen
        assert list(sample.above) == [False, False, True] and not sample.below.any() and sample.silent == 0
    assert found["a", "b"].values[2] == pytest.approx(math.log(6.0 / 2.9 / (4.1 / 2.1)))
    both = effects(cells | {("x", "v"): [*reached(4.0, 4.6), *given_up(6.0)]}, ["a", "b"])
    assert both["a",].silent == both["a", "b"].silent == 1 and both["a",].estimate().n == 2
    assert list(both["b",].above) == [False, False, True]
    lower = effects(
        cells | {("x", "v"): [*reached(4.0, 4.6), *given_up(6.0)], ("y", "v"): reached(9, 9, 9)}, ["a", "b"]
    )
    assert list(lower["a",].below) == list(lower["a", "b"].below) == list(lower["b",].above) == [False, False, True]


def test_the_names_of_effects_are_known_before_any_run():
    assert effect_names([*product("xyz", "uv")], ["a", "b"]) == [
        ("a=y",), ("a=z",), ("b",), ("a=y", "b"), ("a=z", "b"),
    ]  # fmt: skip


def test_effects_of_noise_on_times_of_which_some_run_out_are_seldom_found():
    random = np.random.default_rng(2)
    alarms, count = 0, 300
    for _ in range(count):
        cells = dict(zip(product("xy", "uv"), random.normal(size=(4, 5)), strict=True))
        p_value = main_effects(times_of(cells, 2.5), ["a", "b"])["a",].p_value
        alarms += p_value is not None and p_value < 0.05
    assert alarms < stats.binom(count, 0.07).ppf(0.995)
