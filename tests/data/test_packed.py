import os
import time

import numpy as np
import pytest

from alexnet_explorer.data.packed import DataError, PackedWriter, data_root, find_set, list_sets, open_set


def pixels(count=10, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def write(name="noise", images=None, classes=("a", "b"), test=0, **settings):
    images = pixels() if images is None else images
    with PackedWriter(name, classes, images.shape[1], **settings) as writer:
        half = len(images) // 2
        for part in (images[:half], images[half:]):  # in more than one piece, as a reader of files does
            writer.add("train", part, np.arange(len(part)) % 2)
        if test:
            writer.add("test", images[:test], [0] * test)
        return writer.finish()


def everything(root):
    return sorted(path.name for path in (root / "packed").iterdir() if path.name != ".lock")


def test_what_was_added_is_read_back(data_root):
    images = pixels(11)
    packed = write("Noise, 2 kinds", images, test=3)

    again = open_set(packed.folder)
    assert np.array_equal(again.images("train"), images)
    assert np.array_equal(again.images("test"), images[:3])
    assert again.labels("train").tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1]
    assert again.labels("train").dtype == np.int64
    assert (again.name, again.classes, again.size) == ("Noise, 2 kinds", ("a", "b"), 8)
    assert (again.count("train"), again.count("test")) == (11, 3)
    assert packed.folder.name == f"noise-2-kinds-{packed.digest[:8]}"
    assert packed.folder.parent == data_root / "packed"
    assert isinstance(again.images("train"), np.memmap)


def test_statistics_are_of_the_training_images_alone(data_root):
    images = pixels(300, 64)  # more pixels than are looked at at once
    packed = write(images=images, test=7)
    flat = images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(packed.mean, flat.mean(0))
    np.testing.assert_allclose(packed.std, flat.std(0))
    np.testing.assert_allclose(packed.colour_covariance, np.cov(flat.T / 255, bias=True), atol=1e-12)
    np.testing.assert_allclose(packed.mean_image(), images.mean(0), rtol=1e-6)
    assert packed.mean_image().dtype == np.float32


def test_a_set_without_test_images(data_root):
    packed = write()
    assert packed.count("test") == 0
    assert packed.images("test").shape == (0, 8, 8, 3)
    assert packed.labels("test").shape == (0,)


def test_a_set_without_training_images_is_refused(data_root):
    with pytest.raises(DataError, match="no training images"), PackedWriter("empty", ("a", "b"), 8) as writer:
        writer.add("test", pixels(), [0] * 10)
        writer.finish()
    assert everything(data_root) == []


def test_the_digest_names_the_content(data_root):
    images = pixels()
    digests = {
        write().digest,
        write(images=images[::-1]).digest,
        write(images=images[:9]).digest,
        write(classes=("a", "c")).digest,
        write(test=1).digest,
    }
    assert len(digests) == 5
    assert write("another label").digest in digests


def test_the_same_images_are_kept_once(data_root):
    first = write(fingerprint="old dates")
    again = write(fingerprint="new dates")
    assert again.folder == first.folder
    assert again.fingerprint == "new dates"
    assert everything(data_root) == [first.folder.name]


def test_an_interrupted_writer_leaves_nothing(data_root):
    with pytest.raises(KeyboardInterrupt), PackedWriter("noise", ("a", "b"), 8) as writer:
        writer.add("train", pixels(), [0] * 10)
        assert list_sets() == []
        raise KeyboardInterrupt
    assert everything(data_root) == []


def test_a_killed_writer_shows_nothing_and_is_swept_away_later(data_root):
    writer = PackedWriter("noise", ("a", "b"), 8)  # never closed, as after SIGKILL
    writer.add("train", pixels(), [0] * 10)
    (part,) = (data_root / "packed").glob(".*.part")
    assert list_sets() == []
    write("another")
    assert part.exists()  # it may be another process at work
    os.utime(part, (time.time() - 2 * 86400,) * 2)
    write("a third")
    assert not part.exists()


def test_wrong_images_are_refused(data_root):
    with PackedWriter("noise", ("a", "b"), 8) as writer:
        for images in (pixels(2, 9), pixels(3), pixels(2) / 255):
            with pytest.raises(ValueError, match="images are"):
                writer.add("train", images, [0, 1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "train-images.npy").unlink(),
        lambda folder: os.truncate(folder / "train-images.npy", 500),
        lambda folder: os.truncate(folder / "test-labels.npy", 3),
        lambda folder: (folder / "mean-image.npy").write_bytes(b""),
        lambda folder: (folder / "set.json").write_text('{"format": 1}'),
        lambda folder: (folder / "set.json").write_bytes(b"\xff\x00"),
        lambda folder: (folder / "set.json").write_text("[]"),
    ],
)
def test_a_damaged_set_is_refused_left_out_and_repaired(data_root, damage):
    packed = write(test=2)
    damage(packed.folder)
    with pytest.raises(DataError, match="is damaged: delete its folder"):
        open_set(packed.folder)
    assert list_sets() == []
    assert np.array_equal(write(test=2).images("train"), pixels())
    assert everything(data_root) == [packed.folder.name]


def test_a_set_of_another_version_is_refused(data_root):
    record = write().folder / "set.json"
    record.write_text(record.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(DataError, match="another version"):
        open_set(record.parent)


def test_a_folder_that_is_no_set(data_root, tmp_path):
    with pytest.raises(DataError, match="There is no packed set"):
        open_set(tmp_path)


def test_sets_are_found_by_label_and_by_digest(data_root):
    assert list_sets() == []
    old, other = write("pets"), write("cars", pixels(seed=1))
    new = write("pets", pixels(seed=2))
    os.utime(old.folder / "set.json", (0, 0))
    assert [packed.name for packed in list_sets()] == ["cars", "pets", "pets"]
    assert find_set("pets").digest == new.digest
    assert find_set("pets", old.digest).digest == old.digest
    assert find_set("a label since changed", other.digest).digest == other.digest


def test_what_is_not_there_is_said_in_words(data_root):
    with pytest.raises(DataError, match=r"'pets' is not on this machine \(there are: none\): prepare it"):
        find_set("pets")
    write("cars")
    with pytest.raises(DataError, match=r"there are: cars"):
        find_set("pets")
    with pytest.raises(DataError, match=r"holds other images .* prepare the original images again"):
        find_set("cars", "0123456789abcdef")


def test_a_label_is_one_line_of_text(data_root):
    assert write("  two\nlines\x00 ").name == "two lines"
    assert len(write("x" * 500).name) == 120
    with pytest.raises(DataError, match="needs a name"):
        write(" \n")


def test_the_data_folder_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ALEXNET_EXPLORER_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert data_root() == tmp_path / ".cache/alexnet_explorer/data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache/alexnet_explorer/data"
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(tmp_path / "own"))
    assert data_root() == tmp_path / "own"
