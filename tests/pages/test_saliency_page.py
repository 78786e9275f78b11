"""The page Saliency: its modes, its settings, and the trust figures under a map."""

import shutil
import threading

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from alexnet_explorer.catalogue import imported_folder
from alexnet_explorer.inspection import trust
from alexnet_explorer.inspection.methods import METHODS
from alexnet_explorer.inspection.verdicts import ALL, FIGURES
from alexnet_explorer.runs import GALLERY, Run
from alexnet_explorer.ui import maps, networks, saliency_views, trust_views, working

RELU, TANH = "alexnet-32-relu", "alexnet-32-tanh"
QUICK = [key for key, method in METHODS.items() if not method.slow]


def check_whole(visitor):
    assert not visitor.exception and visitor.complaints == []


def button(visitor, begin):
    return next((one for one in visitor.main.button if one.label.startswith(begin)), None)


def downloads(visitor):
    return [one.proto.label for one in visitor.main.get("download_button")]


@pytest.mark.parametrize("mode", [mode for mode in saliency_views.MODES if mode != "set"])
@pytest.mark.parametrize("models", [RELU, f"{RELU},{TANH}"])
def test_every_mode_is_drawn_and_stands_in_the_link(visit, mode, models):
    visitor = visit("saliency", models=models, show=mode)
    check_whole(visitor)
    assert visitor.link.get("show") == (None if mode == "one" else mode)
    assert visitor.drawn
    visitor.segmented_control(key="saliency_mode").set_value("one").run()
    check_whole(visitor)
    assert "show" not in visitor.link


def test_many_methods_leave_the_slow_ones_for_later(visit, monkeypatch):
    monkeypatch.setattr(maps, "AT_ONCE", 0)
    networks.results.clear()  # of the server, where other visitors may have had some of them computed
    visitor = visit("saliency", models=RELU, show="many")
    shown = len(visitor.drawn)
    named = [text.value.strip("*") for text in visitor.main.markdown]
    assert all(METHODS[key].title in named for key in QUICK)
    assert not button(visitor, "Compute")
    button(visitor, "Add the slow ones").click().run()
    waiting = sum(method.slow for method in METHODS.values())
    assert visitor.link["methods"].count(",") == len(METHODS) - 1
    assert button(visitor, f"Compute the {waiting} slow ones: about ")
    assert len(visitor.drawn) == shown
    assert any("normalis" in caption or "99th percentile" in caption for caption in visitor.captions)


def test_a_method_that_does_not_apply_says_why_among_the_many(visit):
    visitor = visit("saliency", models=TANH, show="many")
    assert any("Guided backpropagation changes the gradient at ReLUs only" in said for said in visitor.captions)


def test_slow_methods_are_computed_together_on_demand(visit, make_run, monkeypatch):
    monkeypatch.setattr(maps, "AT_ONCE", 0)
    run = make_run()
    visitor = visit("saliency", models=run.id, show="many", methods="saliency,occlusion,integrated-gradients")
    assert len(visitor.drawn) == 1
    button(visitor, "Compute the 2 slow ones: about ").click().run()
    check_whole(visitor)
    assert len(visitor.drawn) == 3 and not button(visitor, "Compute")
    assert visitor.link["methods"] == "saliency,occlusion,integrated-gradients"


def test_the_layers_of_a_method_that_needs_one(visit, make_run):
    run = make_run()
    visitor = visit("saliency", models=run.id, show="layers", at="relu1")
    check_whole(visitor)
    named = [text.value.strip("*") for text in visitor.main.markdown]
    kinds = ["relu1", "relu2", "relu3"]
    assert [name for name in named if name in kinds] == kinds[: len(visitor.drawn)] and visitor.drawn
    assert visitor.link["at"] == "relu1"
    assert set(visitor.selectbox(key="layer_method").options) == {
        f"{METHODS[key].title} (slow)" if METHODS[key].slow else METHODS[key].title for key in saliency_views.BY_LAYER
    }
    visitor.segmented_control(key="saliency_mode").set_value("one").run()
    visitor.selectbox(key="method").set_value("grad-cam").run()
    assert visitor.link["at"] == "relu1" and any("at relu1:" in said for said in visitor.captions)


