"""The page Neighbours, and the images of data sets that it and the sidebar let a visitor look at."""

import csv
import io
import json
import re

import numpy as np
import pytest
import streamlit as st

from alexnet_explorer.data.packed import data_root
from alexnet_explorer.data.samples import SAMPLES
from alexnet_explorer.inspection import row_store
from alexnet_explorer.inspection.neighbours import distances, feature_rows, features
from alexnet_explorer.inspection.picture_sets import of_packed
from alexnet_explorer.ui import clickable, downloads
from alexnet_explorer.weights import load_weights

RELU = "alexnet-32-relu"


@pytest.fixture(autouse=True)
def tiles_are_buttons(monkeypatch):
    """What can be clicked with a mouse is a row of buttons here."""

    def draw(picture, grid, key, alt, chosen, label, on_choose, *, photographs=False):
        st.text(json.dumps({"key": key, "alt": alt, "chosen": chosen, "pixels": picture.shape}))
        for tile in range(grid.count):
            st.button(label(tile), key=f"{key}_{tile}", on_click=on_choose, args=(tile,))

    monkeypatch.setattr(clickable, "tiles", draw)


@pytest.fixture
def files(monkeypatch):
    """The CSV files that the page offers, by their names."""
    found = {}
    monkeypatch.setattr(downloads, "offer", lambda key, name, *, png, csv: found.update({name: csv()}))
    return found


class Opened:
    """A popover that somebody has opened."""

    open = True

    def __init__(self, box):
        self.box = box

    def __enter__(self):
        self.box.__enter__()
        return self

    def __exit__(self, *exception):
        self.box.__exit__(*exception)


def drawn(visitor):
    """The rows of pictures of the page."""
    return [json.loads(text.value) for text in visitor.main.text]


def headings(visitor):
    return [re.sub(r"\\(.)", r"\1", m.value) for m in visitor.main.markdown if m.value.startswith("**Nearest")]


@pytest.fixture
def among(root, pack):
    """A set of 45 test images of three classes, one of which is there twice."""
    return of_packed(pack())


def test_the_samples_are_compared_in_pixels_and_in_the_last_hidden_layer(visit):
    visitor = visit("neighbours", models=RELU)
    assert [heading.partition(":")[0] for heading in headings(visitor)] == [
        "**Nearest in pixels", "**Nearest in relu7 of alexnet-32 · CIFAR-10 (JPEG copy)",
    ]  # fmt: skip
    pixels, relu7 = drawn(visitor)
    assert pixels["chosen"] == 0 and pixels["pixels"] == [128, 7 * 128 + 6 * 2, 3]
    others = {sample.title for name, sample in SAMPLES.items() if name != "coffee"}
    for row in (pixels, relu7):
        assert {title for title in others if title in row["alt"]} == others  # and the coffee is left out
        assert "Coffee" not in row["alt"]


def test_the_distances_are_those_of_the_vectors(visit, make_run, among, files):
    run = make_run()
    key = among.key
    visit("neighbours", models=run.id, pictures=key[:16], picture=among.name_of(4))
    loaded = load_weights(run.weights_file())
    rows = np.concatenate(list(feature_rows(loaded, among, "relu4")))
    expected = distances(rows, features(loaded, among.picture(4), "relu4"))
    (name,) = (name for name in files if "relu4" in name)
    table = list(csv.DictReader(io.StringIO(files[name])))
    assert [row["place"] for row in table] == [str(place) for place in range(1, 45)]
    assert {int(row["picture"]) for row in table} == set(range(45)) - {4}
    for row in table:
        assert float(row["distance"]) == pytest.approx(expected[int(row["picture"])], rel=1e-3, abs=1e-3)
        assert row["label"] == among.label(int(row["picture"]))
    assert [float(row["distance"]) for row in table] == sorted(float(row["distance"]) for row in table)


def test_it_says_how_many_are_of_the_pictures_own_class(visit, make_run, among, files):
    visitor = visit("neighbours", models=make_run().id, pictures=among.key[:16], picture=among.name_of(4))
    own = among.label(4)
    for caption, table in zip([c for c in visitor.captions if "own class" in c], files.values(), strict=True):
        count = sum(row["label"] == own for row in list(csv.DictReader(io.StringIO(table)))[:6])
        everyone = sum(among.label(number) == own for number in range(45)) / 45
        assert caption.startswith(f"**{count} of 6** are of its own class, {own}; of all pictures {everyone:.1%}.")
    unknown = visit("neighbours", models=RELU, pictures=among.key[:16])
    assert all("the picture's own class is not known" in caption for caption in unknown.captions[:2])


def test_a_click_on_a_neighbour_makes_it_the_picture(visit, make_run, among):
    visitor = visit("neighbours", models=make_run().id, pictures=among.key[:16])
    visitor.button(key="neighbours_1_0").click().run()
    assert visitor.link["picture"] == "coffee"  # the picture itself
    title = visitor.button(key="neighbours_1_3").label.partition(",")[0]
    visitor.button(key="neighbours_1_3").click().run()
    assert not visitor.exception and visitor.complaints == []
    name = visitor.link["picture"]
    assert name.startswith(f"set-{among.key}-")
    assert visitor.sidebar.selectbox(key="lens_picture").value == name
    number = int(name.rpartition("-")[2])
    assert among.label(number) == title and visitor.link["pictures"] == among.key[:16]
    visitor.go("predict")
    assert visitor.drawn and visitor.link["picture"] == name


