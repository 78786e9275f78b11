"""Every page, when nothing was trained yet and when there are runs; every way of coming to it."""

import re
import shutil

import numpy as np
import pytest

from alexnet_explorer.catalogue import DEFAULT_MODEL, imported_folder
from alexnet_explorer.inspection.methods import METHODS
from alexnet_explorer.runs import GALLERY, Run
from alexnet_explorer.ui import maps, networks
from alexnet_explorer.ui.frame import NEWEST, PAGES, PAGES_FOLDER
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import read_layer

RELU, TANH = "alexnet-32-relu", "alexnet-32-tanh"
TITLES = {page.name: page.title for page in PAGES} | {"home": "AlexNet Explorer"}
# How a page shows its pictures, all of them at once: Compare when asked to, Activations without a search of samples.
PICTURES = {"compare": {"view": "networks"}, "activations": {"unit_view": "ascent"}}
LOOKING = [page.name for page in PAGES if "models" in page.uses]


def of_the_gallery(name):
    return Run(GALLERY / name).weights_file()


@pytest.fixture
def imported(root):
    """Puts a file among the weights that users brought; with `keep`, only its first bytes."""

    def put(name, keep=None):
        file = imported_folder(root) / f"{name}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(of_the_gallery(RELU).read_bytes()[:keep])
        return name

    return put


def check(visitor, page):
    """The page is there, whole, and has nothing to complain of."""
    assert not visitor.exception
    assert visitor.complaints == []
    assert visitor.title[0].value == TITLES[page]
    assert "Show the code" in [expander.label for expander in visitor.main.expander] or page == "home"


@pytest.mark.parametrize("page", TITLES)
def test_a_page_before_anything_was_trained(visit, page):
    visitor = visit(page, **PICTURES.get(page, {}))
    check(visitor, page)
    assert [info.value for info in visitor.info if "Not on this machine" in info.value] == []
    if page in LOOKING:
        assert visitor.drawn
        assert visitor.link["models"] == DEFAULT_MODEL
        assert visitor.multiselect(key="lens_models").value == ([RELU, TANH] if page == "compare" else [DEFAULT_MODEL])


@pytest.mark.parametrize("page", LOOKING)
def test_a_page_with_two_networks_side_by_side(visit, make_run, page):
    run = make_run(model__towers=1)  # as the other has
    view = PICTURES.get(page, {})
    single, both = visit(page, models=run.id, **view), visit(page, models=f"{RELU},{run.id}", **view)
    check(both, page)
    assert any(plain(networks.label(run.id)) in text.value for text in both.markdown)
    assert both.link["models"] == f"{RELU},{run.id}"
    if page not in ("compare", "arithmetic"):  # which show two in any case, and always explain one
        shared = 1 if page == "neighbours" else 0  # the row of pixels
        assert len(both.drawn) == 2 * len(single.drawn) - shared


@pytest.mark.parametrize("page", ["train", "runs"])
def test_the_pages_of_runs_when_there_is_one(visit, make_run, page):
    make_run()
    check(visit(page), page)


def test_the_switches_of_a_page_change_what_it_shows(visit):
    visitor = visit("activations")
    assert any("strongest first" in caption for caption in visitor.captions)
    visitor.segmented_control(key="order").set_value("as numbered").run()
    assert any("in order" in caption for caption in visitor.captions)
    visitor.go("saliency")
    for method in METHODS:
        visitor.selectbox(key="method").set_value(method)
        check(visitor.run(), "saliency")


# What is on a page


def test_predict_names_five_classes_and_says_what_it_was_trained_on(visit):
    visitor = visit("predict", models=RELU)
    chart = visitor.charts[0]
    shares = [float(share) for share in re.findall(r"([\d.]+)%", chart)]
    assert len(shares) == 5 and shares == sorted(shares, reverse=True) and sum(shares) <= 100.1
    assert visitor.says("It says **") and visitor.says("CIFAR\\-10 \\(JPEG copy\\)")


