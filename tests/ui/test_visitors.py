"""Two visitors look at one network at the same time, and each gets the map that is right."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from alexnet_explorer.inspection.methods import Settings
from alexnet_explorer.ui import maps, networks, pictures, views
from alexnet_explorer.ui.networks import Results

ROUNDS = 10


@pytest.fixture
def map_of(tmp_path, monkeypatch, session):
    """Computes a map as the page Saliency does, through the network that all sessions share; nothing is remembered."""
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(tmp_path))
    monkeypatch.setattr(networks, "results", lambda: Results(0))
    loaded = networks.load("alexnet-32-relu")

    def compute(method, picture="cat"):
        assert networks.load("alexnet-32-relu") is loaded
        look = views.Look(loaded, pictures.open_picture(picture), "relu1", 0, None, "", 1)
        return maps.Ask(look, method, Settings(), None).compute().map

    return compute


def test_maps_computed_at_once_are_those_computed_one_after_the_other(map_of):
    alone = {method: map_of(method) for method in ("saliency", "guided-backprop")}
    assert not np.array_equal(alone["saliency"], alone["guided-backprop"])
    together = threading.Barrier(2, timeout=20)

    def visit(method):
        maps = []
        for _ in range(ROUNDS):
            together.wait()
            maps.append(map_of(method))
        return maps

    with ThreadPoolExecutor(2) as visitors:
        for method, maps in zip(alone, visitors.map(visit, alone), strict=True):
            for found in maps:
                assert np.array_equal(found, alone[method]), method
