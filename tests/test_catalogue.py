"""The list of every network that can be shown, from file names and headers alone."""

import shutil

import pytest
import torch

from alexnet_explorer.catalogue import DEFAULT_MODEL, find_model, imported_folder, list_models
from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.model import AlexNet
from alexnet_explorer.runs import RunError, create_run
from alexnet_explorer.weights import load_weights, save_weights


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty runs folder beside an empty gallery."""
    monkeypatch.setattr("alexnet_explorer.runs.GALLERY", tmp_path / "gallery")
    return tmp_path / "runs"


@pytest.fixture
def ship(tmp_path, trained):
    """Puts a copy of a finished run into the gallery."""

    def copy(name):
        return shutil.copytree(trained.relu.path, tmp_path / "gallery" / name)

    return copy


@pytest.fixture
def bring(root, small):
    """Puts weights that a user brought into the runs folder."""

    def save(name, **metadata):
        config = small()
        imported_folder(root).mkdir(parents=True, exist_ok=True)
        path = imported_folder(root) / f"{name}.safetensors"
        preprocessing = Preprocessing(16, 16, torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
        save_weights(path, AlexNet(config.model), preprocessing, ["a", "b", "c"], config, extra=metadata)
        return path

    return save


def test_the_default_comes_first_then_gallery_runs_and_imports(root, ship, bring, trained):
    ship("another")
    ship(DEFAULT_MODEL)
    brought = bring("mine", title="Mine, from work")
    old = shutil.copytree(trained.relu.path, root / "20250101-000000-small")
    new = shutil.copytree(trained.tanh.path, root / "20260101-000000-small")
    entries = list_models(root)
    assert [(entry.name, entry.kind) for entry in entries] == [
        (DEFAULT_MODEL, "gallery"), ("another", "gallery"), (new.name, "run"), (old.name, "run"), ("mine", "imported"),
    ]  # fmt: skip
    assert entries[-1].title == "Mine, from work" and entries[-1].path == brought
    assert [entry.name for entry in entries if "tanh" not in entry.title] != []
    for entry in entries:
        assert find_model(entry.name, root) == entry
        assert load_weights(entry.path).model


def test_an_epoch_gives_its_own_weights(trained):
    entry = find_model(trained.relu.id, trained.root)
    assert list(entry.epochs()) == [0, 1, 2, 3]
    assert entry.at(None) == entry.path == entry.at(3) == trained.relu.weights_file()
    assert entry.at(1) == trained.relu.snapshots()[1]
    with pytest.raises(RunError, match="epoch 7 was not kept; there are: 0, 1, 2, 3"):
        entry.at(7)


def test_a_run_under_way_predicts_with_its_checkpoint(root, trained):
    run = create_run(trained.relu.config, root)
    for file in (run.path / "checkpoints" / "epoch-00001.safetensors", run.last_file):
        shutil.copy(trained.relu.weights_file(), file)
    (entry,) = list_models(root)
    assert entry.path == entry.at(None) == run.last_file and list(entry.epochs()) == [1]


def test_partial_snapshots_are_no_networks(root, trained):
    run = create_run(trained.relu.config, root)
    loaded = load_weights(trained.relu.weights_file())
    for epoch, layers in ((0, ["conv1"]), (2, []), (4, ["conv1"])):
        path = run.path / "checkpoints" / f"epoch-{epoch:05}.safetensors"
        save_weights(path, loaded.model, loaded.preprocessing, loaded.classes, loaded.config, layers=layers)
    (entry,) = list_models(root)
    assert list(entry.epochs()) == [2] and entry.path == run.snapshots()[2]
    (run.path / "checkpoints" / "epoch-00002.safetensors").unlink()
    assert list_models(root) == []


def test_what_is_damaged_is_left_out_and_the_rest_is_there(root, bring, trained):
    whole = shutil.copytree(trained.relu.path, root / "whole")
    torn = (whole / "checkpoints/epoch-00003.safetensors").read_bytes()[:90]
    for name, file, content in (
        ("config-missing", "config.json", None),
        ("config-garbage", "config.json", b"\xff{"),
        ("status-garbage", "status.json", b"[]"),
        ("weights-torn", "checkpoints/epoch-00003.safetensors", torn),
        ("weights-odd", "checkpoints/epoch-last.safetensors", b""),
    ):  # fmt: skip
        path = shutil.copytree(trained.relu.path, root / name) / file
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
    bring("fine")
    (imported_folder(root) / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (imported_folder(root) / "empty.safetensors").touch()
    (imported_folder(root) / "with space.safetensors").write_bytes(
        (imported_folder(root) / "fine.safetensors").read_bytes()
    )
    found = {entry.name: entry for entry in list_models(root)}
    assert set(found) == {"whole", "status-garbage", "weights-torn", "weights-odd", "fine"}
    assert list(found["weights-torn"].epochs()) == [0, 1, 2]  # the newest one that is whole


@pytest.mark.parametrize(
    "wrong", ["", "..", "../gallery/another", "whole/../whole", "/etc/passwd", "nothing", "x" * 5000]
)
def test_a_name_is_never_a_path(root, ship, trained, wrong):
    ship("another")
    shutil.copytree(trained.relu.path, root / "whole")
    with pytest.raises(RunError, match=r"there is no model .*another, whole"):
        find_model(wrong, root)
