import hashlib
import io
import itertools
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.data import packed, sources, tree
from alexnet_explorer.data.packed import DataError, list_sets
from alexnet_explorer.data.sources import SOURCES, prepare, prepare_by_name


def picture(seed=0, size=(16, 16)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def encode(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write_folders(root, counts, **settings):
    """Class folders with so many pictures each: {"cat": 3, "train/dog": 2}."""
    seed = 0
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            (root / folder / f"{number}.png").write_bytes(encode(picture(seed, **settings)))
            seed += 1
    return root


def write_zip(path, files, **settings):
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


PETS = {"cat/0.png": encode(picture(0)), "cat/1.png": encode(picture(1)), "dog/0.png": encode(picture(2))}


def refused(source, *words, **settings):
    """One sentence that names all of `words`; and no set is left half-written."""
    before = [found.folder for found in list_sets()]
    with pytest.raises(DataError) as caught:
        prepare(source, **settings)
    sentence = str(caught.value)
    for word in words:
        assert word in sentence, sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert [found.folder for found in list_sets()] == before
    assert list(packed.data_root().glob("packed/.*.part")) == []


@pytest.fixture(autouse=True)
def own_data_folder(data_root):
    return data_root


# Digits


def test_the_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    digits = load_digits()
    found = prepare("digits")
    assert (found.name, found.classes, found.size) == ("digits", tuple("0123456789"), 32)
    assert found.count("train") + found.count("test") == 1797
    for label in range(10):
        of_class = digits.images[digits.target == label]
        train = found.images("train")[found.labels("train") == label]
        test = found.images("test")[found.labels("test") == label]
        assert len(train) == len(of_class) * 4 // 5
        images = np.concatenate([train, test])
        assert np.array_equal(images[..., 0], images[..., 2])
        # Enlarged four times and shrunk again by means, an image is a little blurred and otherwise itself.
        small = images[..., 0].reshape(-1, 8, 4, 8, 4).mean((2, 4)) * 16 / 255
        agreement = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(small, of_class, strict=True)]
        assert min(agreement) > 0.9
    assert found.images("train").max() == 255


def test_the_digits_are_quick_and_packed_once():
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from alexnet_explorer.data.sources import prepare\n"
        "prepare('digits'); print(time.perf_counter() - start, [m for m in ('sklearn', 'torchvision', 'torch') "
        "if m in sys.modules])"
    )
    seconds, imported = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split(maxsplit=1)
    assert imported == "[]\n"
    assert float(seconds) < 20  # about 0.5 s on a machine that does nothing else
    prepare("digits", progress=lambda share, text: pytest.fail("packed again"))


# Folders


def test_class_folders_are_the_training_images(tmp_path):
    root = write_folders(tmp_path / "my pets", {"dog": 2, "cat": 3, "axolotl": 1})
    heard = []
    found = prepare(root, progress=lambda share, text: heard.append((share, text)))
    assert found.name == "my pets"
    assert found.classes == ("axolotl", "cat", "dog")
    assert found.labels("train").tolist() == [0, 1, 1, 1, 2, 2]
    assert found.count("test") == 0
    expected = [picture(seed) for seed in (5, 2, 3, 4, 0, 1)]
    assert np.array_equal(found.images("train"), np.stack(expected))
    assert found.skipped == ()
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert any("of 6 pictures" in text for _, text in heard)
    assert str(tmp_path) not in (found.folder / "set.json").read_text()


def test_training_and_test_folders(tmp_path):
    root = write_folders(tmp_path / "pets", {"train/cat": 2, "train/dog": 2, "test/dog": 1, "test/cat": 3})
    found = prepare(root)
    assert found.classes == ("cat", "dog")
    assert found.labels("train").tolist() == [0, 0, 1, 1]
    assert found.labels("test").tolist() == [0, 0, 0, 1]


def test_val_stands_for_test_where_test_has_no_classes(tmp_path):
    counts = {"train/cat": 1, "train/dog": 1, "val/cat": 2, "val/dog": 2, "test/images": 5}
    assert prepare(write_folders(tmp_path / "tiny", counts)).count("test") == 4
    counts |= {"test/cat": 1, "test/dog": 1}
    del counts["test/images"]
    assert prepare(write_folders(tmp_path / "all three", counts)).count("test") == 2


