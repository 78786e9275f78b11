"""The page Activations: all layers, one of them three ways, one of its units."""

import re

import numpy as np
import pytest

from alexnet_explorer.inspection.activations import activations
from alexnet_explorer.ui import cards, clickable, networks, pictures

RELU, TANH = "alexnet-32-relu", "alexnet-32-tanh"


@pytest.fixture
def clicks(monkeypatch):
    """What a click on a card or a tile would do, by the key of its picture; and the cards themselves."""
    taken, drawn = {}, {}

    def cards_drawn(key, shown, chosen, on_choose):
        taken[key], drawn[key] = on_choose, (shown, chosen)

    def tiles_drawn(picture, grid, key, alt, chosen, label, on_choose):
        taken[key], drawn[key] = on_choose, (picture, grid, chosen, label)

    monkeypatch.setattr(cards, "choose", cards_drawn)
    monkeypatch.setattr(clickable, "tiles", tiles_drawn)
    return taken, drawn


def labels(visitor):
    return [button.proto.label for button in visitor.main.get("download_button")]


def test_every_layer_from_the_input_to_the_last_is_a_card(visit, clicks):
    visitor = visit("activations", picture="cat", models=RELU, layer="relu2")
    shown, chosen = clicks[1][f"walk {RELU}"]
    names = [card.title for card in shown]
    assert names[:5] == ["input", "conv1", "relu1", "lrn1", "pool1"] and names[-3:] == ["fc7", "relu7", "fc8"]
    assert names[chosen] == visitor.selectbox(key="lens_layer").value == "relu2"
    assert shown[0].fixed and not any(card.fixed for card in shown[1:])
    values = activations(networks.load(RELU), pictures.open_picture("cat").image, "relu2")
    assert shown[chosen].about == f"64×16×16\n{(values == 0).mean():.0%} zero"
    assert all(card.png.startswith(b"\x89PNG") for card in shown)


def test_the_mosaic_labels_and_orders_its_units_and_outlines_the_chosen_one(visit, clicks):
    visit("activations", picture="cat", models=RELU, layer="conv2", unit=9)
    _, grid, chosen, label = clicks[1][f"maps {RELU}"]
    values = activations(networks.load(RELU), pictures.open_picture("cat").image, "conv2").max(axis=(1, 2))
    order = np.argsort(-values, kind="stable")
    assert grid.count == len(order) == 64 and order[chosen] == 9
    assert label(0) == f"unit {order[0]}: up to {values[order[0]]:.3g}"
    visit("activations", picture="cat", models=RELU, layer="conv2", unit=9, order="as numbered")
    assert clicks[1][f"maps {RELU}"][2] == 9


@pytest.mark.parametrize("layer", ["conv1", "pool5", "fc8"])
@pytest.mark.parametrize("view", ["maps", "steps", "statistics"])
def test_every_view_of_every_kind_of_layer(visit, layer, view):
    visitor = visit("activations", models=f"{RELU},{TANH}", layer=layer, view=view, scale="map")
    assert not visitor.exception and visitor.complaints == []
    assert visitor.segmented_control(key="activations_view").value == view
    assert visitor.link.get("view") == (None if view == "maps" else view)
    assert visitor.link.get("scale") == "map"


def test_controls_are_in_the_link_and_open_from_it(visit):
    visitor = visit("activations", models=RELU)
    assert not {"view", "scale", "order"} & set(visitor.link)
    visitor.segmented_control(key="order").set_value("as numbered").run()
    visitor.segmented_control(key="activations_scale_2").set_value("map").run()
    assert (visitor.link["order"], visitor.link["scale"]) == ("as numbered", "map")
    opened = visit("activations", **visitor.link)
    assert opened.says("in order. Each map has its own scale")
    assert visit("activations", models=RELU, view="nonsense", scale="shared").says("strongest first. Dark 0")