def test_the_epochs_explain_one_class_on_one_scale(visit, make_run):
    run = make_run(epochs=(0, 1, 3))
    visitor = visit("saliency", models=run.id, show="epochs")
    check_whole(visitor)
    named = [text.value.strip("*") for text in visitor.main.markdown]
    assert [name for name in named if name.startswith("epoch ")] == ["epoch 0", "epoch 1", "epoch 3"]
    assert len(visitor.drawn) == 3
    assert any(said.startswith("One class throughout") for said in visitor.captions)
    alone = visit("saliency", models=RELU, show="epochs")
    assert any("no other epoch was kept whole" in info.value for info in alone.info)


def test_imported_weights_have_no_epochs_to_explain(visit, root):
    file = imported_folder(root) / "mine.safetensors"
    file.parent.mkdir(parents=True)
    shutil.copy(Run(GALLERY / RELU).weights_file(), file)
    for models in ("mine", f"{RELU},mine", f"mine,{RELU}"):
        visitor = visit("saliency", models=models, show="epochs")
        check_whole(visitor)
        assert any("no other epoch was kept whole" in info.value for info in visitor.info)


def test_weights_newer_than_every_kept_epoch_are_none_of_them(visit, make_run, monkeypatch):
    run, shown = make_run(epochs=(0, 1, 3)), []
    shutil.copy(run.snapshots()[1], run.last_file)  # it went on since, and was stopped
    monkeypatch.setattr(saliency_views.trust_views, "show", lambda row, found: shown.append((row[0], found[0])))
    visitor = visit("saliency", models=run.id, show="epochs")
    check_whole(visitor)
    assert shown.pop()[1] is None  # there is no map of these weights to believe or not
    visitor = visit("saliency", models=run.id, show="epochs", epoch=3)
    check_whole(visitor)
    look, found = shown.pop()
    assert look.epoch == 3 and found is not None
    visitor = visit("saliency", models=make_run(epochs=(0, 1, 3)).id, show="epochs")
    assert shown.pop()[1] is not None  # the last epoch is the newest


def test_an_epoch_that_diverged_hides_no_other(visit, make_run):
    run = make_run(epochs=(0, 1, 3))
    file = run.snapshots()[1]
    with safe_open(file, "pt") as kept:
        save_file({name: kept.get_tensor(name) * np.nan for name in kept.keys()}, file, kept.metadata())  # noqa: SIM118
    visitor = visit("saliency", models=run.id, show="epochs", epoch=0)
    check_whole(visitor)
    assert len(visitor.drawn) == 2 and visitor.says("**Notice**")
    assert visitor.says("epoch 1") and visitor.says("NaN")


def test_another_class_is_compared_with_the_explained_one(visit, make_run):
    run = make_run(says=0)
    visitor = visit("saliency", models=run.id, show="contrast", target=0)
    check_whole(visitor)
    against = visitor.selectbox(key="saliency_against")
    assert len(against.options) == 2 and "red" not in against.options  # the explained one is not among them
    assert len(visitor.main.image) == 3
    one, _, difference = (image.proto.imgs[0].alt for image in visitor.main.image)
    assert "red" in one and "What matters more to red: " in difference  # without a sign, for it or against it
    assert any("matters more to the first class, for or against it" in said for said in visitor.captions)
    against.set_value(2).run()
    assert "blue" in visitor.main.image[1].proto.imgs[0].alt
    visitor.selectbox(key="saliency_against").set_value(1).run()
    check_whole(visitor)


def test_the_class_that_comes_next_is_that_of_the_picture_until_one_is_chosen(visit):
    visitor = visit("saliency", models=RELU, show="contrast", picture="coffee")
    for picture in ("coffee", "cat", "astronaut", "flower"):
        visitor.selectbox(key="lens_picture").set_value(picture).run()
        check_whole(visitor)
        assert visitor.selectbox(key="saliency_against").index == 0 and "against" not in visitor.link
    picked = visitor.selectbox(key="saliency_against").options[4]
    visitor.selectbox(key="saliency_against").select_index(4).run()
    visitor.selectbox(key="lens_picture").set_value("coffee").run()
    control = visitor.selectbox(key="saliency_against")
    assert control.options[control.index] == picked and "against" in visitor.link


def test_networks_without_the_other_class_say_so(visit, make_run):
    runs = [make_run(), make_run(classes=("red", "cat", "dog"))]
    visitor = visit("saliency", models=",".join(run.id for run in runs), show="contrast", target=0, against=2)
    check_whole(visitor)
    assert [info.value.partition(" knows ")[2] for info in visitor.info] == ["no class blue."]