def split_folders(root, *names):
    """Each with the same pictures of two classes."""
    return write_folders(root, {f"{name}/{kind}": count for name in names for kind, count in (("cat", 2), ("dog", 3))})


@pytest.mark.parametrize(
    "names", [("train", "validation"), ("Training", "Testing"), ("train", "valid"), ("train", "eval")]
)
def test_splits_by_other_names(tmp_path, names):
    found = prepare(split_folders(tmp_path / "pets", *names))
    assert found.classes == ("cat", "dog") and (found.count("train"), found.count("test")) == (5, 5)


def test_a_split_that_is_not_used_is_told(tmp_path):
    found = prepare(split_folders(tmp_path / "pets", "train", "valid", "test"))
    assert found.count("test") == 5 and found.skipped == ("valid (test is used)",)


def test_what_was_packed_with_splits_for_classes_is_packed_anew(tmp_path, monkeypatch):
    root = split_folders(tmp_path / "pets", "train", "valid")
    monkeypatch.setattr(sources, "_HELD_OUT", ("test", "val"))
    monkeypatch.setattr(sources, "_are_splits", lambda folders: False)
    assert prepare(root).classes == ("train", "valid")
    monkeypatch.undo()
    assert prepare(root).classes == prepare(root).classes == ("cat", "dog")


def test_splits_without_training_pictures_are_no_classes(tmp_path):
    refused(split_folders(tmp_path / "pets", "test", "valid"), "has 'test', 'valid', but not a folder 'train'")


def test_a_name_is_never_a_path(tmp_path, monkeypatch):
    """Whoever types one into a page would have the folders of the server packed."""
    write_folders(tmp_path / "private", {"cat": 2, "dog": 3})
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "private"), "private"):
        with pytest.raises(DataError):
            prepare_by_name(name)
    found = prepare(tmp_path / "private")
    assert prepare_by_name("private").digest == found.digest and prepare_by_name("digits").name == "digits"


def test_folders_within_class_folders_belong_to_the_class(tmp_path):
    found = prepare(write_folders(tmp_path / "wnids", {"train/n1/images": 2, "train/n2/images": 1}))
    assert (found.classes, found.count("train")) == (("n1", "n2"), 3)


def test_classes_called_train_and_car(tmp_path):
    assert prepare(write_folders(tmp_path / "vehicles", {"train": 2, "car": 2})).classes == ("car", "train")


def test_readable_names_from_classes_tsv(tmp_path):
    root = write_folders(tmp_path / "birds", {"n1": 1, "n2": 1, "n3": 1, "n4": 1})
    (root / "classes.tsv").write_text("n1\tcrane\nn2\tcock, rooster\nn3\tcrane, lifting machine\n", "utf-8")
    assert prepare(root).classes == ("crane (n1)", "cock", "crane (n3)", "n4")


def test_pictures_of_all_sizes_become_squares_of_the_median(tmp_path):
    root = write_folders(tmp_path / "mixed", {"cat": 0, "dog": 0})
    sizes = [(40, 30), (50, 70), (600, 20), (33, 900), (64, 48)]
    for number, size in enumerate(sizes):
        (root / ("cat", "dog")[number % 2] / f"{number}.jpg").write_bytes(encode(picture(number, size), "JPEG"))
    found = prepare(root)
    assert found.size == 33
    assert found.images("train").shape == (5, 33, 33, 3)


def test_large_pictures_are_packed_at_256(tmp_path):
    assert prepare(write_folders(tmp_path / "large", {"cat": 1, "dog": 1}, size=(300, 280))).size == 256


def test_greyscale_and_sixteen_bits_among_colours(tmp_path):
    root = write_folders(tmp_path / "grey", {"cat": 1, "dog": 1})
    (root / "cat/grey.png").write_bytes(encode(Image.new("L", (16, 16), 90)))
    (root / "dog/deep.png").write_bytes(encode(Image.fromarray(np.full((16, 16), 257 * 90, np.uint16))))
    images = prepare(root).images("train")
    assert (images[1] == 90).all()
    assert (images[3] == 90).all()


