"""What is measured against what: plain Captum gives what ours does, and a line about each method."""

import pytest

from alexnet_explorer.bench_attribution import PLAIN, attribution
from alexnet_explorer.config import ModelConfig
from alexnet_explorer.inspection.methods import METHODS, Settings

SMALL = ModelConfig(
    input_size=32, num_classes=4, widths=(4, 4, 4, 4, 4), fc_widths=(8,), lrn=False, pooling="non-overlapping",
    bias_one=(), grouped=(),
)  # fmt: skip
QUICK = Settings(window=15, stride=8, steps=20, superpixels=9, samples=20)

pytestmark = pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks")


def test_every_method_is_measured_beside_plain_captum_where_it_has_the_method():
    said = []
    found = attribution(said.append, config=SMALL, settings=QUICK, seconds=0)
    assert found.forward_backward_seconds > 0 and [one.method for one in found.results] == list(METHODS)
    for one in found.results:
        assert (one.seconds is None) == (one.passes_ratio is None) == (one.not_applicable is not None)
        if one.seconds is None:
            continue
        assert one.seconds > 0 and any(line.startswith(one.method) for line in said)
        assert (one.captum_seconds is not None) == (one.method in PLAIN)
        assert (one.largest_difference is not None) == (one.method in PLAIN and not METHODS[one.method].random)
        assert one.largest_difference is None or one.largest_difference < 1e-4
    assert sum(one.seconds is not None for one in found.results) >= len(METHODS) - 2


def test_a_method_that_does_not_apply_to_the_network_has_its_reason_in_place_of_a_time():
    (one,) = attribution(methods=["lrp"], config=SMALL.model_copy(update={"lrn": True}), seconds=0).results
    assert one.to_json() == {
        "method": "lrp", "seconds": None, "captum_seconds": None, "passes_ratio": None, "largest_difference": None,
        "not_applicable": one.not_applicable,
    }  # fmt: skip
    assert "lrn1" in one.not_applicable
