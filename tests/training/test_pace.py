"""How fast a training goes, as a visitor is told."""

import math

import pytest

from alexnet_explorer.training.pace import LATELY, Pace


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def train(pace, clock, seconds, speed, images=0):
    """Train for so many seconds; the number of images afterwards."""
    for _ in range(round(seconds * 2)):
        clock.now += 0.5
        images += speed / 2
        pace.at(images)
    return images


def test_nothing_is_said_before_the_first_images(clock):
    pace = Pace(700, clock)
    pace.at(700)
    clock.now += 1
    pace.at(700)
    assert pace.img_per_s is None and pace.seconds_left(3, 100) is None


def test_the_pace_is_right_from_the_first_second_also_of_a_run_that_goes_on(clock):
    pace = Pace(5000, clock)
    train(pace, clock, 1, 200, 5000)
    assert pace.img_per_s == pytest.approx(200)
    assert pace.seconds_left(2.5, 1000) == pytest.approx(12.5)


@pytest.mark.parametrize("seconds", [5.0, 30.0, 120.0])
def test_a_change_of_pace_counts_by_an_exponential_mean(clock, seconds):
    pace = Pace(0, clock)
    images = train(pace, clock, 3600, 400)
    train(pace, clock, seconds, 100, images)
    share = math.exp(-seconds / LATELY)  # what the hour before still weighs
    assert pace.img_per_s == pytest.approx(share * 400 + (1 - share) * 100, rel=0.01)


def test_validation_slows_no_training_and_is_waited_for_at_the_end_of_each_epoch_to_come(clock):
    pace = Pace(0, clock)
    images = train(pace, clock, 10, 100)
    clock.now += 0.25
    with pace.aside(images + 25):
        clock.now += 4
        pace.at(images + 25)  # a status that is written meanwhile
        assert pace.img_per_s == pytest.approx(100)
    pace.end_epoch()
    assert pace.img_per_s == pytest.approx(100)
    assert pace.seconds_left(2, 1000) == pytest.approx(2 * (10 + 4))
    train(pace, clock, 1, 100, images + 25)
    assert pace.img_per_s == pytest.approx(100)