def test_the_classes_of_a_users_network_are_shown_as_text(visit, make_run):
    assert visit("predict", models=make_run(says=1).id).says("It says **green \\*and\\* more**")


def test_the_last_layers_units_bear_the_names_of_their_classes(visit, make_run):
    visitor = visit("activations", models=RELU, layer="fc8", unit=3)
    (table,) = (table.value for table in visitor.dataframe)
    best = re.match(r"([a-z ]+) ", visit("predict", models=RELU).charts[0])[1]
    assert table["class"][0] == best and len(table) == 10
    assert table["output"].astype(float).is_monotonic_decreasing
    assert visitor.says("Unit 3 (cat) of fc8 is one number, ")
    assert not visit("activations", models=RELU, layer="fc7").dataframe
    marked = visit("activations", models=make_run(says=1).id, layer="fc5", unit=1)
    assert marked.dataframe[0].value["class"][0] == "green *and* more"
    assert marked.complaints == [] and marked.says("Unit 1 (green *and* more) of fc5")


def test_compare_says_what_differs_and_by_how_much(visit):
    visitor = visit("compare")
    ways, settings, metrics = (table.value for table in visitor.dataframe)
    assert list(ways.iloc[:, 0]) == ["relu", "tanh"]
    assert "model.activation" in list(settings["setting"])
    row = settings[settings["setting"] == "model.activation"].iloc[0].tolist()
    assert row == ["model.activation", "relu", "tanh"]
    assert "validation error" in list(metrics["metric"]) and metrics.shape[1] == 3
    assert "points)" in metrics.iloc[0, 2]
    buttons = [button.proto.label for button in visitor.main.get("download_button")]
    assert buttons == ["Download the report", "Markdown and CSV"]
    assert [subheader.value for subheader in visitor.subheader] == ["What differs in the settings", "Where they ended"]
    visitor.segmented_control(key="compare_view").set_value("networks").run()
    check(visitor, "compare")
    assert visitor.link["view"] == "networks"
    assert [subheader.value for subheader in visitor.subheader] == [
        "Predictions", "Filters of conv1", "Activations", "Statistics of the layer", "Saliency",
    ]  # fmt: skip


def test_compare_with_weights_that_have_no_history(visit, imported):
    visitor = visit("compare", models=f"{RELU},{imported('mine')}")
    check(visitor, "compare")
    assert visitor.says("mine has no training history here")
    (ways,) = (table.value for table in visitor.dataframe)
    assert len(ways) == 1
    assert [alt.partition(" along ")[0] for alt in visitor.charts] == ["validation error (%)"]


def test_guided_backpropagation_says_why_it_does_not_explain_tanh(visit):
    visitor = visit("saliency", models=TANH)
    assert visitor.main.image
    visitor.selectbox(key="method").set_value("guided-backprop").run()
    check(visitor, "saliency")
    assert [info.value.split(",")[0] for info in visitor.info] == [
        "Guided backpropagation changes the gradient at ReLUs only"
    ]
    assert not visitor.main.image


def test_the_method_stands_in_the_link(visit, monkeypatch):
    monkeypatch.setattr(maps, "AT_ONCE", 60)  # seconds, on a busy machine
    visitor = visit("saliency", models=RELU, method="grad-cam")
    assert visitor.selectbox(key="method").value == "grad-cam"
    visitor.selectbox(key="method").set_value("saliency").run()
    assert "method" not in visitor.link
    visitor.selectbox(key="method").set_value("occlusion").run()
    assert visitor.link["method"] == "occlusion"
    assert [button.proto.label for button in visitor.main.get("download_button")] == ["PNG", "npz"]
    assert visit("saliency", method="magic").selectbox(key="method").value == "saliency"