@pytest.fixture
def at_once(monkeypatch):
    """What takes a second needs no click on a busy machine either."""
    monkeypatch.setattr(maps, "AT_ONCE", 60)


def test_the_settings_of_a_method_stand_in_the_link(visit, at_once):
    visitor = visit("saliency", models=RELU, method="occlusion", window=9)
    check_whole(visitor)
    assert visitor.number_input(key="setting occlusion window").value == 9
    before = visitor.main.image[0].proto.imgs[0].url
    visitor.number_input(key="setting occlusion window").set_value(5).run()
    assert visitor.link["window"] == "5" and "stride" not in visitor.link
    visitor.selectbox(key="setting occlusion baseline").set_value("black").run()
    check_whole(visitor)
    assert visitor.link["baseline"] == "black" and visitor.main.image[0].proto.imgs[0].url != before
    assert visitor.number_input(key="setting occlusion stride").max == 5  # or the window would leave gaps
    visitor.selectbox(key="method").set_value("saliency").run()
    assert not {"window", "baseline"} & visitor.link.keys()
    assert not [one for one in visitor.main.number_input if one.key.startswith("setting")]


def test_the_settings_of_a_method_are_those_of_the_registry(visit):
    visitor = visit("saliency", models=RELU)
    for method in METHODS:
        visitor.selectbox(key="method").set_value(method).run()
        kinds = (*visitor.main.number_input, *visitor.main.selectbox)
        drawn = {one.key.split()[-1] for one in kinds if one.key.startswith("setting")}
        assert drawn == set(METHODS[method].settings)


def test_the_usual_stride_is_half_of_the_window_that_is_chosen(visit, at_once):
    visitor = visit("saliency", models=RELU, method="occlusion")
    visitor.number_input(key="setting occlusion stride").set_value(1).run()
    visitor.number_input(key="setting occlusion window").set_value(16).run()
    assert visitor.number_input(key="setting occlusion stride").value == 8 and "stride" not in visitor.link
    half = visitor.main.image[0].proto.imgs[0].url
    visitor.number_input(key="setting occlusion stride").set_value(2).run()
    check_whole(visitor)
    assert visitor.link["stride"] == "2" and visitor.main.image[0].proto.imgs[0].url != half


def test_the_settings_of_a_link_are_those_of_its_method_alone(visit):
    visitor = visit("saliency", models=RELU, method="smoothgrad", samples=3)
    assert visitor.number_input(key="setting smoothgrad samples").value == 3
    visitor.selectbox(key="method").set_value("lime").run()
    check_whole(visitor)
    assert visitor.number_input(key="setting lime samples").value > 3 and "samples" not in visitor.link
    visitor.selectbox(key="method").set_value("smoothgrad").run()
    assert visitor.number_input(key="setting smoothgrad samples").value == 3 and visitor.link["samples"] == "3"


def test_no_methods_but_the_chosen_one_can_be_linked_to(visit):
    visitor = visit("saliency", models=RELU, show="many", methods="none")
    check_whole(visitor)
    assert visitor.multiselect(key="saliency_methods").value == [] and visitor.link["methods"] == "none"
    assert len(visitor.drawn) == 1


@pytest.mark.parametrize("name", ["window=1000", "window=none", "baseline=green", "at=conv9"])
def test_a_setting_of_a_link_that_is_not_allowed_is_left_out(visit, name, at_once):
    field, _, value = name.partition("=")
    visitor = visit("saliency", models=RELU, method="grad-cam" if field == "at" else "occlusion", **{field: value})
    check_whole(visitor)
    assert visitor.main.image and field not in visitor.link


def test_a_map_is_checked_on_demand(visit, make_run):
    run = make_run()
    visitor = visit("saliency", models=run.id, method="integrated-gradients")
    readings = [text.value.strip("*") for text in visitor.main.markdown]
    titles = {key: FIGURES[key].title for key in ALL}
    assert titles["completeness"] in readings and titles["deletion"] not in readings
    button(visitor, "Check this map: about ").click().run()
    check_whole(visitor)
    readings = [text.value.strip("*") for text in visitor.main.markdown]
    assert set(titles.values()) <= set(readings)
    assert not button(visitor, "Check this map")
    charts = [alt.partition(":")[0] for alt in visitor.charts]
    assert sorted(charts) == sorted(titles[key] for key in ("deletion", "insertion", "randomisation"))
    assert downloads(visitor) == ["PNG", "npz", "CSV"]
    verdicts = [text for text in readings if "-badge[" in text]
    assert len(verdicts) == len(ALL)  # in words, with an icon
    visitor.selectbox(key="method").set_value("saliency").run()
    assert button(visitor, "Check this map")  # another map, of which nothing is known


