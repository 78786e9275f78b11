"""The page Filters: what it says of each kind of network, its orders, the cursor of the curves, matched units."""

import csv
import io
import re
import shutil
import threading
import time

import numpy as np
import pytest

from alexnet_explorer.catalogue import imported_folder
from alexnet_explorer.inspection import filters
from alexnet_explorer.runs import GALLERY, Run
from alexnet_explorer.ui import downloads, lens, networks, working
from alexnet_explorer.ui.clickable import tiles
from alexnet_explorer.weights_file import read_layer

RELU, TANH = "alexnet-32-relu", "alexnet-32-tanh"


@pytest.fixture
def drawn(monkeypatch):
    """What the last run of the page drew as tiles that can be clicked, by the names of their networks and parts."""
    found = {}

    def draw(picture, grid, key, alt, chosen, label, on_choose):
        assert picture.shape[1] <= grid.columns * (grid.width + grid.gap)
        found[key.removeprefix("kernels ")] = (grid, [label(number) for number in range(grid.count)], chosen, on_choose)
        tiles(picture, grid, key, alt, chosen, label, on_choose)

    monkeypatch.setattr("alexnet_explorer.ui.clickable.tiles", draw)
    return found


@pytest.fixture
def offered(monkeypatch):
    """What can be downloaded, by its key and kind."""
    found = {}

    def offer(key, name, **kinds):
        found.update({f"{key} {kind}": content for kind, content in kinds.items()})

    monkeypatch.setattr(downloads, "offer", offer)
    return found


def fine(visitor):
    assert not visitor.exception and visitor.complaints == []
    return visitor


def kernels_of(name):
    return read_layer(Run(GALLERY / name).weights_file(), "conv1.weight")


def text_of(visitor):
    return " ".join(element.value for element in (*visitor.main.markdown, *visitor.main.caption, *visitor.main.info))


# Towers and colour


def test_towers_stand_apart_and_are_measured_against_chance(visit, make_run, drawn):
    run = make_run()
    visitor = fine(visit("filters", models=run.id))
    assert drawn[f"{run.id} 0"][1] == ["unit 0", "unit 1", "unit 2"]
    assert drawn[f"{run.id} 1"][1] == ["unit 3", "unit 4", "unit 5"]
    weights = read_layer(run.weights_file(), "conv1.weight")
    found = filters.tower_colour(filters.colourfulness(weights), 2)
    said = text_of(visitor)
    assert f"{found.means[0]:.0%} in tower 1, {found.means[1]:.0%} in tower 2" in said
    assert f"{100 * found.apart:.1f} points apart" in said and "of 1,000 deals" in said


def test_with_one_tower_there_is_nothing_to_compare(visit, drawn):
    visitor = fine(visit("filters", models=RELU))
    assert "This network has one tower: there are no two to compare" in text_of(visitor)
    specific = int((filters.colourfulness(kernels_of(RELU)) > 0.5).sum())
    assert f"{specific} of 32 kernels are colour-specific" in text_of(visitor)
    assert [name for name in drawn if name.startswith(RELU)] == [f"{RELU} 0"]


def test_a_network_of_grey_pictures_has_no_colours(visit, make_run):
    visitor = fine(visit("filters", models=make_run(model__in_channels=1).id, sort="hue"))
    assert "sees grey pictures: its kernels have no colours to measure" in text_of(visitor)
    assert "see grey pictures and have no hue: they stand by number" in text_of(visitor)
    assert "its weights on the grey" in text_of(visitor)


# Orders


def test_kernels_are_ordered_by_what_is_measured_and_the_link_says_how(visit, drawn):
    visitor = fine(visit("filters", models=RELU, sort="hue"))
    weights = kernels_of(RELU)
    assert drawn[f"{RELU} 0"][1] == [f"unit {unit}" for unit in filters.arrange(weights, "hue")]
    unclear = int(np.isnan(filters.hues(weights)).sum())
    assert f"{unclear} without a clear hue come last" in visitor.captions[0]
    visitor.segmented_control(key="filters_order").set_value("norm").run()
    assert drawn[f"{RELU} 0"][1] == [f"unit {unit}" for unit in filters.arrange(weights, "norm")]
    assert visitor.link["sort"] == "norm"
    visitor.segmented_control(key="filters_order").set_value("number").run()
    assert "sort" not in visitor.link


def test_deeper_kernels_have_no_hue_which_is_said(visit, drawn):
    visitor = fine(visit("filters", models=RELU, layer="conv2", sort="hue"))
    assert "see the maps of the layer before and have no hue" in text_of(visitor)
    assert drawn[f"{RELU} map"][1] == [f"unit {number}" for number in range(64)]
    assert "How much colour they have" not in [one.value for one in visitor.subheader]