def test_unreadable_files_are_passed_over_and_listed(tmp_path):
    root = write_folders(tmp_path / "pets", {"cat": 4, "dog": 4})
    (root / "cat/letter.jpg").write_text("Dear diary")
    (root / "dog/cut.png").write_bytes(encode(picture(9))[:300])
    (root / "dog/phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    for unnoticed in ("cat/.hidden.png", "cat/._1.png", "dog/Thumbs.db", "notes.txt", ".DS_Store"):
        (root / unnoticed).write_bytes(b"?")
    (root / "__MACOSX/cat").mkdir(parents=True)
    found = prepare(root)
    assert found.classes == ("cat", "dog")
    assert found.count("train") == 8
    assert sorted(found.skipped) == ["cat/letter.jpg", "dog/cut.png", "dog/phone.HEIC"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_are_not_followed(tmp_path):
    secret = write_folders(tmp_path / "elsewhere", {"private": 2})
    root = write_folders(tmp_path / "pets", {"cat": 1, "dog": 1})
    (root / "cat/link.png").symlink_to(secret / "private/0.png")
    (root / "private").symlink_to(secret / "private")
    (root / "cat/circle").symlink_to(root)
    found = prepare(root)
    assert (found.classes, found.count("train")) == (("cat", "dog"), 2)
    assert len(found.skipped) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_file_names_that_are_no_text(tmp_path):
    root = write_folders(tmp_path / "pets", {"cat": 1, "dog": 1})
    os.makedirs(os.fsencode(root) + b"/gn\xe4u")  # noqa: PTH103
    Path(os.fsdecode(os.fsencode(root) + b"/gn\xe4u/\xff.png")).write_bytes(encode(picture(3)))
    Path(os.fsdecode(os.fsencode(root) + b"/gn\xe4u/\xfe.png")).write_bytes(b"")
    found = prepare(root)
    assert found.classes == ("cat", "dog", "gn?u")
    assert found.skipped == ("gn?u/?.png",)


def test_a_folder_is_packed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    root = write_folders(tmp_path / "pets", {"cat": 2, "dog": 2})
    first = prepare(root)
    with monkeypatch.context() as patch:
        patch.setattr(sources, "read_square", lambda *_: pytest.fail("decoded again"))
        assert prepare(root).digest == first.digest
        root.rename(tmp_path / "moved")
        assert prepare(tmp_path / "moved").name == "pets"
        assert prepare("pets").digest == first.digest  # by its label
    (tmp_path / "moved/cat/0.png").write_bytes(encode(picture(99)))
    assert prepare(tmp_path / "moved").digest != first.digest


def test_the_same_pictures_with_new_dates_are_the_same_set(tmp_path):
    root = write_folders(tmp_path / "pets", {"cat": 2, "dog": 2})
    first = prepare(root)
    os.utime(root / "cat/0.png", (0, 0))
    assert prepare(root).digest == first.digest
    assert len(list_sets()) == 1


def test_a_set_is_packed_under_the_name_asked_for(tmp_path):
    root = write_folders(tmp_path / "digits", {"cat": 2, "dog": 2})
    assert prepare(root).name == "digits (folder)"  # built-in names are taken
    assert prepare(root, "my pets").name == "my pets"
    assert prepare(root, "my pets").folder == prepare("my pets").folder
    refused(root, "'cifar10' belongs to a built-in data set", name="cifar10")
    refused(root, "needs a name", name="  ")


def test_real_photographs(tmp_path):
    archive = Path(__file__).parents[3] / "shared/data/imagenet-samples.tar.xz"
    if not archive.exists():
        pytest.skip("needs the real images of ../shared")
    with tarfile.open(archive, "r|xz") as members:
        files = (members.extractfile(member).read() for member in members if member.isfile())
        photographs = list(itertools.islice(files, 40))
    for number, data in enumerate(photographs):
        (tmp_path / "photographs" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "photographs" / "ab"[number % 2] / f"{number:02}.JPEG").write_bytes(data)
    found = prepare(tmp_path / "photographs")
    assert (found.size, found.count("train"), found.skipped) == (256, len(photographs), ())
    compared = 0
    for packed_image, data in zip(found.images("train")[:20], photographs[::2], strict=True):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        left, top = (image.width - 256) // 2, (image.height - 256) // 2
        if min(image.size) == 256 and image.width % 2 == image.height % 2 == 0:  # the centre, pixel for pixel
            assert np.array_equal(packed_image, np.asarray(image.crop((left, top, left + 256, top + 256))))
            compared += 1
    assert compared >= 5


# Folders that are no data set


def test_no_pictures(tmp_path):
    refused(tmp_path, "no pictures", "make one folder for each class")
    refused(write_folders(tmp_path / "pets", {"cat": 0, "dog": 0}), "no pictures in 'pets'")


def test_no_class_folders(tmp_path):
    (tmp_path / "1.png").write_bytes(encode(picture()))
    refused(tmp_path, "not in class folders", "make one folder for each class")


def test_one_class(tmp_path):
    refused(write_folders(tmp_path / "pets", {"cat": 3}), "one class only, 'cat'", "add a folder")


def test_an_empty_class(tmp_path):
    refused(write_folders(tmp_path / "pets", {"cat": 3, "dog": 0}), "no pictures in 'dog'", "add some")
    counts = {"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/dog": 0}
    refused(write_folders(tmp_path / "split", counts), "no pictures in 'test/dog'")


def test_splits_with_other_classes(tmp_path):
    counts = {"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/gnu": 1}
    refused(write_folders(tmp_path / "pets", counts), "'dog' only in 'train'; 'gnu' only in 'test'", "the same")
    counts = {f"train/{number}": 1 for number in range(6)} | {"val/0": 1}
    refused(write_folders(tmp_path / "numbers", counts), "'1', '2', '3' and 2 more only in 'train'")


def test_mostly_unreadable(tmp_path):
    root = write_folders(tmp_path / "pets", {"cat": 2, "dog": 2})
    for number in range(5):
        (root / f"cat/letter{number}.jpg").write_text("Dear diary")
    refused(root, "More than half", "cat/letter", "not a picture of a known format")


def test_a_class_without_a_readable_picture(tmp_path):
    root = write_folders(tmp_path / "pets", {"cat": 5, "dog": 2})
    for number in range(2):
        (root / f"dog/{number}.png").write_bytes(b"")
    refused(root, "None of the pictures of class 'dog'", "save them again")


@pytest.mark.parametrize(
    "source", ["no such thing", "", "no/such/folder", "x" * 5000, "a\0b", "~nobody-of-this-name/x"]
)
def test_unknown_sources(source):
    refused(source, "There is no data set, folder or zip file", *SOURCES)


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed.PackedWriter, "add", full)
    refused(write_folders(tmp_path / "pets", {"cat": 1, "dog": 1}), "No space left on device", "make room")


# Large sets


def large(tmp_path, count=700):
    """Class folders with more pictures than are dealt with at once, one of which cannot be read."""
    root = write_folders(tmp_path / "large", {"train/cat": count // 2, "train/dog": count // 2, "test/cat": 40,
                                              "test/dog": 40}, size=(8, 8))  # fmt: skip
    (root / "train/cat/30.png").write_bytes(b"?")
    return root


@pytest.fixture
def uninterrupted(tmp_path, data_root, monkeypatch):
    """The same pictures packed in one go, elsewhere."""
    root = large(tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("ALEXNET_EXPLORER_DATA", str(tmp_path / "other"))
        return prepare(root)


def assert_same_set(found, expected):
    assert (found.digest, found.skipped, found.counts) == (expected.digest, expected.skipped, expected.counts)
    for split in ("train", "test"):
        assert np.array_equal(found.images(split), expected.images(split))
        assert np.array_equal(found.labels(split), expected.labels(split))
    names = sorted(path.name for path in expected.folder.iterdir())
    assert sorted(path.name for path in found.folder.iterdir()) == names
    for name in names:
        assert (found.folder / name).read_bytes() == (expected.folder / name).read_bytes()


PACK = """
import os, signal, sys
from alexnet_explorer.data import packed, sources
def killed(image, *arguments, read=sources.read_square, left=[int(sys.argv[2])]):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(image, *arguments)
sources.read_square = killed
sources.prepare(sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_packing_goes_on_where_it_was_killed(tmp_path, data_root, uninterrupted, monkeypatch):
    for pictures in (600, 100, 230):  # in the training images, before anything more is kept, in the test images
        code = subprocess.run([sys.executable, "-c", PACK, tmp_path / "large", str(pictures)]).returncode
        assert code == -9
        assert list_sets() == []
    (part,) = (data_root / "packed").glob(".*.part")
    with (part / "train-images.npy").open("ab") as file:
        file.write(bytes(1000))  # written, and not noted yet
    read = []
    whole = sources.read_square
    monkeypatch.setattr(sources, "read_square", lambda *arguments: read.append(arguments[1]) or whole(*arguments))
    heard = []
    found = prepare(tmp_path / "large", progress=lambda share, text: heard.append((share, text)))
    again = [text for _, text in heard if "reading again what was packed before" in text]
    shares = [share for share, text in heard if "of 780 pictures" in text]
    assert len(read) <= 80 and shares[0] > 0.85
    assert len(again) == 1 and again[0].endswith(": 0.1 of 0.1 MB")  # 699 pictures of 8×8×3 bytes
    assert_same_set(found, uninterrupted)
    assert list((data_root / "packed").glob(".*.part")) == []


def test_who_stops_while_it_is_read_again_loses_nothing(tmp_path, data_root, uninterrupted, monkeypatch):
    broken_off(tmp_path / "large", KeyboardInterrupt(), monkeypatch)

    def stop(share, text):
        if "reading again" in text:
            raise DataError("Stopped.")

    with pytest.raises(DataError, match="Stopped"):
        prepare(tmp_path / "large", progress=stop)
    read = []
    whole = sources.read_square
    monkeypatch.setattr(sources, "read_square", lambda *arguments: read.append(arguments[1]) or whole(*arguments))
    assert_same_set(prepare(tmp_path / "large"), uninterrupted)
    assert len(read) < 300


def test_the_listing_of_a_folder_says_how_far_it_is(tmp_path, data_root):
    heard = []
    prepare(write_folders(tmp_path / "pets", {"cat": 3, "dog": 4}), progress=lambda share, text: heard.append(text))
    listed = [text for text in heard if text.startswith("looking through the folder: ")]
    assert len(listed) == 3 and listed[0].endswith(" 0 pictures so far")
    assert listed[2].split()[4] in ("3", "4")  # one of the two class folders


def broken_off(root, error, monkeypatch, after=600):
    calls = iter(range(10_000))
    whole = sources.read_square

    def read(*arguments):
        if next(calls) == after:
            raise error
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "read_square", read)
        with pytest.raises((type(error), DataError)):
            prepare(root)


def test_what_was_kept_is_used_only_if_it_is_whole(tmp_path, data_root, uninterrupted, monkeypatch):
    for damage in (
        lambda part: os.truncate(part / "train-images.npy", 5000),
        lambda part: os.truncate(part / "train-labels.npy", 200),
        lambda part: (part / "progress.npz").write_bytes(b"PK"),
        lambda part: (part / "test-images.npy").unlink(),
    ):
        broken_off(tmp_path / "large", KeyboardInterrupt(), monkeypatch)
        (part,) = (data_root / "packed").glob(".*.part")
        damage(part)
        assert_same_set(prepare(tmp_path / "large"), uninterrupted)
        shutil.rmtree(data_root)


def test_after_a_full_disk_it_goes_on(tmp_path, data_root, uninterrupted, monkeypatch):
    broken_off(tmp_path / "large", OSError(28, "No space left on device"), monkeypatch)
    assert_same_set(prepare(tmp_path / "large"), uninterrupted)


def test_other_pictures_begin_anew_and_what_was_broken_off_goes_after_two_weeks(
    tmp_path, data_root, uninterrupted, monkeypatch
):
    broken_off(tmp_path / "large", KeyboardInterrupt(), monkeypatch)
    (part,) = (data_root / "packed").glob(".*.part")
    (tmp_path / "large/train/dog/1.png").write_bytes(encode(picture(99, (8, 8))))
    assert prepare(tmp_path / "large").digest != uninterrupted.digest
    assert part.exists()
    os.utime(part, (time.time() - 15 * 86400,) * 2)
    prepare("digits")
    assert not part.exists()


def test_two_at_once_pack_the_same_pictures_once(tmp_path, data_root, monkeypatch):
    root = large(tmp_path)
    read = []
    whole = sources.read_square

    def slowly(*arguments):
        read.append(arguments[1])
        time.sleep(0.001)
        return whole(*arguments)

    monkeypatch.setattr(sources, "read_square", slowly)
    found, waited = [], []
    visitors = [
        threading.Thread(target=lambda: found.append(prepare(root, progress=lambda share, text: waited.append(text))))
        for _ in range(2)
    ]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert len({one.folder for one in found}) == 1 and len(found) == 2
    assert len(read) == 780
    assert any("waiting for another process" in text for text in waited)


def test_the_progress_tells_rate_and_time_left(monkeypatch):
    clock = iter([100.0, 100.5, 110.0, 110.0, 110.0, 120.0])
    monkeypatch.setattr(sources.time, "monotonic", lambda: next(clock))
    pace = sources._Pace(1_000_000, 1000)
    assert pace.said(1000) == "1,000 of 1,000,000 pictures"
    assert pace.said(11_000) == "11,000 of 1,000,000 pictures, 1,000 a second, 16 min left"
    assert pace.said(990_000).endswith("98,900 a second, 0 s left")
    assert pace.said(1_800).endswith("80 a second, 3.5 h left")
    assert pace.said(1_000_000).endswith("49,950 a second, 0 s left")


def test_a_set_knows_what_its_folders_were_called(tmp_path):
    root = write_folders(tmp_path / "birds", {"n1": 1, "n2": 1})
    assert prepare(root).folders == ()
    (root / "classes.tsv").write_text("n1\tcrane\nn2\tcock, rooster\n", "utf-8")
    found = prepare(root)
    assert (found.classes, found.folders) == (("crane", "cock"), ("n1", "n2"))


# Zip files


@pytest.mark.parametrize("top", ["", "pets/", "a/b/"])
def test_a_zip_is_read_as_the_folder_would_be(tmp_path, top):
    files = {top + name: data for name, data in PETS.items()}
    files |= {f"__MACOSX/{top}cat/._0.png": b"?", f"{top}.DS_Store": b"?", f"{top}classes.tsv": b"cat\tCat\ndog\tDog"}
    found = prepare(write_zip(tmp_path / "my pets.zip", files, compression=zipfile.ZIP_DEFLATED))
    assert (found.name, found.classes, found.skipped) == ("my pets", ("Cat", "Dog"), ())
    assert np.array_equal(found.images("train"), np.stack([picture(0), picture(1), picture(2)]))
    prepare(tmp_path / "my pets.zip", progress=lambda share, text: pytest.fail("packed again"))


def test_a_zip_with_splits(tmp_path):
    files = {f"set/{split}/{name}": data for split in ("train", "val") for name, data in PETS.items()}
    assert prepare(write_zip(tmp_path / "pets.zip", files)).count("test") == 3


def test_names_in_utf_8_that_do_not_say_so_and_a_dot_before_them(tmp_path):
    """As Finder and `zip -r x.zip ./x` write them."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("./classes.tsv", "Ka\u0308tzchen\tkitten\n猫\tcat")
        for place, name in enumerate(["./Ka\u0308tzchen/a.png", "./猫/b.png", "./猫/c.png", "./Ka\u0308tzchen/d.png"]):
            archive.writestr(name, encode(picture(place)))
    raw = bytearray(data.getvalue())
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := raw.find(start, at + 1)) >= 0:
            raw[at + flags + 1] &= ~0x08
    with zipfile.ZipFile(io.BytesIO(bytes(raw))) as archive:
        assert not any(member.flag_bits & 0x800 for member in archive.infolist())
    (tmp_path / "cats.zip").write_bytes(raw)
    found = prepare(tmp_path / "cats.zip")
    assert found.folders == ("Kätzchen", "猫") and found.classes == ("kitten", "cat")


@pytest.mark.parametrize("name", ["a/" * 33 + "x.png", "a" * 1001 + "/x.png"])
def test_paths_without_end_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.writestr(name, b"")
    refused(tmp_path / "deep.zip", "allowed are 32 and 1000")


def test_a_zip_cannot_write_outside(tmp_path):
    files = PETS | {"../../evil.png": encode(picture()), "/cat/absolute.png": encode(picture()), "..\\dog\\x.png": b"x"}
    before = sorted(tmp_path.rglob("*"))
    found = prepare(write_zip(tmp_path / "pets.zip", files))
    assert found.count("train") == 3
    written = [path for path in tmp_path.rglob("*") if path not in before and path.is_file()]
    assert {path.parent.name for path in written} <= {found.folder.name, "packed", tmp_path.name}
    assert not list(tmp_path.rglob("*evil*"))


def test_what_is_no_zip(tmp_path):
    for data in (b"", b"Dear diary", encode(picture()), b"PK\x03\x04" + bytes(50)):
        (tmp_path / "pets.zip").write_bytes(data)
        refused(tmp_path / "pets.zip", "'pets.zip' is not a zip file, or is damaged")
    whole = write_zip(tmp_path / "whole.zip", PETS).read_bytes()
    (tmp_path / "pets.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "pets.zip", "is not a zip file, or is damaged")


def test_a_damaged_member_is_passed_over(tmp_path):
    data = bytearray(write_zip(tmp_path / "pets.zip", PETS).read_bytes())
    data[data.index(PETS["cat/1.png"]) + 200] ^= 255
    (tmp_path / "pets.zip").write_bytes(bytes(data))
    assert prepare(tmp_path / "pets.zip").skipped == ("cat/1.png",)


def test_zip_bombs(tmp_path, monkeypatch):
    bomb = PETS | {"cat/large.png": bytes(tree.MAX_BYTES + 1)}
    found = prepare(write_zip(tmp_path / "large.zip", bomb, compression=zipfile.ZIP_DEFLATED))
    assert found.skipped == ("cat/large.png",)

    # A member that says it is small, and is not.
    data = bytearray((tmp_path / "large.zip").read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.rindex(signature) + place, 1000)
    (tmp_path / "liar.zip").write_bytes(bytes(data))
    assert prepare(tmp_path / "liar.zip").skipped == ("cat/large.png",)

    unusual = write_zip(tmp_path / "unusual.zip", PETS, compression=zipfile.ZIP_LZMA)
    refused(unusual, "More than half", "compressed in an unusual way")

    monkeypatch.setattr(tree, "MAX_UNPACKED", 1000)
    refused(write_zip(tmp_path / "pets.zip", PETS), "holds more than", "unpack it")
    monkeypatch.setattr(tree, "MAX_MEMBERS", 2)
    refused(tmp_path / "pets.zip", "holds more than 2 files", "unpack it")


def test_a_zip_with_a_password(tmp_path):
    data = bytearray(write_zip(tmp_path / "pets.zip", PETS).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "pets.zip").write_bytes(bytes(data))
    refused(tmp_path / "pets.zip", "protected by a password")


# Downloads, from a server of the test's own, in the true formats


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.answers = []  # "ok", "cut", "garbled", "hang", "missing": of the next downloads, in order
        self.downloads = 0
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Method") == "HEAD":  # torchvision asks first where the file is
            self.begin("ok")
            return
        self.server.downloads += 1
        answer = self.server.answers.pop(0) if self.server.answers else "ok"
        if body := self.begin(answer):
            if answer == "garbled":
                body = bytes(len(body))
            self.wfile.write(body[: len(body) // 2] if answer in ("cut", "hang") else body)
            self.wfile.flush()
            if answer == "hang":
                self.server.released.wait(20)

    def begin(self, answer):
        body = self.server.files.get(self.path[1:], b"")
        self.send_response(404 if answer == "missing" or not body else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body if answer != "missing" else b""

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def tar(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def md5(data):
    return hashlib.md5(data).hexdigest()


CIFAR_PIXELS = np.random.default_rng(0).integers(0, 256, (60, 3, 32, 32), np.uint8)


@pytest.fixture
def cifar10(server, monkeypatch):
    """CIFAR-10 with ten images a batch, at the test's server."""
    from torchvision.datasets import CIFAR10

    def batch(number):
        images = CIFAR_PIXELS[number * 10 : number * 10 + 10].reshape(10, 3072)
        return pickle.dumps({"data": images, "labels": list(range(10))}, protocol=2)

    batches = {f"data_batch_{number + 1}": batch(number) for number in range(5)} | {"test_batch": batch(5)}
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta = pickle.dumps({"label_names": names}, protocol=2)
    files = {f"cifar-10-batches-py/{name}": data for name, data in (batches | {"batches.meta": meta}).items()}
    archive = tar(files)
    server.files["cifar-10-python.tar.gz"] = archive
    sums = [[name, md5(data)] for name, data in batches.items()]
    monkeypatch.setattr(CIFAR10, "url", f"{server.url}/cifar-10-python.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5(meta)})
    return archive


def downloads(data_root, source="cifar10"):
    return sorted(path.name for path in (data_root / "downloads" / source).iterdir())


def check_cifar10(found):
    assert (found.name, found.size, found.classes[:2]) == ("cifar10", 32, ("airplane", "automobile"))
    assert np.array_equal(found.images("train"), CIFAR_PIXELS[:50].transpose(0, 2, 3, 1))
    assert np.array_equal(found.images("test"), CIFAR_PIXELS[50:].transpose(0, 2, 3, 1))
    assert found.labels("train").tolist() == list(range(10)) * 5


def test_cifar10_is_downloaded_once(cifar10, server, data_root):
    heard = []
    check_cifar10(prepare("cifar10", progress=lambda share, text: heard.append(share)))
    assert heard == sorted(heard)
    assert downloads(data_root) == ["cifar-10-python.tar.gz"]
    check_cifar10(prepare("cifar10"))
    assert server.downloads == 1


def test_an_archive_that_is_there_needs_no_network(cifar10, server, data_root):
    folder = data_root / "downloads/cifar10"
    folder.mkdir(parents=True)
    (folder / "cifar-10-python.tar.gz").write_bytes(cifar10)
    (folder / "cifar-10-batches-py").mkdir()  # an unpacking that was interrupted
    (folder / "cifar-10-batches-py/data_batch_1").write_bytes(b"half")
    check_cifar10(prepare("cifar10"))
    assert server.downloads == 0


def test_half_an_archive_left_behind_is_fetched_again(cifar10, server, data_root):
    folder = data_root / "downloads/cifar10"
    folder.mkdir(parents=True)
    (folder / "cifar-10-python.tar.gz").write_bytes(cifar10[: len(cifar10) // 2])
    check_cifar10(prepare("cifar10"))
    assert server.downloads == 1


@pytest.mark.parametrize("answer", ["cut", "garbled"])
def test_a_bad_download_is_tried_once_more(cifar10, server, data_root, answer):
    server.answers = [answer]
    check_cifar10(prepare("cifar10"))
    assert server.downloads == 2


def test_two_bad_downloads_are_the_end_and_nothing_else_is_lost(cifar10, server, data_root):
    digits = prepare("digits")
    server.answers = ["cut", "garbled"]
    refused("cifar10", "'cifar10' is damaged, twice", "try again later", "use 'digits' or a folder")
    assert downloads(data_root) == []
    assert prepare("digits").folder == digits.folder
    check_cifar10(prepare("cifar10"))


def test_no_network(cifar10, server, monkeypatch):
    from torchvision.datasets import CIFAR10

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{unused.getsockname()[1]}/cifar-10-python.tar.gz")
    start = time.perf_counter()
    refused("cifar10", "could not be downloaded (Connection refused)", "check the network connection", "use 'digits'")
    assert time.perf_counter() - start < 10
    monkeypatch.setattr(CIFAR10, "url", "http://no-such-host.invalid/cifar-10-python.tar.gz")
    refused("cifar10", "could not be downloaded (", "check the network connection")


def test_a_server_without_the_file(cifar10, server):
    server.files.clear()
    refused("cifar10", "could not be downloaded (Not Found)")


def test_a_stalled_download_is_given_up(cifar10, server, monkeypatch):
    monkeypatch.setattr(sources, "STALLED_AFTER", 0.5)
    server.answers = ["hang"]
    refused("cifar10", "could not be downloaded (no answer)")


def test_two_visitors_download_once(cifar10, server):
    found = []
    visitors = [threading.Thread(target=lambda: found.append(prepare("cifar10"))) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert len({one.folder for one in found}) == 1
    assert len(found) == 3
    assert server.downloads == 1


def test_imagenette(server, monkeypatch, data_root):
    from torchvision.datasets import Imagenette

    wnids = list(Imagenette._WNID_TO_CLASS)
    files = {
        f"imagenette2-160/{split}/{wnid}/{wnid}_{number}.JPEG": encode(picture(number, (213, 160)), "JPEG")
        for split, count in (("train", 2), ("val", 1))
        for wnid in wnids
        for number in range(count)
    }
    archive = tar(files | {"imagenette2-160/noisy_imagenette.csv": b"path,noisy_labels_0\n"})
    server.files["imagenette2-160.tgz"] = archive
    url = f"{server.url}/imagenette2-160.tgz"
    monkeypatch.setattr(Imagenette, "_ARCHIVES", Imagenette._ARCHIVES | {"160px": (url, md5(archive))})

    leftover = data_root / "downloads/imagenette/imagenette2-160/train/n01440764"  # torchvision would take it as it is
    leftover.mkdir(parents=True)
    found = prepare("imagenette")
    assert found.classes[:3] == ("tench", "English springer", "cassette player")
    assert (found.size, found.count("train"), found.count("test")) == (160, 20, 10)
    assert found.skipped == ()
    assert downloads(data_root, "imagenette") == ["imagenette2-160.tgz"]
    prepare("imagenette")
    assert server.downloads == 1
