"""What the server keeps for all visitors stays within bounds, and is right."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from alexnet_explorer.catalogue import imported_folder
from alexnet_explorer.runs import GALLERY, Run, RunError, create_run
from alexnet_explorer.ui import networks
from alexnet_explorer.ui.networks import Results, bytes_of, size_of

KIB = 1024


def block(count):
    return np.full(count, count % 256, np.uint8)


@given(some.lists(some.integers(0, 30 * KIB), max_size=60))
def test_results_never_outgrow_their_bound(sizes):
    store = Results(20 * KIB)
    for size in sizes:
        found = store.get(size, lambda size=size: block(size))
        assert len(found) == size and (found == size % 256).all()
        assert sum(other for other in set(sizes) if other in store) <= 20 * KIB


def test_what_was_not_asked_for_longest_goes_first():
    store = Results(10 * KIB)
    for key in "abc":
        store.get(key, lambda: block(3 * KIB))
    store.get("a", lambda: pytest.fail("it is there"))
    store.get("d", lambda: block(3 * KIB))
    assert [key in store for key in "abcd"] == [True, False, True, True]


def test_what_is_larger_than_the_store_is_computed_and_drives_nothing_out():
    store = Results(10 * KIB)
    store.get("small", lambda: block(KIB))
    assert len(store.get("large", lambda: block(11 * KIB))) == 11 * KIB
    assert "small" in store and "large" not in store


def test_what_is_kept_can_be_looked_for_without_computing_it():
    results = Results()
    assert results.find("a") is None
    results.get("a", lambda: 1)
    assert results.find("a") == 1


def test_a_computation_that_fails_leaves_nothing_and_blocks_nobody():
    store = Results()
    with pytest.raises(ZeroDivisionError):
        store.get("key", lambda: 1 / 0)
    assert store.get("key", lambda: 7) == 7


def test_what_several_visitors_ask_for_at_once_is_computed_once():
    store, start, computed = Results(), threading.Barrier(4), []

    def visit(visitor):
        start.wait()
        return store.get("key", lambda: (computed.append(visitor), time.sleep(0.05), np.zeros(3))[-1])

    with ThreadPoolExecutor(4) as visitors:
        found = list(visitors.map(visit, range(4)))
    assert len(computed) == 1
    assert all(one is found[0] for one in found)


def test_who_waits_for_another_one_can_give_up():
    store, begun, go_on = Results(), threading.Event(), threading.Event()

    def compute():
        begun.set()
        assert go_on.wait(20)
        return 7

    def give_up():
        raise RunError("Stopped.")

    other = threading.Thread(target=store.get, args=("key", compute))
    other.start()
    assert begun.wait(20)
    with pytest.raises(RunError, match="Stopped"):
        store.get("key", compute, waiting=give_up)
    go_on.set()
    other.join(20)
    assert store.get("key", lambda: 8, waiting=give_up) == 7


def test_a_network_counts_with_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(tmp_path))
    loaded = networks.load("alexnet-32-relu")
    assert bytes_of(loaded) == 4 * loaded.config.model.parameters()
    assert networks.load("alexnet-32-relu") is loaded


def test_a_computation_may_ask_for_another_result():
    store = Results()
    assert store.get("outer", lambda: store.get("inner", lambda: 3) + 1) == 4


def test_visitors_at_once_get_what_they_asked_for():
    store, start = Results(64 * KIB), threading.Barrier(8)

    def visit(visitor):
        start.wait()
        for turn in range(300):
            key = (visitor * 7 + turn) % 40
            assert (store.get(key, lambda key=key: np.full(4 * KIB, key, np.uint8)) == key).all()

    with ThreadPoolExecutor(8) as visitors:
        list(visitors.map(visit, range(8)))
    assert sum(key in store for key in range(40)) * 4 * KIB <= 64 * KIB


@dataclass
class Nested:
    maps: dict
    parts: list
    name: str


def test_every_array_of_a_result_counts():
    nested = Nested({"a": block(1000), "b": block(2000)}, [block(4000), (block(8000),)], "x" * 10)
    assert 15_000 <= size_of(nested) <= 17_000


# Networks


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A runs folder of this test's own."""
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(tmp_path))
    return tmp_path


def weights_of(name):
    return Run(GALLERY / name).weights_file()


def test_runs_that_have_the_same_title_can_be_told_apart(root, small):
    runs = [create_run(small(), root) for _ in range(2)]
    for run in runs:
        shutil.copy(weights_of("alexnet-32-relu"), run.path / "checkpoints")
    labels = [networks.label(run.id) for run in runs]
    assert labels == [f"{run.title} #{run.id[-4:]}" for run in runs]
    assert "#" not in networks.label("alexnet-32-relu")
    assert networks.label("gone") == "gone"


def test_a_network_is_loaded_once_for_all_and_anew_when_its_file_is_another(root):
    file = imported_folder(root) / "mine.safetensors"
    file.parent.mkdir()
    shutil.copy(weights_of("alexnet-32-relu"), file)
    first = networks.load("mine")
    assert networks.load("mine") is first
    shutil.copy(weights_of("alexnet-32-tanh"), file)
    assert networks.load("mine").digest != first.digest


def test_an_epoch_of_the_link_is_the_network_of_that_epoch(trained, monkeypatch):
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(trained.relu.path.parent))
    assert networks.load(trained.relu.id, 1).digest != networks.load(trained.relu.id).digest


def test_a_page_looks_the_networks_up_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(tmp_path))
    with networks.looked_up_once():
        before = networks.entries()
        brought = imported_folder(tmp_path) / "mine.safetensors"
        brought.parent.mkdir()
        shutil.copy(networks.entry("alexnet-32-relu").path, brought)
        assert networks.entries() == before
    assert [entry.name for entry in networks.entries()] == [*(entry.name for entry in before), "mine"]
