"""What a network makes of a picture, as files: they hold the network's own numbers, and no file of others is lost."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.inspection.activations import statistics, walk
from alexnet_explorer.inspection.export import MANIFEST, Export, ExportError, write
from alexnet_explorer.inspection.mosaic import colourise, mosaic
from alexnet_explorer.inspection.predict import probabilities


def read(files, name):
    return list(csv.DictReader(io.StringIO(files[name].decode())))


def pixels(files, name):
    return np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB"))


def about(files):
    return {row["layer"]: row for row in json.loads(files[MANIFEST])["layers"]}


@pytest.fixture
def files(tiny, picture):
    loaded = tiny()
    return Export(loaded, picture, ["conv1", "relu1", "conv2", "fc5"], 2).files()


def test_the_arrays_are_the_networks_own(tiny, picture, files):
    arrays = np.load(io.BytesIO(files["maps.npz"]), allow_pickle=False)
    expected = walk(tiny(), picture)
    assert set(arrays) == {"conv1", "relu1", "conv2", "fc5"}
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], expected[name])
    shares = probabilities(tiny(), picture)
    table = read(files, "predictions.csv")
    assert [int(row["index"]) for row in table] == np.argsort(-shares).tolist()
    assert [float(row["probability"]) for row in table] == pytest.approx(sorted(shares, reverse=True))
    for row in read(files, "statistics.csv"):
        of = statistics(expected[row["layer"]])
        assert float(row["mean"]) == pytest.approx(of.mean) and int(row["dead"]) == of.dead
    np.testing.assert_array_equal(pixels(files, "input.png"), np.asarray(picture))


@pytest.mark.parametrize("layer", ["conv1", "relu1", "fc5"])
def test_a_mosaic_can_be_read_back_by_the_scale_beside_it(tiny, picture, files, layer):
    said, values = about(files)[layer]["map"], walk(tiny(), picture)[layer]
    assert said["lowest"] == (-np.abs(values).max() if values.min() < 0 else 0) and said["highest"] >= values.max()
    tiles = values if values.ndim == 3 else values[:, None, None]
    side, zoom = tiles.shape[1], said["zoom"]
    found = pixels(files, said["file"])
    for unit in range(len(tiles)):
        top, left = (place * (side * zoom + 1) for place in divmod(unit, said["columns"]))
        tile = found[top : top + side * zoom : zoom, left : left + side * zoom : zoom]
        np.testing.assert_array_equal(tile, colourise(tiles[unit], said["colormap"], said["lowest"], said["highest"]))


def test_kernels_are_colours_where_the_picture_comes_in_and_signed_maps_elsewhere(tiny, files):
    first, second = (about(files)[layer]["kernels"] for layer in ("conv1", "conv2"))
    assert first["colormap"] == "rgb" and second["colormap"] == "diverging"
    weights = tiny().model.get_submodule("conv2").weight.numpy()  # (8, 3, 3, 3): a row a kernel, a column a map
    limit = np.percentile(np.abs(weights), 99)
    assert second["highest"] == -second["lowest"] == pytest.approx(limit) and second["columns"] == 3
    layout = {"columns": 3, "zoom": second["zoom"], "vmin": second["lowest"], "vmax": second["highest"]}
    expected = mosaic(weights.reshape(24, 3, 3), **layout, colormap="diverging")
    np.testing.assert_array_equal(pixels(files, second["file"]), expected)
    assert "kernels" not in about(files)["relu1"] and "kernels" not in about(files)["fc5"]


def test_a_unit_is_laid_over_the_picture_or_is_a_number(tiny, picture, files):
    values = walk(tiny(), picture)
    said = about(files)["conv1"]["unit"]
    assert (said["number"], said["file"]) == (2, "conv1-unit-2.png")
    assert said["highest"] == pytest.approx(values["conv1"][2].max())
    assert pixels(files, said["file"]).shape == (512, 512, 3)
    assert about(files)["fc5"]["unit"] == {"number": 2, "value": pytest.approx(values["fc5"][2])}


def test_the_manifest_names_every_file(files):
    assert json.loads(files[MANIFEST])["files"] == list(files)


@pytest.mark.parametrize("fields", [{"in_channels": 1, "towers": 1}, {"activation": "tanh"}, {"convolutions": (1, 3)}])
def test_every_kind_of_network_can_be_written(tiny, picture, fields):
    loaded = tiny(**fields)
    files = Export(loaded, picture, list(loaded.model.layers)).files()
    assert {f"{name}.png" for name in loaded.model.layers} <= set(files)


# The folder


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_new_folder_is_there_as_a_whole(tmp_path):
    write(tmp_path / "out", {"a.png": b"a", MANIFEST: b'{"files": ["a.png", "inspect.json"]}'})
    assert names(tmp_path) == {"out"} and names(tmp_path / "out") == {"a.png", MANIFEST}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755


def test_an_earlier_export_makes_room_for_a_later_one(tmp_path):
    write(tmp_path / "out", {"a.png": b"a", MANIFEST: b'{"files": ["a.png", "inspect.json"]}'})
    write(tmp_path / "out", {"b.png": b"b", MANIFEST: b'{"files": ["b.png", "inspect.json"]}'})
    assert names(tmp_path / "out") == {"b.png", MANIFEST}


@pytest.mark.parametrize("manifest", [None, b"", b"{}", b'{"files": 7}', b'{"files": [["notes.txt"]]}'])
def test_files_of_others_are_left_alone(tmp_path, manifest):
    (tmp_path / "notes.txt").write_text("mine")
    if manifest is not None:
        (tmp_path / MANIFEST).write_bytes(manifest)
    before = names(tmp_path)
    with pytest.raises(ExportError, match=r"notes\.txt"):
        write(tmp_path, {"a.png": b"a", MANIFEST: b"{}"})
    assert names(tmp_path) == before


def test_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="it is a file"):
        write(tmp_path / "file", {})
    with pytest.raises(ExportError, match="there is no folder"):
        write(tmp_path / "none" / "out", {})


def test_nothing_is_left_where_writing_fails(tmp_path):
    with pytest.raises(ExportError, match="cannot be written"):
        write(tmp_path / "out", {"a.png": b"a", "no/such/place.png": b"b"})
    assert names(tmp_path) == set()
