"""The page Arithmetic as a visitor walks through it, from a class to the pixels."""

import re

import pytest
import streamlit as st

from alexnet_explorer.data.samples import load_sample
from alexnet_explorer.ui import arithmetic_views
from alexnet_explorer.weights import load_weights

RELU, TANH = "alexnet-32-relu", "alexnet-32-tanh"


@pytest.fixture
def clickable(monkeypatch):
    """Tiles as buttons, which AppTest can click: `arithmetic_patch 12`. Only the first hundred of a picture."""

    def buttons(picture, grid, key, alt, chosen, label, on_choose):
        assert picture.shape[1] == grid.columns * (grid.width + grid.gap) - grid.gap
        assert chosen is None or 0 <= chosen < grid.count
        for number in range(min(grid.count, 100)):
            st.button(label(number), key=f"{key} {number}", on_click=on_choose, args=(number,))

    monkeypatch.setattr(arithmetic_views, "tiles", buttons)


def title(visitor):
    """Which number is explained."""
    return next(text.value for text in visitor.main.markdown if re.match(r"\*\*.*(, unit |picture's)", text.value))


def plain(text):
    return re.sub(r"\\(.)|\u2060", r"\1", text).strip("*")


def equation(visitor):
    """The first equation of the page, as it is read."""
    return plain(next(text.value for text in visitor.main.markdown if text.value.startswith("#### "))).strip("# ")


def on(visitor):
    """The button that goes to where most of a number comes from; none where the walk ends."""
    return next((button for button in visitor.main.button if button.key == "arithmetic_on"), None)


def test_the_walk_from_a_class_to_the_pixels_and_back(visit, make_run):
    run = make_run(classes=("red", "green", "blue"))
    visitor = visit("arithmetic", models=run.id, layer="fc5", unit=2)
    assert plain(title(visitor)) == "fc5, unit 2, blue"
    names = []
    while on(visitor):
        names.append(visitor.selectbox(key="lens_layer").value)
        on(visitor).click().run()
        assert not visitor.exception and visitor.complaints == []
    layers = [layer.name for layer in run.config.model.layers()]
    assert names == layers[:0:-1]
    assert visitor.selectbox(key="lens_layer").value == visitor.link["layer"] == "conv1"
    assert visitor.says("the walk ends here")
    assert [place.split(":")[0] for place in visitor.link["via"].split(",")] == names
    reopened = visit("arithmetic", **visitor.link)
    assert title(reopened) == title(visitor) and equation(reopened) == equation(visitor)
    assert reopened.link == visitor.link
    reopened.button(key="arithmetic_back_0").click().run()
    assert plain(title(reopened)) == "fc5, unit 2, blue" and "via" not in reopened.link


KINDS = [
    {"model__towers": 2, "model__widths": (6, 8, 4), "model__lrn_after": (1, 2)},
    {"model__activation": "tanh", "model__pool_kinds": ("avg", "max"), "model__pooling": "non-overlapping"},
    {"model__activation": "sigmoid", "model__in_channels": 1, "model__lrn_kind": "within-map"},
    {"model__dropout_place": "before-fc", "model__dropout": 0.5, "model__lrn_place": "after-pool"},
    {"model__convolutions": (1, 3), "model__fc_widths": ()},
]


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_every_layer_of_every_kind_of_network(visit, make_run, clickable, settings):
    visitor = visit("arithmetic", models=make_run(**settings).id)
    layers = [option.split(" ")[0] for option in visitor.selectbox(key="lens_layer").options]
    for layer in layers:
        visitor.selectbox(key="lens_layer").set_value(layer).run()
        assert not visitor.exception and visitor.complaints == []
        unit = visitor.number_input(key="lens_unit").value
        assert plain(title(visitor)).startswith(f"{layer}, unit {unit}") and "=" in equation(visitor)
        assert len(visitor.main.get("download_button")) == (5 if layer == layers[-1] else 3)
    assert [heading.value for heading in visitor.subheader] == ["Softmax"]


def test_a_click_on_the_map_chooses_the_position(visit, clickable):
    visitor = visit("arithmetic", models=RELU, layer="relu1", unit=5)
    visitor.button(key="arithmetic_map 37").click().run()
    assert plain(title(visitor)) == "relu1, unit 5, row 1, column 5" and visitor.link["at"] == "1,5"
    assert visitor.number_input(key="arithmetic_row").value == 1
    visitor.number_input(key="arithmetic_column").set_value(9).run()
    assert plain(title(visitor)) == "relu1, unit 5, row 1, column 9" and visitor.link["at"] == "1,9"


