"""A click on a curve takes the lens to an epoch that was kept."""

import pytest

from alexnet_explorer.ui import lens
from alexnet_explorer.ui.epoch_curve import Cursor, nearest
from alexnet_explorer.ui.frame import NEWEST


@pytest.fixture
def looked_at(session):
    session["lens"] = lens.Lens(epoch=4)


@pytest.mark.parametrize(("x", "epoch"), [(0.3, 0), (1.4, 1), (2, 2), (5.9, 4), (6.5, 8), (29, None), (99, None)])
def test_the_nearest_kept_epoch_is_taken(looked_at, x, epoch):
    epochs = [0, 1, 2, 4, 8, 16, 30]
    Cursor(4, epochs, epochs).take([{"x": x}])
    assert lens.current().epoch == epoch


def test_the_newest_weights_stand_at_the_end_of_the_curve(looked_at):
    cursor = Cursor(1, [0, 1, 2.5], [0, 1, NEWEST])
    cursor.take([{"x": 2}])
    assert lens.current().epoch is None
    cursor.take([{"x": 1.5}])
    assert lens.current().epoch == 1


def test_taking_a_choice_back_or_a_single_epoch_changes_nothing(looked_at):
    Cursor(4, [0, 4], [0, 4]).take([])
    Cursor(4, [4], [4]).take([{"x": 0}])
    assert lens.current().epoch == 4


def test_of_two_as_near_the_earlier_is_nearest():
    assert nearest([0, 2, 4], 3) == 1