def test_a_layer_that_a_network_lacks_is_said(visit, make_run):
    run = make_run(model__convolutions="1,3", model__towers=1)
    visitor = fine(visit("filters", models=f"{RELU},{run.id}", layer="conv2"))
    assert "has no conv2: here is its conv1" in text_of(visitor)


# Clicks


def test_a_click_on_a_kernel_chooses_its_unit(visit, drawn, monkeypatch):
    visit("filters", models=RELU, sort="norm", unit=4)
    grid, labels, chosen, choose = drawn[f"{RELU} 0"]
    assert labels[chosen] == "unit 4" and grid.count == 32
    taken = []
    monkeypatch.setattr(lens, "change", lambda **fields: taken.append(fields))
    choose(9)
    assert taken == [{"unit": filters.arrange(kernels_of(RELU), "norm")[9]}]


def test_a_deeper_unit_is_a_column_of_the_map(visit, drawn):
    visitor = fine(visit("filters", models=RELU, layer="conv3", unit=4))
    grid, _, chosen, _ = drawn[f"{RELU} map"]
    assert (grid.count, grid.columns, chosen) == (96, 96, 4)
    assert visitor.says("conv3, unit 4: its weights for input maps 0 to 63")


# Files


def test_what_is_shown_can_be_taken_along(visit, offered):
    fine(visit("filters", models=RELU))
    weights = kernels_of(RELU)
    np.testing.assert_array_equal(offered[f"filters {RELU} npz"]()["weights"], weights)
    rows = list(csv.DictReader(io.StringIO(offered[f"filters {RELU} csv"]())))
    assert len(rows) == 32
    np.testing.assert_allclose([float(row["norm"]) for row in rows], filters.norms(weights), rtol=1e-5)
    assert [row["hue_degrees"] == "" for row in rows] == list(np.isnan(filters.hues(weights)))
    assert offered[f"filters {RELU} png"]().dtype == np.uint8
    assert offered[f"unit {RELU} npz"]()["weights"].shape == (3, 5, 5)


# Epochs and curves


def test_the_curves_have_their_cursor_at_the_epoch_of_the_lens(visit):
    visitor = fine(visit("filters", models=RELU, epoch=4, layer="conv1"))
    chart = next(alt for alt in visitor.charts if alt.startswith("Error by epoch"))
    rows = Run(GALLERY / RELU).metrics(holding="val/top1_error")[0]
    error = 100 * next(row["val/top1_error"] for row in rows if row["epoch"] == 4)
    assert "at epoch 4: training " in chart and f"validation {error:.3g}" in chart
    cosines = next(alt for alt in visitor.charts if alt.startswith("Cosine"))
    then = read_layer(Run(GALLERY / RELU).snapshots()[4], "conv1.weight")
    assert cosines.endswith(f" {filters.cosines(then, kernels_of(RELU)).mean():.3g}")
    visitor.select_slider(key="lens_epoch").set_value(30).run()
    assert any("at epoch 30: " in alt for alt in visitor.charts)


def test_where_one_epoch_was_kept_there_is_no_other_to_go_to(visit):
    visitor = fine(visit("filters", models=RELU, layer="conv2"))
    assert "only the last epoch was kept" in text_of(visitor)
    assert not any(alt.startswith("Cosine") for alt in visitor.charts)


def test_weights_from_elsewhere_have_no_curves(visit, root):
    file = imported_folder(root) / "mine.safetensors"
    file.parent.mkdir(parents=True)
    shutil.copy(Run(GALLERY / RELU).weights_file(), file)
    visitor = fine(visit("filters", models="mine"))
    assert visitor.says("was imported: it brought no curves and no epochs")
    assert not any(alt.startswith("Error by epoch") for alt in visitor.charts)


def test_a_run_that_has_no_metrics_is_said_and_its_kernels_still_form(visit, make_run):
    run = make_run()
    (run.path / "metrics.jsonl").unlink()
    visitor = fine(visit("filters", models=run.id))
    assert visitor.says("was not validated so far: it has no curves")
    assert any(alt.startswith("Cosine") for alt in visitor.charts)


# Matching


def matched(visitor):
    """The page when what is computed in the background is there."""
    for work in list(working._works().values()):
        work.join(60)
    return fine(visitor.run())