def scales_of(visitor):
    return [re.search(r"(Blue|Dark) [-\d.e]+, .*?[a-z]+ ([\d.e]+)\.", text)[2] for text in visitor.captions
            if text.startswith(("relu1:", "tanh1:"))]  # fmt: skip


def test_networks_share_a_scale_unless_each_has_its_own(visit):
    both = f"{RELU},{TANH}"
    shared = scales_of(visit("activations", models=both, layer="relu1"))
    own = scales_of(visit("activations", models=both, layer="relu1", scale="layer"))
    assert len(set(shared)) == 1 and len(set(own)) == 2 and max(own, key=float) == shared[0]


def test_a_deconvnet_beside_the_patch_and_a_sentence_where_it_does_not_apply(visit):
    visitor = visit("activations", models=RELU, layer="relu2", unit=3, unit_view="ascent")
    assert visitor.says("What it sees there.") and visitor.says("The deconvnet:") and not visitor.info
    other = visit("activations", models=TANH, layer="tanh2", unit=3, unit_view="ascent")
    assert [info.value.partition(";")[0] for info in other.info] == [
        "The deconvnet cuts off what is negative on its way down, as ReLU did on the way up"
    ]
    assert other.says("What it sees there.") and not other.says("The deconvnet:")


def test_before_and_after_says_what_each_step_does(visit):
    visitor = visit("activations", models=RELU, layer="pool1", view="steps", unit=5)
    (table,) = visitor.main.table
    assert table.value["step"].tolist() == ["conv1", "relu1", "lrn1", "pool1"]
    assert table.value["what it does"].tolist()[1:] == [
        "cuts off what is below zero", "weakens what has strong maps beside it", "keeps the largest of each 3×3 window",
    ]  # fmt: skip
    assert visitor.says("Unit 5, which is chosen") and "npz" in labels(visitor)


def test_the_last_layer_before_and_after_has_the_softmax(visit):
    visitor = visit("activations", models=RELU, layer="fc8", view="steps")
    (table,) = (table.value for table in visitor.dataframe)
    assert list(table) == ["unit", "class", "fc8", "softmax"]
    first = visitor.number_input(key="lens_unit").value  # until a unit is chosen, the predicted class
    assert table["unit"][0] == first and table["softmax"].str.rstrip("%").astype(float).idxmax() == 0
    assert "unit" not in visitor.link
    assert sum(float(share[:-1]) for share in table["softmax"]) == pytest.approx(100, abs=0.1)


def test_statistics_of_all_layers_over_more_pictures(visit):
    visitor = visit("activations", models=RELU, view="statistics")
    table = visitor.dataframe[0].value
    assert table["layer"].tolist()[:2] == ["conv1", "relu1"] and table["sees (pixels)"].tolist()[:2] == [5, 5]
    assert (table["dead in all"] <= table["dead here"]).all()
    assert table["sees (pixels)"].tolist()[-1] == 32


@pytest.mark.parametrize(
    "fields",
    [
        {"model__in_channels": 1},
        {"model__convolutions": "1,2", "model__lrn_kind": "within-map", "model__lrn_size": 3},
        {"model__activation": "sigmoid", "model__input_size": 8},
        {"model__input_size": 96, "model__strides": "4,1,1"},
    ],
)
def test_networks_of_other_kinds(visit, make_run, fields):
    run = make_run(**fields)
    for layer, view in (("pool3", "maps"), ("pool3", "steps"), ("fc5", "statistics")):
        visitor = visit("activations", models=run.id, layer=layer, view=view, epoch=1)
        assert not visitor.exception and visitor.complaints == []
        assert visitor.link["layer"] == layer and visitor.drawn


def test_a_network_without_the_layer_says_so_and_shows_another(visit, make_run):
    run = make_run()
    visitor = visit("activations", models=f"{RELU},{run.id}", layer="pool5")
    assert [info.value.partition("** ")[2] for info in visitor.info] == ["has no layer pool5: here is relu1 instead."]
    assert not visit("activations", models=f"{RELU},{TANH}", layer="relu2").info[1:]  # tanh2 is its relu2
