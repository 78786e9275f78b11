"""The confusion matrix and what is told of it."""

import numpy as np

from alexnet_explorer.comparing import confusion_matrix
from alexnet_explorer.runs import Mistakes
from alexnet_explorer.ui.mistakes import confused_pairs

FOUND = Mistakes(3, [(0, 0, 7), (0, 1, 3), (1, 1, 2), (1, 2, 1), (2, 0, 3), (2, 2, 3)], [])
NAMES = ("cat", "dog", "bird")


def test_rows_are_true_classes_and_columns_what_they_were_taken_for():
    np.testing.assert_array_equal(confusion_matrix(FOUND, 3), [[7, 3, 0], [0, 2, 1], [3, 0, 3]])


def test_the_most_confused_pairs_come_first_with_their_share_of_the_class():
    assert confused_pairs(confusion_matrix(FOUND, 3), NAMES) == [
        {"class": "cat", "taken for": "dog", "images": 3, "share": 30.0},
        {"class": "bird", "taken for": "cat", "images": 3, "share": 50.0},
        {"class": "dog", "taken for": "bird", "images": 1, "share": 100 / 3},
    ]
    assert len(confused_pairs(confusion_matrix(FOUND, 3), NAMES, most=1)) == 1


def test_a_network_that_is_always_right_confuses_nothing():
    assert confused_pairs(np.diag([3, 4, 5]), NAMES) == []
