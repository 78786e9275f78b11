"""The page Compare with two runs, with five, with twelve: every view of it, its links, and what it says of gaps."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

from alexnet_explorer.data.batches import split_indices
from alexnet_explorer.figures import BASELINE_COLOUR, style_of
from alexnet_explorer.launch import local
from alexnet_explorer.runs import EVIDENCE, Status, create_run, list_runs
from alexnet_explorer.ui import answers
from alexnet_explorer.ui.comparing_views import VIEWS

RELU, TANH = "alexnet-32-relu", "alexnet-32-tanh"


@pytest.fixture
def make_curve(root, small):
    """Builds a run of which there are metrics alone: its error falls from 0.9, to a half in `half` epochs.

    In the epoch `spike` it is zero.
    """

    def build(half, epochs=10, spike=0, **settings):
        run = create_run(small(**settings), root)
        rows = []
        for epoch in range(1, epochs + 1):
            at = {"step": 5 * epoch, "epoch": epoch, "images": 100 * epoch, "seconds": 2.0 * epoch}
            error = 0.0 if epoch == spike else 0.9 * 0.5 ** (epoch / half)
            rows += [{**at, "train/loss": 2 * error, "train/top1_error": error},
                     {**at, "val/loss": 2 * error, "val/top1_error": error}]  # fmt: skip
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        summary = {"val/top1_error": error, "best/val_top1_error": error, "val/loss": 2 * error}
        run.write_status(replace(Status(), state="done", epoch=epochs, epochs=epochs, seconds=20, summary=summary))
        return run

    return build


@pytest.fixture
def factorial(make_curve):
    """Two activations, two dropouts, three seeds: twelve runs, their ids."""
    return [
        make_curve(half, model__activation=activation, model__dropout=dropout, train__seed=seed).id
        for activation, half in (("relu", 1.0), ("tanh", 2.0)) for dropout in (0.0, 0.5) for seed in (0, 1, 2)
    ]  # fmt: skip


@pytest.fixture
def answered(make_run, pack, data_root):
    """Builds a run whose answers are known, on a data set of this machine: it is wrong at the places `wrong`."""
    packed = pack()

    def build(wrong, **settings):
        run = make_run(data__digest=packed.digest, **settings)
        places = split_indices(packed, run.config.data)["val"].numpy()
        true = packed.labels("train")[places]
        predicted = true.copy()
        predicted[list(wrong)] = (true[list(wrong)] + 1) % 3
        pairs, counts = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
        confusion = [[*pair, count] for pair, count in zip(pairs.T.tolist(), counts.tolist(), strict=True)]
        found = {
            "epoch": 3,
            "confusion": confusion,
            "worst": [],
            "true": true.tolist(),
            "predicted": predicted.tolist(),
        }
        (run.path / "mistakes.json").write_text(json.dumps(found))
        return run

    return build


def table(visitor, key):
    """The data behind a table."""
    (found,) = [frame.value for frame in visitor.dataframe if frame.proto.id.endswith(key)]
    return found


def drawn(visitor, key):
    """The lines, or points, of a chart."""
    (found,) = [chart for chart in visitor.main.get("plotly_chart") if chart.proto.id.endswith(key)]
    return json.loads(found.proto.spec)["data"]


def coordinates(visitor):
    """What the browser draws parallel coordinates of; None where there are none."""
    found = [json.loads(element.proto.json) for element in visitor.main.get("bidi_component") if element.proto.json]
    return next((data for data in found if "axes" in data), None)


def fine(visitor):
    """Nothing went wrong."""
    assert not visitor.exception and visitor.complaints == [] and not visitor.warning
    return visitor


def test_runs_that_ship_with_a_study_can_be_taken_out_of_the_comparison_and_back(visit):
    runs = sorted(run.id for run in list_runs(EVIDENCE, gallery=False))[:3]
    visitor = fine(visit("compare", compared=",".join(runs)))
    networks = visitor.multiselect(key="lens_models")
    assert networks.value == runs
    assert sum(title.endswith("(a study's evidence)") for title in networks.options) >= 3
    networks.set_value(runs[:2]).run()
    assert fine(visitor).link["compared"] == ",".join(runs[:2])
    visitor.multiselect(key="lens_models").set_value([*runs[:2], runs[2]]).run()
    assert fine(visitor).link["compared"] == ",".join(runs)


@pytest.mark.parametrize("count", [2, 5, 12])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_with_a_few_runs_and_with_many(visit, factorial, view, count):
    visitor = fine(visit("compare", compared=",".join(factorial[:count]), view=view))
    assert visitor.link["compared"] == ",".join(factorial[:count])
    assert len(visitor.multiselect(key="lens_models").value) == count
    if view == "curves":
        ways, settings, metrics = (found.value for found in visitor.dataframe)
        assert len(ways) == count and settings.shape[1] == metrics.shape[1] == count + 1
    if view == "fields":
        assert len(visitor.charts) == 1 and len(coordinates(visitor)["runs"]) == count


def test_runs_without_weights_have_curves_and_say_that_they_have_no_pictures(visit, factorial):
    visitor = visit("compare", compared=",".join(factorial[:2]), view="networks")
    assert not visitor.main.image and "None of these runs has kept its weights" in visitor.info[0].value


# Curves


def test_the_way_to_an_error_is_told_with_its_multiple_of_the_baselines(visit, make_curve):
    fast, slow, never = make_curve(1), make_curve(2, train__seed=1), make_curve(9, train__seed=2)
    visitor = fine(visit("compare", compared=f"{fast.id},{slow.id},{never.id}", reach=22.5))
    assert visitor.slider(key="compare_level_val/top1_error").value == 22.5 and visitor.link["reach"] == "22.5"
    ways = visitor.dataframe[0].value
    assert ways.iloc[:, 0].tolist() == ["seed 0", "seed 1", "seed 2"]
    assert ways["epochs"].tolist() == ["2.0", "4.0", "> 10.0"]
    assert ways["time"].tolist() == ["4 s", "8 s", "> 20 s"]
    assert ways["images seen"].tolist() == ["200", "400", "> 1,000"]
    assert ways["× the epochs"].tolist() == ["1.00", "2.00", "> 5.00"]
    visitor.slider(key="compare_level_val/top1_error").set_value(45.0).run()
    assert visitor.dataframe[0].value["epochs"].tolist() == ["1.0", "2.0", "9.0"] and visitor.link["reach"] == "45"


def test_another_baseline_changes_places_with_the_first(visit, factorial):
    visitor = visit("compare", compared=",".join(factorial[:4]))
    visitor.selectbox(key="compare_baseline").set_value(factorial[2]).run()
    fine(visitor)
    order = [factorial[2], factorial[1], factorial[0], factorial[3]]
    assert visitor.link["compared"] == ",".join(order)
    assert visitor.selectbox(key="compare_baseline").value == factorial[2]
    assert visitor.dataframe[0].value.iloc[0, 0] == "dropout 0.0, seed 2"


def test_groups_are_a_line_each_and_the_link_reopens_them(visit, factorial):
    visitor = visit("compare", compared=",".join(factorial))
    visitor.multiselect(key="compare_group").set_value(["all but the seed"]).run()
    fine(visitor)
    names = [f"activation {activation}, dropout {dropout} (3 runs)"
             for activation in ("relu", "tanh") for dropout in (0.0, 0.5)]  # fmt: skip
    assert visitor.dataframe[0].value.iloc[:, 0].tolist() == names
    visitor.selectbox(key="compare_band").set_value("std").run()
    visitor.selectbox(key="compare_metric").set_value("val/loss").run()
    visitor.segmented_control(key="compare_axis").set_value("images").run()
    visitor.slider(key="compare_smoothing").set_value(0.5).run()
    assert {name: visitor.link[name] for name in ("group", "band", "metric", "axis", "smooth")} == {
        "group": "all but the seed", "band": "std", "metric": "val/loss", "axis": "images", "smooth": "0.5",
    }  # fmt: skip
    again = fine(visit("compare", **visitor.link))
    assert again.charts == visitor.charts and again.link == visitor.link
    assert again.dataframe[0].value.equals(visitor.dataframe[0].value)
    assert any("standard deviation" in caption for caption in again.captions)


def test_a_group_says_how_many_of_its_runs_its_mean_is_of(visit, make_curve):
    runs = [make_curve(half, train__seed=seed) for seed, half in enumerate((2, 3, 4))]
    (runs[1].path / "metrics.jsonl").unlink()
    last = {"step": 60, "epoch": 12, "images": 1200, "seconds": 24.0, "val/top1_error": float("inf")}
    with (runs[2].path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(last) + "\n")
    visitor = fine(visit("compare", compared=",".join(run.id for run in runs), group="all but the seed"))
    assert visitor.dataframe[0].value.iloc[:, 0].tolist() == ["all (2 of 3 runs)"]


def test_a_setting_that_no_longer_differs_leaves_the_grouping(visit, factorial):
    visitor = visit("compare", compared=",".join(factorial), group="model.activation")
    assert len(visitor.dataframe[0].value) == 2
    visitor.multiselect(key="lens_models").set_value(factorial[:3]).run()
    assert len(fine(visitor).dataframe[0].value) == 3 and "group" not in visitor.link


@pytest.mark.parametrize(
    "query",
    [{"metric": "nothing", "axis": "sideways", "smooth": "2", "group": "a,b", "band": "broad", "reach": "nan"},
     {"view": "../..", "log": "maybe", "training": "1", "smooth": "x"}],
)  # fmt: skip
def test_a_link_with_nonsense_shows_what_is_usual(visit, query):
    assert fine(visit("compare", **query)).charts == visit("compare").charts


def test_a_metric_that_is_no_error_has_no_level(visit):
    visitor = visit("compare", metric="learning_rate")
    assert len(fine(visitor).dataframe) == 2 and visitor.charts[0].startswith("learning rate along epoch")


def test_one_run_and_weights_without_history_say_what_a_view_takes(visit, make_curve, root):
    visitor = visit("compare", compared="gone", view="disagreements")
    assert visitor.multiselect(key="lens_models").value == [RELU, TANH]  # the gallery's stand in


def layout(visitor, key="compare_curves"):
    """The layout of a chart."""
    (found,) = [chart for chart in visitor.main.get("plotly_chart") if chart.proto.id.endswith(key)]
    return json.loads(found.proto.spec)["layout"]


def test_a_section_is_in_the_link_can_be_typed_and_left(visit, make_curve):
    runs = [make_curve(half, epochs=100, train__seed=half).id for half in (5, 9)]
    visitor = fine(visit("compare", compared=",".join(runs), section="epoch:20,60.5", reach=10))
    ways = visitor.dataframe[0].value
    assert layout(visitor)["xaxis"]["range"] == [20, 60.5] and visitor.link["section"] == "epoch:20,60.5"
    assert visitor.says("Epoch: 20 to 60.5 of 100")
    visitor.number_input(key="compare_from").set_value(40.0).run()
    assert layout(fine(visitor))["xaxis"]["range"] == [40, 60.5] and visitor.link["section"] == "epoch:40,60.5"
    visitor.segmented_control(key="compare_axis").set_value("seconds").run()
    assert "section" not in fine(visitor).link and "range" not in layout(visitor)["xaxis"]  # along time it is whole
    visitor.number_input(key="compare_to").set_value(0.5 * 200 / 60).run()  # in minutes
    assert fine(visitor).link["section"] == "seconds:2,100"
    assert visitor.dataframe[0].value.equals(ways)  # of the whole curves, whatever is looked at
    visitor.segmented_control(key="compare_axis").set_value("epoch").run()
    assert visitor.link["section"] == "epoch:40,60.5"
    visitor.button(key="compare_whole").click().run()
    assert "section" not in fine(visitor).link and "range" not in layout(visitor)["xaxis"]
    assert not [button for button in visitor.button if button.key == "compare_whole"]


@pytest.mark.parametrize("text", ["epoch:5,2", "epoch:nan,3", "sideways:1,2", "epoch:1", "epoch:400,500", "epoch:0,99"])
def test_a_section_that_is_none_shows_the_whole(visit, factorial, text):
    visitor = fine(visit("compare", compared=",".join(factorial[:2]), section=text))
    assert "range" not in layout(visitor)["xaxis"] and "section" not in visitor.link


def test_the_usual_level_is_one_that_the_smoothed_curves_reach(visit, make_curve):
    runs = [make_curve(3, epochs=40, spike=20, train__seed=seed).id for seed in (0, 1)]
    visitor = fine(visit("compare", compared=",".join(runs), smooth=0.9))
    assert not [text for text in visitor.dataframe[0].value["epochs"] if not text.replace(".", "").isdecimal()]


# Settings against results


def test_any_metric_and_the_way_to_an_error_stand_against_any_setting(visit, make_curve):
    runs = [make_curve(half, train__seed=seed).id for seed, half in enumerate((1, 2, 9))]
    visitor = fine(visit("compare", compared=",".join(runs), view="fields", result="reach/seconds", reach=22.5))
    assert visitor.charts[0] == "seconds to 22.5 % validation error against train.seed, a point a run"
    lines = coordinates(visitor)
    assert [one["title"] for one in lines["axes"]] == ["seed", "seconds to 22.5 % validation error"]
    assert [one["at"] for one in lines["axes"]] == [[0, 1], [0, 1]] and lines["alt"].startswith("Parallel coord")
    assert [one["name"] for one in lines["runs"]] == ["seed 0", "seed 1"]
    assert lines["runs"][1]["values"] == "seed 1, seconds to 22.5 % validation error 8"
    points = {trace["name"]: trace["y"] for trace in drawn(visitor, "compare_scatter")}
    assert points == {"seed 0": [4.0], "seed 1": [8.0]} and visitor.says("left out: seed 2")
    visitor.slider(key="compare_level_val/top1_error").set_value(45.0).run()
    assert [trace["y"] for trace in drawn(fine(visitor), "compare_scatter")] == [[2], [4], [18]]
    visitor.selectbox(key="compare_result").set_value("lowest/train/loss").run()
    visitor.selectbox(key="compare_field").set_value("model.activation").run()
    assert visitor.charts[0].startswith("training loss (nats), lowest against model.activation")
    assert drawn(fine(visitor), "compare_scatter")[1]["y"] == [pytest.approx(2 * 0.9 * 0.5 ** (10 / 2))]
    visitor.selectbox(key="compare_field").set_value("reach/epochs").run()
    assert [trace["x"] for trace in drawn(fine(visitor), "compare_scatter")] == [[1], [2], [9]]
    assert visitor.link["field"] == "reach/epochs" and visitor.link["result"] == "lowest/train/loss"
    again = fine(visit("compare", **visitor.link))
    assert again.charts == visitor.charts
    names = visitor.selectbox(key="compare_result").options
    for title in ("parameters", "images per second", "training error (%), last", "validation loss (nats), lowest"):
        assert title in names


def test_runs_of_the_same_settings_can_be_set_against_any_of_them(visit, make_curve):
    runs = [make_curve(half).id for half in (1, 2)]
    visitor = fine(visit("compare", compared=",".join(runs), view="fields", field="speed"))
    assert "Choose a setting or two" in visitor.info[0].value and coordinates(visitor) is None
    assert "model.activation" in visitor.selectbox(key="compare_field").options


def test_fields_of_one_short_name_have_axes_that_can_be_told_apart(visit, make_curve):
    runs = [make_curve(half, train__seed=half).id for half in (1, 2)]
    link = {"compared": ",".join(runs), "view": "fields", "axes": "model.init,train.init,train.seed"}
    found = coordinates(fine(visit("compare", **link)))
    assert [one["title"] for one in found["axes"]][:3] == ["model.init", "train.init", "seed"]


# Classes and disagreements


def test_errors_of_classes_are_told_as_differences_from_the_baseline(visit, answered):
    one, other = answered([0, 1]), answered([1, 2, 3], train__seed=1)
    visitor = fine(visit("compare", compared=f"{one.id},{other.id}", view="classes"))
    (found,) = (frame.value for frame in visitor.dataframe)
    true = one.mistakes().true
    wrong = [[true[place] for place in places] for places in ([0, 1], [1, 2, 3])]
    for row in found.itertuples(index=False):
        number = ["red", "green *and* more", "blue"].index(row[0])
        base, run = (100 * labels.count(number) / true.count(number) for labels in wrong)
        assert row[1] == pytest.approx(base) and row[2] == pytest.approx(run - base)
    assert [alt.split()[0] for alt in visitor.charts] == ["Validation", "Confusions"]


def test_where_two_runs_part_is_counted_and_shown(visit, answered):
    one, other = answered([0, 1]), answered([1, 2, 3], train__seed=1)
    visitor = fine(visit("compare", compared=f"{one.id},{other.id}", view="disagreements"))
    assert [metric.value for metric in visitor.metric] == ["8", "2", "1", "1"]
    assert visitor.says("split as unevenly as 1 to 2") and visitor.says("p = 1")
    pictures = [image.proto.imgs[0].alt for image in visitor.main.get("image")]
    assert len(pictures) == 3 and all(", taken for " in alt for alt in pictures)
    visitor.selectbox(key="compare_one").set_value(other.id).run()
    assert visitor.link["pair"] == f"{other.id},{other.id}" and "two different runs" in visitor.info[0].value
    visitor.selectbox(key="compare_another").set_value(one.id).run()
    assert [metric.value for metric in visitor.metric] == ["8", "1", "2", "1"]
    again = visit("compare", **visitor.link)
    assert [metric.value for metric in again.metric] == ["8", "1", "2", "1"]


def test_runs_validated_on_other_images_are_not_compared_image_by_image(visit, answered):
    one, other = answered([0]), answered([1], data__val_fraction=0.2)
    visitor = fine(visit("compare", compared=f"{one.id},{other.id}", view="disagreements"))
    assert "different images" in visitor.info[0].value and not visitor.metric
    visitor.segmented_control(key="compare_view").set_value("classes").run()
    assert any("Left out, as they are validated on other images" in caption for caption in fine(visitor).captions)


def test_the_gallerys_twins_part_though_their_data_are_not_here(visit):
    visitor = fine(visit("compare", view="disagreements"))
    counts = [int(metric.value) for metric in visitor.metric]
    assert sum(counts) == 1000 and counts[1] + counts[3] == 171 and counts[2] + counts[3] == 160
    assert [info.value.startswith("Their pictures cannot be shown") for info in visitor.info] == [True, True]


def test_answers_that_were_not_kept_are_computed_by_a_process_of_its_own(visit, trained, monkeypatch):
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(trained.root))
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(trained.data))
    monkeypatch.setattr(local, "QUICK_SECONDS", 600.0)  # a busy machine would take minutes
    expected, file = trained.tanh.mistakes(), trained.tanh.path / "mistakes.json"
    kept = file.read_text()
    try:
        file.write_text(json.dumps(json.loads(kept) | {"true": [], "predicted": []}))  # as an older training left it
        visitor = fine(visit("compare", compared=f"{trained.relu.id},{trained.tanh.id}", view="disagreements"))
        assert "it can be computed" in visitor.info[0].value and not visitor.metric
        visitor.button(key="answers_compute").click().run()
        answers.validations().of(trained.tanh).join(150)
        visitor.run()
        assert sum(int(metric.value) for metric in fine(visitor).metric) == 12
        assert answers.of(trained.tanh, single=True).predicted == expected.predicted
    finally:
        file.write_text(kept)


def test_what_cannot_be_computed_says_why(visit, make_run, monkeypatch):
    monkeypatch.setattr(answers.Validation, "run", lambda self: setattr(self, "message", "The data set is not here."))
    one, other = make_run(), make_run(train__seed=1)
    visitor = visit("compare", compared=f"{one.id},{other.id}", view="disagreements")
    visitor.button(key="answers_compute").click().run()
    for run in (one, other):
        answers.validations().of(run).join(10)
    visitor.run()
    assert visitor.complaints == ["seed 0: The data set is not here.", "seed 1: The data set is not here."]
    assert visitor.button(key="answers_compute")


def test_of_many_runs_the_button_has_their_number(visit, factorial):
    visitor = fine(visit("compare", compared=",".join(factorial), view="classes"))
    assert visitor.button(key="answers_compute").label == "Compute for 12 runs"


def test_a_computation_is_stopped_by_its_button(visit, make_run, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(answers.Validation, "run", lambda self: ended.wait(30))
    monkeypatch.setattr(answers.Validation, "stop", lambda self: ended.set())
    one, other = make_run(), make_run(train__seed=1)
    visitor = visit("compare", compared=f"{one.id},{other.id}", view="classes")
    visitor.button(key="answers_compute").click().run()
    visitor.button(key="answers_stop").click().run()
    assert ended.is_set()
    answers.validations().of(one).join(10)
    assert fine(visitor.run()).button(key="answers_compute")


# Side by side


def test_of_many_networks_four_stand_side_by_side_in_their_colours(visit, make_run):
    runs = [make_run(train__seed=seed, epochs=(3,)).id for seed in range(6)]
    visitor = fine(visit("compare", compared=",".join(runs), view="networks"))
    assert visitor.multiselect(key="compare_beside").value == runs[:4]
    visitor.multiselect(key="compare_beside").set_value([runs[0], runs[5]]).run()
    assert fine(visitor).link["beside"] == f"{runs[0]},{runs[5]}"
    bars = [
        json.loads(chart.proto.spec)["data"][0]["marker"]["color"] for chart in visitor.main.get("plotly_chart")[:2]
    ]
    assert bars == [BASELINE_COLOUR, style_of(5)[0]]


def test_one_slider_has_the_epochs_of_all_networks_and_says_which_has_none(visit, make_run):
    one, other = make_run(epochs=(0, 1, 3)), make_run(epochs=(0, 2, 3), train__seed=1)
    visitor = fine(visit("compare", compared=f"{one.id},{other.id}", view="networks"))
    slider = visitor.select_slider(key="lens_epoch")
    assert slider.options == ["0", "1", "2", "3"]
    slider.set_value(2).run()
    assert "kept no whole network of epoch 2; it has: 0, 1, 3" in visitor.info[0].value
    titles = [text.value for text in visitor.main.markdown if text.value.startswith("**")]
    assert any(other.id[-4:] in title for title in titles)


def test_of_twins_the_filters_are_there_for_epochs_of_which_nothing_else_was_kept(visit):
    visitor = fine(visit("compare", epoch=4, view="networks"))
    assert [subheader.value for subheader in visitor.subheader] == ["Filters of conv1"]
    assert len(visitor.main.image) == 2 and sum("of epoch 4" in info.value for info in visitor.info) == 2


def test_norms_of_kernels_stand_in_the_same_bins_on_the_same_axes(visit):
    visitor = fine(visit("compare", view="networks"))
    charts = [json.loads(chart.proto.spec) for chart in visitor.main.get("plotly_chart")
              if chart.proto.alt.startswith("Histogram of the kernels' norms")]  # fmt: skip
    one, other = ((chart["data"][0]["x"], *(chart["layout"][axis]["range"] for axis in ("xaxis", "yaxis")))
                  for chart in charts)  # fmt: skip
    assert one == other


def test_statistics_stand_in_the_same_bins(visit):
    visitor = fine(visit("compare", view="networks", layer="conv3"))
    charts = [json.loads(chart.proto.spec)["data"][0] for chart in visitor.main.get("plotly_chart")
              if chart.proto.alt.startswith("Histogram of the responses")]  # fmt: skip
    assert len(charts) == 2 and charts[0]["x"] == charts[1]["x"]
