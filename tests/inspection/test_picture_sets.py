"""Sets of pictures, and a network run over them."""

import numpy as np
import pytest

from alexnet_explorer.inspection.activations import walk
from alexnet_explorer.inspection.picture_sets import of_name, of_packed, of_pictures, scan


@pytest.fixture
def three(picture):
    turned = {name: picture.rotate(angle) for name, angle in (("a", 0), ("b", 90), ("c", 180))}
    return of_pictures("three", {name: (name.upper(), image) for name, image in turned.items()})


def test_pictures_by_name(three, picture):
    assert (three.count, three.label(1), three.classes) == (3, "B", ())
    assert three.picture(2).tobytes() == picture.rotate(180).tobytes()


def test_the_key_is_that_of_the_names_in_their_order(picture):
    named = {"a": ("A", picture), "b": ("B", picture)}
    key = of_pictures("", named).key
    assert key == of_pictures("another title", named).key
    assert key != of_pictures("", dict(reversed(named.items()))).key


def test_a_scan_gives_what_a_walk_gives(tiny, three):
    loaded = tiny()
    parts = list(scan(loaded, three, ["conv1", "fc5"], batch=2))
    assert [part.first for part in parts] == [0, 2]
    assert parts[0].inputs.shape == (2, 16, 16, 3)
    for name in ("conv1", "fc5"):
        found = np.concatenate([part.outputs[name] for part in parts])
        for number in range(3):
            expected = walk(loaded, three.picture(number), [name])[name]
            np.testing.assert_allclose(found[number], expected, rtol=1e-4, atol=1e-5)


def test_a_scan_goes_on_in_the_middle(tiny, three):
    loaded = tiny()
    whole = np.concatenate([part.outputs["fc5"] for part in scan(loaded, three, ["fc5"])])
    (rest,) = scan(loaded, three, ["fc5"], start=2)
    np.testing.assert_allclose(rest.outputs["fc5"], whole[2:], rtol=1e-4, atol=1e-5)


def test_images_of_a_packed_set(packed):
    everything = of_packed(packed)
    assert everything.count == packed.count("test")
    labels = packed.labels("test")
    for number in range(everything.count):
        assert np.array_equal(np.asarray(everything.picture(number)), packed.images("test")[number])
        assert everything.label(number) == packed.classes[labels[number]]


def test_some_of_a_packed_set_are_the_same_ones_each_time(packed):
    some, again = of_packed(packed, most=2), of_packed(packed, most=2)
    assert some.count == 2 and some.key == again.key != of_packed(packed).key
    assert [some.picture(n).tobytes() for n in (0, 1)] == [again.picture(n).tobytes() for n in (0, 1)]


@pytest.mark.parametrize(("split", "most"), [("test", 2000), ("train", 7)])
def test_a_picture_of_a_packed_set_is_found_by_its_name(packed, split, most):
    pictures = of_packed(packed, split, most)
    found, number = of_name(pictures.name_of(5))
    assert (found.key, number) == (pictures.key, 5)
    assert found.picture(5).tobytes() == pictures.picture(5).tobytes()


def test_the_names_of_given_pictures_are_their_own(three):
    assert [three.name_of(number) for number in range(3)] == ["a", "b", "c"]


def test_a_name_of_nothing_here_finds_nothing(packed):
    key = of_packed(packed).key
    wrong = [f"set-{key}-45", f"set-{key}-05", f"set-{key}-", f"set-{packed.digest}-test-0-0", "cat", "set-", "",
             f"set-{packed.digest}-test-999-0", f"set-{packed.digest}-val-45-0",
             f"set-{'0' * 16}-test-45-0"]  # fmt: skip
    assert [of_name(name) for name in wrong] == [None] * len(wrong)


def test_a_layer_that_is_not_there(tiny, three):
    with pytest.raises(KeyError, match="conv9"):
        next(iter(scan(tiny(), three, ["conv9"])))