def test_beside_tanh_the_other_network_is_explained(visit):
    visitor = visit("saliency", models=f"{RELU},{TANH}")
    visitor.selectbox(key="method").set_value("guided-backprop").run()
    assert len(visitor.main.image) == 1 and len(visitor.info) == 1


def waiting(visitor):
    """The button that computes a slow map."""
    return next((button for button in visitor.main.button if button.label.startswith("Compute")), None)


def test_a_slow_method_waits_for_a_click_and_shows_its_map_then(visit, make_run, monkeypatch):
    monkeypatch.setattr(maps, "AT_ONCE", 0)
    run = make_run(model__input_size=96, model__strides=(4, 1, 1))
    visitor = visit("saliency", models=run.id)
    visitor.selectbox(key="method").set_value("occlusion").run()
    assert not visitor.main.image
    waiting(visitor).click().run()
    check(visitor, "saliency")
    assert visitor.main.image and not waiting(visitor)
    visitor.selectbox(key="lens_picture").select("flower").run()
    assert not visitor.main.image  # of another picture nothing is known yet
    visitor.selectbox(key="lens_picture").select("coffee").run()
    assert visitor.main.image and not waiting(visitor)


def test_networks_that_number_their_classes_differently_explain_the_same_class(visit, make_run):
    runs = [make_run(), make_run(classes=("blue", "red", "green"))]
    visitor = visit("saliency", models=",".join(run.id for run in runs), target=2)
    assert [caption.partition(":")[0] for caption in visitor.captions] == ["Evidence for “blue”"] * 2


# Links


def test_a_link_says_picture_network_epoch_layer_and_unit(visit, make_run):
    run = make_run(epochs=(0, 1, 3))
    visitor = visit("activations", picture="coffee", models=run.id, epoch=1, layer="conv2", unit=7)
    check(visitor, "activations")
    assert visitor.selectbox(key="lens_picture").value == "coffee"
    assert visitor.multiselect(key="lens_models").value == [run.id]
    assert visitor.select_slider(key="lens_epoch").value == 1
    assert visitor.selectbox(key="lens_layer").value == "conv2"
    assert visitor.number_input(key="lens_unit").value == 7
    assert [text[:12] for text in visitor.captions if text.startswith(("conv2: ", "Unit 7 over "))] == [
        "conv2: 8 map",
        "Unit 7 over ",
    ]
    assert visitor.link == {"picture": "coffee", "models": run.id, "epoch": "1", "layer": "conv2", "unit": "7"}


def test_the_first_visitor_of_a_server_may_come_by_a_link(visit_first):
    visitor = visit_first("activations", picture="coffee", layer="conv2")
    check(visitor, "activations")
    assert visitor.link == {"picture": "coffee", "models": DEFAULT_MODEL, "layer": "conv2"}
    assert any(text.startswith("conv2: ") for text in visitor.captions)


def test_an_epoch_of_the_link_shows_the_network_as_it_was_then(visit, make_run):
    run = make_run(epochs=(0, 1, 3))
    assert visit("filters", models=run.id, epoch=0).charts != visit("filters", models=run.id).charts


def test_the_class_to_explain_keeps_its_name_where_the_first_network_changes(visit):
    visitor = visit("saliency", models=RELU, target=3)
    assert visitor.selectbox(key="lens_target").value == 3
    visitor.multiselect(key="lens_models").set_value([TANH, RELU]).run()
    assert visitor.link["target"] == "3"
    visitor.multiselect(key="lens_models").set_value([DEFAULT_MODEL]).run()
    assert "target" not in visitor.link  # it has no class of this name


def test_imported_weights_beside_a_run_leave_its_epochs_alone(visit, imported):
    visitor = visit("filters", models=f"{imported('mine')},{RELU}")
    assert visitor.select_slider(key="lens_epoch").options[-1] == "30"
    visitor = visit("filters", models=f"{RELU},{imported('mine')}", epoch=2)
    said = [words for words in visitor.captions if words.startswith("conv1") and "kernels of 5×5 pixels" in words]
    assert ["after epoch 2" in words for words in said] == [True, False] and not visitor.exception


