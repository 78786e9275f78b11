"""What is measured against what: the textbook's network, its data, and the whole of a small measurement."""

import json

import pytest
import torch

from alexnet_explorer import bench
from alexnet_explorer.config import preset_config
from alexnet_explorer.data import sources
from alexnet_explorer.data.packed import DataError
from alexnet_explorer.model import AlexNet


@pytest.mark.parametrize("preset", ["alexnet-32", "convnet-2012"])
def test_the_textbook_network_computes_what_ours_does(preset):
    # PyTorch's own normalisation is across maps.
    config = preset_config(preset).with_settings({"model.lrn": True, "model.lrn_kind": "across-maps"}).model
    ours, textbook = AlexNet(config).eval(), bench.textbook_network(config).eval()
    assert any(isinstance(module, torch.nn.LocalResponseNorm) for module in textbook)
    for mine, its in zip(ours.parameters(), textbook.parameters(), strict=True):
        its.data.copy_(mine.data)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(textbook(x), ours(x), rtol=1e-4, atol=1e-5)


def test_the_textbook_reads_class_folders_of_the_same_images(packed, small, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "BATCH", 8)
    bench._write_files(packed, tmp_path / "images")
    assert len(list((tmp_path / "images").rglob("*.png"))) == packed.count("train")
    loader = bench._loader(tmp_path / "images", small(), packed, workers=0)
    x, _ = next(iter(loader))
    assert x.shape == (8, 3, 16, 16)
    labels = torch.cat([y for _, y in loader])
    assert set(labels.tolist()) == set(packed.labels("train").tolist())


def test_three_loops_are_measured_in_one_run(packed, monkeypatch):
    monkeypatch.setattr(bench, "PRESETS", ("convnet-2012",))
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(bench, "BATCH", 8)
    monkeypatch.setattr(bench, "_best_workers", lambda *arguments: 0)
    made, new_run = [], bench.new_run
    monkeypatch.setattr(bench, "new_run", lambda config, *where: made.append(config) or new_run(config, *where))
    said = []
    (result,) = bench.training(packed, said.append, seconds=0.05)
    assert f": {made[0].train.precision}, " in said[1]  # the ceiling is of the same precision
    assert result.to_json().keys() == {"preset", "img_per_s", "textbook_img_per_s", "fixed_batch_img_per_s"}
    assert result.preset == "convnet-2012" and said[-1].endswith(" img/s")
    assert min(result.img_per_s, result.textbook_img_per_s, result.fixed_batch_img_per_s) > 0


def test_a_list_of_runs_is_measured_with_its_index_and_without():
    said = []
    result = bench.listing(20, said.append)
    assert result.runs == 20 and len(said) == 1 + bench.REPEATS
    assert all(value > 0 for value in result.to_json().values())


def test_the_metrics_of_a_long_run_are_read_whole_and_from_where_they_were_left():
    said = []
    result = bench.reading(50, said.append)
    assert result.rows == 50 and len(said) == bench.REPEATS
    assert all(value > 0 for value in result.to_json().values())


def test_without_a_name_cifar10_is_taken_or_the_digits_where_it_is_not_to_be_had(data_root, pack, call, monkeypatch):
    def no_network(source, name, progress):
        raise DataError("no network.")

    monkeypatch.setattr(sources, "_download", no_network)
    taken = []
    monkeypatch.setattr(bench, "training", lambda packed, say: taken.append(packed.name) or [])
    pack("CIFAR-100")
    status, out, err = call("bench", "training", "--json")
    assert status == 0 and json.loads(out) == {"data": "digits", "results": []}
    assert "no network. The digits are taken instead." in err
    pack("CIFAR-10 (JPEG copy)")
    status, out, err = call("bench", "training")
    assert (status, out) == (0, "on CIFAR-10 (JPEG copy):\n") and "digits" not in err
    assert taken == ["digits", "CIFAR-10 (JPEG copy)"]