def test_a_click_on_a_sample(visit):
    visitor = visit("neighbours", models=RELU)
    title = visitor.button(key="neighbours_0_1").label.partition(",")[0]
    visitor.button(key="neighbours_0_1").click().run()
    assert SAMPLES[visitor.link["picture"]].title == title


def test_another_layer_is_that_of_the_lens_and_there_is_a_way_back(visit):
    visitor = visit("neighbours", models=RELU, layer="conv2")
    assert headings(visitor)[1].startswith("**Nearest in conv2 of ")
    visitor.button(key="neighbours_layer").click().run()
    assert headings(visitor)[1].startswith("**Nearest in relu7 of ")
    assert "layer" not in visitor.link and "neighbours_layer" not in [b.key for b in visitor.button]


def test_every_network_has_its_row_under_the_one_of_pixels(visit, make_run):
    run = make_run(model__activation="tanh", model__in_channels=1)
    found = headings(visit("neighbours", models=f"{RELU},{run.id}"))
    assert [re.match(r"\*\*Nearest in (\w+)", heading)[1] for heading in found] == ["pixels", "relu7", "tanh4"]


def test_a_layer_of_too_many_numbers_says_so(visit, monkeypatch):
    monkeypatch.setattr(row_store, "MOST_BYTES_OF_ONE", 4 * 7 * 256)
    assert len(headings(visit("neighbours", models=RELU))) == 2
    visitor = visit("neighbours", models=RELU, layer="fc6")
    assert len(headings(visitor)) == 2
    visitor = visit("neighbours", models=RELU, layer="conv1")
    assert len(headings(visitor)) == 1 and "conv1 of " in visitor.info[0].value


def test_what_was_computed_is_not_computed_again(visit, make_run, among, monkeypatch):
    query = {"models": make_run().id, "pictures": among.key[:16]}
    visit("neighbours", **query)
    assert len(list((data_root() / "rows").glob("*.npy"))) == 2
    monkeypatch.setattr(row_store, "_write", None)
    assert len(headings(visit("neighbours", **query, picture="coffee"))) == 2


def test_work_that_was_stopped_can_be_gone_on_with(visit, monkeypatch):
    def stopped(part, count, rows_from, progress):
        raise row_store.DataError("Stopped.")

    with monkeypatch.context() as patched:
        patched.setattr(row_store, "_write", stopped)
        visitor = visit("neighbours", models=RELU)
        assert headings(visitor) == [] and visitor.info[0].value.startswith("Stopped")
        visitor.run()
        assert headings(visitor) == []  # nothing begins by itself
    visitor.button(key="neighbours_go_on").click().run()
    assert len(headings(visitor)) == 2


# An image of a data set, anywhere


def test_a_link_to_an_image_of_a_set_opens_it_and_it_follows_the_visitor(visit, make_run, among):
    visitor = visit("predict", models=make_run().id, picture=among.name_of(7))
    assert visitor.sidebar.selectbox(key="lens_picture").value == among.name_of(7)
    assert visitor.link["picture"] == among.name_of(7) and visitor.complaints == []
    assert [image.proto.imgs[0].alt for image in visitor.sidebar.image] == [
        f"The chosen picture: {among.label(7)} · image 7 of colours, 45 test images"
    ]
    for page in ("activations", "saliency"):
        visitor.go(page)
        assert not visitor.exception and visitor.complaints == []
        assert visitor.drawn and visitor.link["picture"] == among.name_of(7)


def test_predict_says_what_an_image_of_a_set_shows(visit, make_run, among):
    right = make_run(says=among.classes.index(among.label(7)), classes=among.classes)
    assert visit("predict", models=right.id, picture=among.name_of(7)).says(
        f"This image shows **{among.label(7)}**: the network has the class “{among.label(7)}”, which it gives 100.0%. "
        "Its first guess is right."
    )
    assert visit("predict", models=RELU, picture=among.name_of(7)).says("None of this network's 10 classes is called")


def test_an_image_of_a_set_that_is_not_here_says_so(visit):
    visitor = visit("predict", models=RELU, picture=f"set-{'0' * 16}-test-45-7")
    assert "of a data set that is not on this machine" in visitor.sidebar.info[0].value
    assert visitor.link["picture"] == "coffee"


def test_one_of_a_handful_is_chosen_in_the_sidebar(visit, make_run, among, pack, monkeypatch):
    pack("another", seed=1)
    popover = st.popover  # AppTest cannot open one
    monkeypatch.setattr(st, "popover", lambda *words, **more: Opened(popover(*words, **more)))
    visitor = visit("predict", models=make_run(data__digest=among.key[:16]).id)
    assert visitor.sidebar.selectbox(key="set_pictures_set").value == among.key[:16]  # what it was trained on
    label = visitor.sidebar.button(key="set_pictures_tiles_3").label
    visitor.sidebar.button(key="set_pictures_tiles_3").click().run()
    number = int(re.fullmatch(rf"set-{among.key}-(\d+)", visitor.link["picture"])[1])
    assert among.label(number) == label
    before = [visitor.sidebar.button(key=f"set_pictures_tiles_{tile}").label for tile in range(20)]
    visitor.sidebar.button(key="set_pictures_others").click().run()
    assert [visitor.sidebar.button(key=f"set_pictures_tiles_{tile}").label for tile in range(20)] != before