def test_a_check_can_be_stopped_and_what_was_found_is_kept(visit, monkeypatch):
    found, reached, go_on, real = [], threading.Event(), threading.Event(), trust.trust

    def measure(model, image, one, progress, figures, references):
        if figures[0] not in trust_views.AT_ONCE:
            if found:
                reached.set()
                assert go_on.wait(60)
                progress(0.5)
            found.append(figures[0])
        return real(model, image, one, progress, figures, references)

    monkeypatch.setattr(working, "PATIENCE", 0)
    monkeypatch.setattr(trust, "trust", measure)
    networks.results.clear()  # of the server, where other visitors may have had this map checked
    visitor = visit("saliency", models=RELU, method="saliency")
    button(visitor, "Check this map").click().run()
    work = working._works()[visitor.session_state["working_trust"]]
    assert reached.wait(60)
    work.stop()
    go_on.set()
    work.join(60)
    visitor.run()
    check_whole(visitor)
    assert [info.value for info in visitor.info] == ["Stopped\\."] and button(visitor, "Check this map")
    readings = [text.value.strip("*") for text in visitor.main.markdown]
    assert {key for key in ALL if FIGURES[key].title in readings} == {*trust_views.AT_ONCE, *found}
    assert len(found) == 1


def test_the_outline_goes_around_the_strongest_part(visit):
    visitor = visit("saliency", models=RELU, method="grad-cam")
    plain = visitor.main.image[0].proto.imgs[0].url
    visitor.toggle(key="saliency_outline").set_value(True).run()
    assert visitor.link["outline"] == "on" and visitor.main.image[0].proto.imgs[0].url != plain


def test_every_map_has_words_that_name_a_region_and_its_share(visit):
    visitor = visit("saliency", models=f"{RELU},{TANH}", method="integrated-gradients")
    assert len(visitor.main.image) == 2
    for image in visitor.main.image:
        alt = image.proto.imgs[0].alt
        assert "speaks for the class, strongest in the " in alt and "% of the total" in alt and "from the left" in alt


@pytest.mark.parametrize(
    "settings",
    [{"model__in_channels": 1}, {"model__activation": "sigmoid"}, {"model__towers": 1}, {"model__lrn": "off"},
     {"model__convolutions": (1, 3)}],
)  # fmt: skip
def test_networks_of_any_kind_are_explained(visit, make_run, settings):
    run = make_run(**settings)
    for mode in saliency_views.MODES:
        check_whole(visit("saliency", models=run.id, show=mode))


def test_the_drawing_of_a_difference_is_signed():
    heat = np.zeros((4, 4), np.float32)
    heat[0], heat[3] = 1, -1
    picture = maps.drawn(np.full((8, 8, 3), 128, np.uint8), heat, True, 1.0, False)
    assert picture[0, 0, 0] > picture[0, 0, 2] and picture[7, 7, 2] > picture[7, 7, 0]
    assert Image.fromarray(picture).size == (8, 8)


def test_methods_are_compared_over_the_samples(visit, make_run):
    run = make_run()
    visitor = visit("saliency", models=run.id, show="set", compared_methods="saliency,grad-cam,occlusion")
    check_whole(visitor)
    assert not visitor.charts
    button(visitor, "Explain ").click().run()
    check_whole(visitor)
    (alt,) = visitor.charts
    assert "Grad-CAM" in alt and "Occlusion" in alt
    (table,) = (one.value for one in visitor.main.dataframe)
    assert set(table["Method"]) == {"Saliency", "Grad-CAM", "Occlusion"}
    assert downloads(visitor) == ["CSV", "npz", "CSV", "CSV"]
    assert not button(visitor, "Explain ")
    again = visit("saliency", models=run.id, show="set", compared_methods="saliency,grad-cam,occlusion")
    assert again.charts  # what was computed once is there
    assert again.link["compared_methods"] == "saliency,grad-cam,occlusion"
    one = visit("saliency", models=run.id, show="set", compared_methods="saliency")
    assert any("two methods or more" in info.value for info in one.info)