def test_a_run_that_was_stopped_shows_its_newest_weights(visit, make_run):
    run = make_run(epochs=(0, 1, 3))
    run.snapshots()[3].rename(run.last_file)
    visitor = visit("activations", models=run.id)
    slider = visitor.select_slider(key="lens_epoch")
    assert slider.options == ["0", "1", "newest"] and slider.value == NEWEST and not visitor.exception
    slider.set_value(1).run()
    assert visitor.link["epoch"] == "1"
    visitor.select_slider(key="lens_epoch").set_value(NEWEST).run()
    assert "epoch" not in visitor.link


def test_filters_of_conv1_are_there_for_epochs_of_which_nothing_else_was_kept(visit):
    visitor = visit("filters", models=RELU, epoch=4, layer="conv1")
    check(visitor, "filters")
    slider = visitor.select_slider(key="lens_epoch")
    assert (slider.options, slider.value) == ([str(epoch) for epoch in (0, 1, 2, 4, 8, 16, 30)], 4)
    assert visitor.captions[0].startswith("conv1 after epoch 4: 32 kernels")
    norms = np.linalg.norm(read_layer(Run(GALLERY / RELU).snapshots()[4], "conv1.weight").reshape(32, -1), axis=1)
    assert f"Histogram of the kernels' norms, from {norms.min():.3g} to {norms.max():.3g}" in visitor.charts
    slider.set_value(30).run()
    assert "epoch" not in visitor.link and visitor.captions[0].startswith("conv1: 32 kernels")


def test_an_epoch_of_which_one_layer_was_kept_waits_while_other_things_are_looked_at(visit):
    visitor = visit("filters", epoch=0, layer="conv1")
    last = visit("predict").charts
    visitor.selectbox(key="lens_layer").select("conv2").run()
    check(visitor, "filters")
    assert not visitor.select_slider and visitor.captions[0].startswith("conv2: a column for each")
    check(visitor.go("predict"), "predict")
    assert visitor.charts == last
    visitor.go("filters").selectbox(key="lens_layer").select("conv1").run()
    assert visitor.captions[0].startswith("conv1 after epoch 0")


def test_twins_show_their_filters_of_the_same_epoch(visit):
    visitor = visit("filters", models=f"{RELU},{TANH}", epoch=0, layer="conv1")
    check(visitor, "filters")
    drawn = [caption for caption in visitor.captions if caption.startswith("conv1 after epoch 0: 32 kernels")]
    assert len(drawn) == 2 and drawn[0] == drawn[1]  # on one scale


@pytest.mark.parametrize("keep", [60, -100])
def test_a_damaged_snapshot_is_said_and_the_visitor_goes_on(visit, make_run, keep):
    run = make_run(partial=(0,))
    visitor = visit("filters", models=run.id, epoch=0)
    check(visitor, "filters")
    run.snapshots()[0].write_bytes(run.snapshots()[0].read_bytes()[:keep])
    assert not visitor.run().exception and visitor.title
    visitor.select_slider(key="lens_epoch").set_value(1).run()
    check(visitor, "filters")


def test_a_snapshot_of_another_network_is_refused(visit, make_run):
    run, other = make_run(partial=(0,)), make_run(partial=(0,), model__kernels="5,3,3", model__paddings="2,1,1")
    shutil.copy(other.snapshots()[0], run.snapshots()[0])
    visitor = visit("filters", models=run.id, epoch=0)
    assert not visitor.exception
    assert visitor.complaints == ["epoch-00000.safetensors does not fit its network: choose another epoch."]