def test_a_click_on_a_number_of_the_patch_goes_on_to_it(visit, clickable):
    visitor = visit("arithmetic", models=RELU, layer="conv2", unit=4, at="8,9")
    visitor.button(key="arithmetic_maps 1").click().run()
    second = int(visitor.link["map"])
    visitor.button(key="arithmetic_patch 0").click().run()
    assert plain(title(visitor)) == f"pool1, unit {second}, row 6, column 7"
    assert visitor.link["via"] == "conv2:4:8:9"
    visitor.button(key="arithmetic_window 1").click().run()
    assert plain(title(visitor)) == f"lrn1, unit {second}, row 12, column 15"
    visitor.button(key="arithmetic_window 0").click().run()
    assert plain(title(visitor)).startswith("relu1, unit ") and plain(title(visitor)).endswith("row 12, column 15")


def test_padding_comes_from_nowhere(visit, clickable):
    visitor = visit("arithmetic", models=RELU, layer="conv2", unit=4, at="0,0")
    assert visitor.button(key="arithmetic_patch 0").label == "padding: 0"
    before = title(visitor)
    visitor.button(key="arithmetic_patch 0").click().run()
    assert title(visitor) == before and visitor.says("16 of the 25 positions lie outside the map")


def test_a_click_on_a_pixel_of_the_patch_explains_it(visit, clickable):
    visitor = visit("arithmetic", models=RELU, layer="conv1", unit=4, at="8,9")
    visitor.button(key="arithmetic_patch 7").click().run()
    assert re.fullmatch(r"\d,7,9", visitor.link["pixel"])
    assert visitor.says("row 7, column 9**: the walk ends here")
    reopened = visit("arithmetic", **visitor.link)
    assert reopened.says("row 7, column 9**: the walk ends here")


def test_a_pixel_of_a_grey_network_is_a_sum_of_the_pictures_own_colours(visit, make_run, clickable):
    run = make_run(model__in_channels=1)
    visitor = visit("arithmetic", models=run.id, layer="conv1", unit=0, at="8,9")
    visitor.button(key="arithmetic_patch 7").click().run()
    _, row, column = map(int, visitor.link["pixel"].split(","))
    crop = load_weights(run.weights_file()).preprocessing.crop(load_sample("coffee"))
    red, green, blue = crop.getpixel((column, row))
    assert len({red, green, blue}) > 1 and visitor.says(f"0.299 · {red} + 0.587 · {green} + 0.114 · {blue}")


def test_a_unit_of_a_fully_connected_layer_is_chosen_among_all(visit, clickable):
    visitor = visit("arithmetic", models=RELU, layer="fc7")
    visitor.button(key="arithmetic_units 9").click().run()
    assert plain(title(visitor)) == "fc7, unit 9" and visitor.number_input(key="lens_unit").value == 9
    visitor.selectbox(key="lens_layer").set_value("fc6").run()
    visitor.button(key="arithmetic_products 63").click().run()
    assert plain(title(visitor)).startswith("pool5, unit 63, row ")


def test_the_seed_draws_another_mask(visit):
    visitor = visit("arithmetic", models=RELU, layer="drop6", seed=4)
    assert visitor.says("under the mask of seed 4:")
    visitor.number_input(key="arithmetic_seed").set_value(5).run()
    assert visitor.says("under the mask of seed 5:") and visitor.link["seed"] == "5"
    assert visitor.says("nothing is dropped and nothing multiplied")


def test_of_several_networks_the_first_is_explained_and_the_others_have_a_line(visit):
    visitor = visit("arithmetic", models=f"{RELU},{TANH}", layer="relu1", unit=2, at="3,4")
    assert visitor.says("is explained")
    others = [plain(text.value) for text in visitor.main.markdown if "tanh1" in text.value]
    assert len(others) == 1 and re.fullmatch(r"tanh1, unit 2, row 3, column 4: tanh\(.*\) = .*", others[0])


def test_a_layer_that_is_not_there_is_said(visit, make_run):
    run = make_run(model__lrn=False)
    visitor = visit("arithmetic", models=run.id, layer="lrn1")
    assert any("has no layer lrn1: here is conv1" in plain(info.value) for info in visitor.info)
    assert not visit("arithmetic", models=TANH, layer="relu1").info