def test_matched_units_stand_under_one_another(visit, make_run, drawn, offered):
    one = make_run(epochs=(3,))
    visitor = fine(visit("filters", models=f"{one.id},{make_run(epochs=(5,)).id}", unit=2))
    assert not any("CKA" in alt for alt in visitor.charts)
    matched(visitor.toggle(key="filters_match").set_value(True).run())
    assert visitor.link["match"] == "1"
    (first, second) = [name for name in drawn if name.endswith(" 0")]
    assert first.startswith(one.id)
    partners = [re.fullmatch(r"unit (\d), partner of (\d): correlation (-?[\d.]+)", label).groups()
                for label in drawn[second][1]]  # fmt: skip
    assert [int(partner) for _, partner, _ in partners] == list(range(6))
    assert sorted(int(unit) for unit, _, _ in partners) == list(range(6))
    assert drawn[second][2] == 2  # outlined is the partner of the unit chosen
    assert drawn[first][0].columns == drawn[second][0].columns  # partners stand at the same places
    assert drawn[first][1] == [f"unit {unit}" for unit in range(6)]  # of both towers
    assert visitor.says("These are few, so that the numbers are rough")
    assert visitor.says("A random assignment has") and any(
        alt.startswith("CKA of each layer") for alt in visitor.charts
    )
    other = second.removesuffix(" 0")
    rows = list(csv.DictReader(io.StringIO(offered[f"pairs {other} csv"]())))
    assert {(row["unit"], row["partner"]) for row in rows} == {(partner, unit) for unit, partner, _ in partners}
    compared = networks.describe(networks.entry(one.id)).layers(("conv", "activation", "lrn", "pool", "fc"))
    assert offered[f"likeness {other} npz"]()["cka"].shape == (len(compared), len(compared))


def test_a_network_is_matched_with_itself_exactly(visit, make_run, drawn, root):
    run = make_run(epochs=(3,))
    twin = imported_folder(root) / "twin.safetensors"
    twin.parent.mkdir(parents=True)
    shutil.copy(run.weights_file(), twin)
    matched(visit("filters", models=f"{run.id},twin", match=1))
    assert drawn["twin 0"][1] == [f"unit {unit}, partner of {unit}: correlation 1.00" for unit in range(6)]


def test_a_unit_without_a_partner_says_so(visit, make_run, drawn):
    run, other = make_run(epochs=(3,)), make_run(epochs=(3,), model__widths="4,8,8")
    visitor = matched(visit("filters", models=f"{run.id},{other.id}", match=1))
    lonely = [label for label in drawn[f"{other.id} 0"][1] if label.endswith("has no partner")]
    assert len(lonely) == 2
    visitor.number_input(key="lens_unit").set_value(int(lonely[0].split()[1])).run()
    assert fine(visitor).says(f"Unit {lonely[0].split()[1]} of the first network has no partner here")
    assert "2 units of the first network have no partner" in text_of(visitor)


def test_what_is_under_way_ends_when_it_is_no_longer_wanted(visit, make_run, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def compare(one, other, pictures, progress):
        try:
            while True:
                progress(0.5)
                begun.set()
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr("alexnet_explorer.inspection.matching.compare", compare)
    monkeypatch.setattr(working, "PATIENCE", 0.1)
    visitor = fine(visit("filters", models=f"{make_run(epochs=(7,)).id},{make_run(epochs=(9,)).id}", match=1))
    assert begun.wait(60) and "Stop" in [button.label for button in visitor.main.button]
    fine(visitor.toggle(key="filters_match").set_value(False).run())
    assert ended.wait(60) and "Stop" not in [button.label for button in visitor.main.button]


def test_an_epoch_of_which_one_layer_was_kept_cannot_be_matched(visit):
    visitor = fine(visit("filters", models=f"{RELU},{TANH}", epoch=4, match=1))
    assert "of epoch 4 only conv1 was kept" in text_of(visitor)


def test_one_network_has_nobody_to_be_matched_with(visit):
    assert not fine(visit("filters", models=RELU, match=1)).toggle


def test_a_network_that_went_on_from_trained_weights_names_one_that_began_with_noise(visit):
    visitor = fine(visit("filters", models="alexnet-64", epoch=0))
    assert visitor.says("went on from trained weights: most of its kernels had formed before")
    visitor.button(key="formed in alexnet-64-first for alexnet-64").click().run()
    assert visitor.link["models"] == "alexnet-64-first" and "epoch" not in visitor.link
    assert fine(visitor) and not visitor.says("went on from trained weights")


def test_of_the_family_of_a_finetuned_network_nobody_may_have_begun_with_noise(visit, make_run):
    run = make_run(train__init="alexnet-32-relu@0123456789abcdef")
    visitor = fine(visit("filters", models=run.id))
    assert visitor.says("went on from trained weights") and not visitor.says("began with noise")