def test_a_unit_is_chosen_the_same_way_at_every_layer(visit):
    visitor = visit("filters", layer="conv1")
    visitor.number_input(key="lens_unit").set_value(7).run()
    assert any(caption.startswith("conv1, unit 7: ") for caption in visitor.captions)
    visitor.selectbox(key="lens_layer").select("conv2").run()
    assert any(caption.startswith("conv2, unit 7: ") for caption in visitor.captions)
    assert visitor.go("activations").number_input(key="lens_unit").value == 7


def test_a_unit_beyond_those_of_a_network_is_its_last_one(visit, make_run):
    visitor = visit("filters", models=f"{RELU},{make_run().id}", layer="conv2", unit=50)
    units = [caption.partition(":")[0] for caption in visitor.captions if "unit " in caption.partition(":")[0]]
    assert units == ["conv2, unit 50", "conv2, unit 7"]


def test_a_link_says_the_class_to_explain(visit):
    visitor = visit("saliency", models=RELU, target=3)
    assert visitor.selectbox(key="lens_target").value == 3
    assert visitor.captions[0].startswith("Evidence for “cat”")


def test_what_the_page_keeps_in_the_link_itself_stays(visit):
    assert visit("predict", something="of its own").link["something"] == "of its own"


@pytest.mark.parametrize("page", LOOKING)
def test_a_link_to_what_is_not_here_shows_what_is(visit, page):
    visitor = visit(
        page, picture="upload-0123456789ab", models="gone,[link](elsewhere)", epoch=77, layer="conv9", unit=5000,
        target=4000, **PICTURES.get(page, {}),
    )  # fmt: skip
    check(visitor, page)
    said = [info.value for info in visitor.info]
    assert any("Not on this machine: gone" in text for text in said)
    assert any("uploaded in another session" in text for text in said) or page == "filters"
    assert visitor.drawn and visitor.link["models"].startswith(DEFAULT_MODEL)
    if page != "filters":
        assert visitor.link["picture"] == "coffee"


def test_the_lens_follows_the_visitor_from_page_to_page(visit):
    visitor = visit("predict")
    visitor.selectbox(key="lens_picture").select("rocket").run()
    visitor.multiselect(key="lens_models").set_value([TANH, RELU]).run()
    for page in ("activations", "home", "runs", "saliency", "predict"):
        visitor.go(page)
        assert (visitor.link["picture"], visitor.link["models"]) == ("rocket", f"{TANH},{RELU}")
    assert visitor.selectbox(key="lens_picture").value == "rocket"
    assert visitor.multiselect(key="lens_models").value == [TANH, RELU]


def test_compare_leaves_the_networks_of_the_other_pages_alone(visit, make_run):
    run = make_run()
    visitor = visit("predict", models=run.id).go("compare")
    assert visitor.multiselect(key="lens_models").value == [run.id, RELU]  # the visitor's own, and one beside it
    visitor.multiselect(key="lens_models").set_value([TANH, RELU, run.id]).run()
    check(visitor, "compare")
    assert (visitor.link["models"], visitor.link["compared"]) == (run.id, f"{TANH},{RELU},{run.id}")
    visitor.go("predict")
    assert visitor.multiselect(key="lens_models").value == [run.id] and len(visitor.charts) == 2
    visitor.multiselect(key="lens_models").set_value([RELU]).run()
    visitor.go("compare")
    assert visitor.multiselect(key="lens_models").value == [TANH, RELU, run.id]
    assert visit("compare", **visitor.link).multiselect(key="lens_models").value == [TANH, RELU, run.id]


def test_a_network_that_is_gone_leaves_the_comparison(visit):
    visitor = visit("compare", compared=f"gone,{TANH}")
    check(visitor, "compare")
    assert [info.value for info in visitor.info] == ["Not on this machine: gone."]
    assert visitor.link == {"picture": "coffee", "models": DEFAULT_MODEL, "compared": TANH}
    assert visitor.multiselect(key="lens_models").value == [TANH, RELU]


