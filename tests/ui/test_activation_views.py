"""What the views of activations compute, apart from how a page lays it out."""

import csv
import io

import numpy as np
import pytest

from alexnet_explorer.ui.activation_views import Choice, largest_units, unit_table
from alexnet_explorer.ui.layer_views import Steps, step_table


def test_a_layer_has_the_common_scale_or_its_own():
    values = [np.array([0.0, 2.0], np.float32)]
    assert Choice("shared").scale_for(values, (-3.0, 3.0)) == (-3.0, 3.0)
    assert Choice("layer").scale_for(values, (-3.0, 3.0)) == Choice("map").scale_for(values, (-3.0, 3.0)) == (0.0, 2.0)


def test_the_largest_outputs_are_named_the_largest_first():
    values = np.array([0.5, -9.0, 3.25, 1.0], np.float32)
    assert largest_units(values, ("ant", "bee", "cat", "dog"), top=3) == [
        {"unit": 2, "class": "cat", "output": "3.25"},
        {"unit": 3, "class": "dog", "output": "1.00"},
        {"unit": 0, "class": "ant", "output": "0.50"},
    ]


def test_the_table_of_units_says_where_each_is_strongest():
    maps = np.array([[[0, 2], [0, -4]], [[0, 0], [6, 0]]], np.float32)
    rows = list(csv.DictReader(io.StringIO(unit_table(maps, ()).to_csv())))
    assert [list(row.values()) for row in rows] == [
        ["0", "2.0", "-0.5", "0.5", "0", "1"], ["1", "6.0", "1.5", "0.75", "1", "0"],
    ]  # fmt: skip
    assert unit_table(np.array([3.0, -1.0]), ("ant", "a, bee")).rows[1][:3] == [1, "a, bee", -1.0]


def test_the_steps_of_the_last_layer_end_in_probabilities():
    values = np.log(np.array([1, 2, 5], np.float32))
    table = step_table(Steps([2, 0], {"fc8": values[[2, 0]]}), values, ("ant", "bee", "cat"))
    assert [column.title for column in table.columns] == ["unit", "class", "fc8", "softmax"]
    assert [row[:2] for row in table.rows] == [(2, "cat"), (0, "ant")]
    assert [row[3] for row in table.rows] == pytest.approx([5 / 8, 1 / 8])
