"""Which pictures of a folder a network can be asked about, and what it should answer."""

from collections import Counter

import pytest
from PIL import Image

from alexnet_explorer.data.labelled import find_labelled
from alexnet_explorer.data.packed import DataError

PETS = ("cat", "dog", "gnu")
TABLE = "n00000001\tcat, house cat\nn00000002\tdog\nn00000003\tcrane\nn00000004\tcrane, machine\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with these pictures."""

    def write(*paths, table=None):
        root = tmp_path / "pets"
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(root / path)
        if table:
            (root / table).write_text(TABLE, "utf-8")
        return root

    return write


def answers(root, classes, **settings):
    return {
        path.relative_to(root).as_posix(): label for path, label in find_labelled(root, classes, **settings).pictures
    }


@pytest.mark.parametrize("split", ["", "test/", "val/", "Val/"])
def test_class_folders_are_the_networks_classes(folder, split):
    root = folder(f"{split}dog/1.png", f"{split}dog/deeper/2.png", f"{split}cat/3.jpg", "train/gnu/4.png")
    found = answers(root, PETS)
    if not split:
        assert found == {"dog/1.png": 1, "dog/deeper/2.png": 1, "cat/3.jpg": 0}  # 'train' is no class it knows
    else:
        assert found == {f"{split}dog/1.png": 1, f"{split}dog/deeper/2.png": 1, f"{split}cat/3.jpg": 0}


def test_test_folders_come_before_validation_unless_they_hold_no_classes(folder):
    root = folder("val/cat/1.png", "test/dog/2.png")
    assert answers(root, PETS) == {"test/dog/2.png": 1}
    assert answers(root, ("cat", "gnu")) == {"val/cat/1.png": 0}


def test_classes_that_the_network_does_not_know_are_counted(folder):
    root = folder("cat/1.png", "emu/2.png", "emu/3.png", "fox/4.png", "loose.png")
    found = find_labelled(root, PETS)
    assert [label for _, label in found.pictures] == [0]
    assert found.unknown == Counter({"emu": 2, "fox": 1, "loose.png": 1})


def test_wordnet_ids_through_a_table_of_names(folder, tmp_path):
    pictures = ("0003_n00000001_cat.JPEG", "n00000002_17.JPEG", "5_n00000003_crane.png", "7_n00000009_emu.png")
    classes = ("crane (n00000004)", "crane (n00000003)", "dog", "cat")
    expected = dict(zip(pictures, (3, 2, 1), strict=False))
    root = folder(*pictures)
    with pytest.raises(DataError, match=r"knows none of the classes in 'pets' \(n0.*--classes"):
        find_labelled(root, classes)
    table = tmp_path / "names of classes.txt"
    table.write_text(TABLE, "utf-8")
    assert answers(root, classes, table=table) == expected
    assert find_labelled(root, classes, table=table).unknown == Counter({"n00000009": 1})
    assert answers(folder(table="classes.tsv"), classes) == expected  # in the folder
    (root / "classes.tsv").rename(tmp_path / "classes.tsv")
    assert answers(root, classes) == expected  # beside it


def test_of_two_kinds_of_crane_only_the_right_one_counts(folder):
    root = folder("n00000003/1.png", "n00000004/2.png", "n00000001/3.png", table="classes.tsv")
    assert answers(root, ("crane", "cat")) == {"n00000001/3.png": 1}  # which of them it learned is not known
    assert answers(root, ("crane", "cat"), folders=("n00000004", "n00000001")) == {
        "n00000004/2.png": 0,
        "n00000001/3.png": 1,
    }


def test_the_networks_own_folders_need_no_table(folder):
    root = folder("0_n00000002_dog.png", "1_n00000001_cat.png")
    found = answers(root, ("house cat", "hound"), folders=("n00000001", "n00000002"))
    assert found == {"0_n00000002_dog.png": 1, "1_n00000001_cat.png": 0}


def test_the_thousand_classes_of_ilsvrc_need_no_table(folder):
    wnids = [f"n{number:08}" for number in range(0, 3000, 3)]
    classes = [f"kind {number}" for number in range(998)] + ["crane", "crane"]
    root = folder("998_n00002994_crane.png", "7_n00000021_kind_7.png", "9_n00000027_kind_8.png", "kind_7.png")
    assert answers(root, classes) == {"998_n00002994_crane.png": 998, "7_n00000021_kind_7.png": 7}
    for wnid in wnids:
        (root / "val" / wnid).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(root / "val" / wnids[999] / "1.png")
    assert answers(root, classes) == {f"val/{wnids[999]}/1.png": 999}


def test_what_cannot_be_evaluated_is_said(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures in 'empty'"):
        find_labelled(tmp_path / "empty", PETS)
    with pytest.raises(DataError, match=r"'nowhere\.tsv' cannot be read"):
        find_labelled(folder("cat/1.png"), PETS, table=tmp_path / "nowhere.tsv")