def test_the_switches_of_the_pages_stay_while_the_visitor_walks(visit):
    visitor = visit("activations")
    visitor.segmented_control(key="order").set_value("as numbered").run()
    visitor.go("saliency").selectbox(key="method").set_value("occlusion").run()
    visitor.go("compare").segmented_control(key="compare_axis").set_value("step").run()
    visitor.slider(key="compare_smoothing").set_value(0.5).run()
    visitor.segmented_control(key="compare_view").set_value("networks").run()
    visitor.selectbox(key="compare_method").set_value("saliency").run()
    visitor.go("home").go("activations")
    assert visitor.segmented_control(key="order").value == "as numbered"
    assert any("in order" in caption for caption in visitor.captions)
    assert visitor.go("saliency").selectbox(key="method").value == "occlusion"
    visitor.go("compare")
    assert visitor.selectbox(key="compare_method").value == "saliency"
    visitor.segmented_control(key="compare_view").set_value("curves").run()
    assert visitor.segmented_control(key="compare_axis").value == "step"
    assert visitor.slider(key="compare_smoothing").value == 0.5


def test_a_layer_follows_to_a_network_that_calls_it_otherwise(visit):
    visitor = visit("activations", layer="relu3")
    visitor.multiselect(key="lens_models").set_value([TANH]).run()
    assert visitor.selectbox(key="lens_layer").value == "tanh3"
    check(visitor, "activations")


def test_choosing_no_network_changes_nothing(visit):
    visitor = visit("predict")
    visitor.multiselect(key="lens_models").set_value([]).run()
    check(visitor, "predict")
    assert visitor.multiselect(key="lens_models").value == [DEFAULT_MODEL]


def test_a_sample_on_the_first_page_leads_to_its_prediction(visit):
    visitor = visit("home")
    visitor.button(key="sample_flower").click().run()
    check(visitor, "predict")
    assert visitor.link["picture"] == "flower"


# Damaged files


@pytest.mark.parametrize("page", LOOKING)
def test_a_network_whose_file_is_cut_off_is_said_and_the_visitor_goes_on(visit, imported, page):
    broken = imported("broken", keep=-1000)
    visitor = visit(page, models=f"{broken},{RELU}", **PICTURES.get(page, {}))
    assert not visitor.exception
    (error,) = visitor.complaints
    assert "broken" in error and "\n" not in error
    assert visitor.drawn  # the other one
    visitor.multiselect(key="lens_models").set_value([RELU, TANH]).run()
    check(visitor, page)


def test_a_file_without_a_header_is_no_network(visit, imported):
    visitor = visit("predict", models=imported("broken", keep=100))
    check(visitor, "predict")
    assert visitor.link["models"] == DEFAULT_MODEL


def test_a_run_whose_files_are_damaged_stops_no_page(visit, make_run):
    run = make_run()
    (run.path / "config.json").write_text("{")
    (run.path / "metrics.jsonl").write_text("no number\n")
    for page in ("predict", "train", "runs", "compare"):
        assert not visit(page, models=f"{RELU},{run.id}").exception


def test_damaged_curves_leave_the_rest_of_the_comparison(visit, make_run):
    run = make_run()
    (run.path / "metrics.jsonl").write_text("no number\n")
    visitor = visit("compare", models=f"{RELU},{run.id}")
    assert not visitor.exception
    assert any("metrics.jsonl is damaged" in complaint for complaint in visitor.complaints)


def test_a_run_that_is_deleted_meanwhile(visit, make_run):
    run = make_run()
    visitor = visit("predict", models=run.id)
    shutil.rmtree(run.path)
    check(visitor.run(), "predict")
    assert visitor.link["models"] == DEFAULT_MODEL


def test_the_code_on_the_pages_opens_files_that_are_there():
    for page in PAGES_FOLDER.glob("*.py"):
        for path in re.findall(r"alexnet_explorer/gallery/[\w./-]+", page.read_text()):
            assert (PAGES_FOLDER.parent / path).is_file(), f"{page.name} shows {path}"
