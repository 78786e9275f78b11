"""The live view of the page Train: numbers, curves, layers, the doctor."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from alexnet_explorer.runs import Mistake
from alexnet_explorer.ui import chosen
from alexnet_explorer.weights_file import read_layer


@pytest.fixture
def rows(make_run):
    """Builds a finished run with rows of these metrics."""

    def build(*rows, **settings):
        run = make_run(**settings)
        numbered = [{"step": n, "epoch": n / 5, "seconds": 9.0 * n, **row} for n, row in enumerate(rows, start=1)]
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in numbered))
        return run

    return build


def metrics(visitor):
    return {metric.label: metric.value for metric in visitor.metric}


def choose(visitor, view):
    return visitor.segmented_control(key="watched_view").set_value(view).run()


def test_energy_and_cost_are_estimates_from_watts_and_price(visit, make_run):
    run = make_run()
    run.write_status(replace(run.status(), seconds=36_000.0))
    visitor = visit("train", run=run.id)
    numbers = metrics(visitor)
    assert (numbers["Energy, estimated"], numbers["Cost, estimated"], numbers["Time"]) == (
        "1.00 kWh", "0.30", "10 h 00 min",
    )  # fmt: skip
    visitor.number_input(key="estimate_watts").set_value(250.0).run()
    visitor.number_input(key="estimate_price").set_value(0.2).run()
    visitor.go("home").go("train")
    numbers = metrics(visitor)
    assert (numbers["Energy, estimated"], numbers["Cost, estimated"]) == ("2.50 kWh", "0.50")


def test_how_the_curves_are_drawn_outlives_a_walk_over_the_pages(visit, make_run):
    visitor = visit("train", run=make_run().id)
    visitor.segmented_control(key="watched_axis").set_value("seconds").run()
    visitor.slider(key="watched_smoothing").set_value(0.6).run()
    visitor.toggle(key="watched_log").set_value(True).run()
    visitor.go("home").go("train")
    assert not visitor.exception
    assert visitor.segmented_control(key="watched_axis").value == "seconds"
    assert visitor.slider(key="watched_smoothing").value == 0.6
    assert visitor.toggle(key="watched_log").value is True
    figure = json.loads(visitor.main.get("plotly_chart")[0].proto.spec)
    assert figure["layout"]["xaxis"]["title"]["text"] == "time of training (s)"
    assert figure["layout"]["yaxis"]["type"] == "log" and len(figure["data"]) == 4


def test_a_run_that_waits_has_no_charts_whatever_the_scale(visit, rows):
    visitor = visit("train", run=rows().id)
    assert visitor.says("The curves come with the first steps") and not visitor.get("plotly_chart")
    visitor.toggle(key="watched_log").set_value(True).run()
    assert not visitor.exception and not visitor.get("plotly_chart")
    assert visit("train", run=rows({"train/loss": 2.0}).id).get("plotly_chart")


def test_a_set_without_test_images_has_no_test_error(visit, make_run):
    run = make_run()
    assert metrics(visit("train", run=run.id))["Test error"].endswith("%")
    status = run.status()
    kept = {name: value for name, value in status.summary.items() if not name.startswith("test/")}
    run.write_status(replace(status, summary=kept))
    assert "Test error" not in metrics(visit("train", run=run.id))


def test_the_learning_rate_is_drawn_where_it_was_noted(visit, rows):
    row = {"train/loss": 1.0, "train/top1_error": 0.5}
    visitor = visit("train", run=rows(row | {"learning_rate": 0.02}, row | {"learning_rate": 0.005}).id)
    assert "The learning rate; now 0.005, the highest 0.02" in visitor.charts
    assert metrics(visitor)["Learning rate"] == "0.005"


def test_the_layers_have_charts_with_a_sentence_on_how_to_read_them(visit, rows):
    run = rows(
        {"train/loss": 1.0, "train/top1_error": 0.5, "gradient/conv1": 0.5, "gradient/fc4": 0.25},
        {"val/loss": 1.0, "val/top1_error": 0.5, "epoch/train_loss": 1.0, "epoch/train_top1_error": 0.5,
         "saturated/tanh1": 0.125},
    )  # fmt: skip
    visitor = choose(visit("train", run=run.id), "Layers")
    assert not visitor.exception
    gradients, silent = visitor.charts
    assert gradients == "norm of the gradient of each layer; now: conv1 0.5, fc4 0.25"
    assert silent == "saturated responses (%) of each layer; now: tanh1 12.5"
    assert sum("How to read it" in caption for caption in visitor.captions) == 2


def test_a_run_that_noted_nothing_of_its_layers_says_so(visit, make_run):
    visitor = choose(visit("train", run=make_run().id), "Layers")
    assert "Nothing was noted of the layers" in visitor.info[0].value and not visitor.charts


def test_the_doctor_says_what_it_sees_and_offers_to_clone_with_a_change(visit, rows, monkeypatch):
    run = rows(
        *({"train/loss": loss, "train/top1_error": 0.5, "learning_rate": 0.5} for loss in [1.0] * 5 + [9.0] * 5),
        train__learning_rate=0.5,
    )
    visitor = visit("train", run=run.id)
    assert visitor.says("The training loss is 9") and visitor.says("*In 2012:* The rate was lowered by hand")
    offered = visitor.button(key="try_rising_train.learning_rate")
    assert offered.label == "learning rate 0.15"
    taken = []
    monkeypatch.setattr(chosen, "take_settings_of", lambda name, sets, changed: taken.append((name, changed)) or "")
    offered.click().run()
    assert taken == [(run.id, "train.learning_rate=0.15")]
    assert not visitor.exception and visitor.link["run"] == run.id


def test_a_run_that_other_code_went_on_with_says_so(visit, make_run):
    run = make_run()
    assert not visit("train", run=run.id).warning
    parts = [{"code": code, "from_step": step} for step, code in ((0, "c0de"), (7, "d1ff"))]
    (run.path / "env.json").write_text(json.dumps({"code": "d1ff", "sessions": parts}))
    (warning,) = visit("train", run=run.id).warning
    assert "computed by different code" in warning.value


def test_a_long_title_is_cut_and_its_whole_is_a_tooltip(visit, make_run):
    run = make_run(model__preset="alexnet-32")
    heading = next(heading for heading in visit("train", run=run.id).subheader if heading.proto.help)
    shown, whole = heading.value.replace("\\", ""), heading.proto.help.replace("\\", "")
    assert shown.startswith("alexnet-32 · ") and "more · colours" in shown and len(shown) <= 44
    assert "input_size 16" in whole and whole.endswith("colours")


def test_filters_are_shown_at_each_epoch_that_was_kept_on_one_scale(visit, make_run):
    run = make_run(epochs=(0, 1, 3), partial=(0, 1))
    largest = max(np.abs(read_layer(file, "conv1.weight")).max() for file in run.snapshots().values())
    visitor = choose(visit("train", run=run.id), "Filters")
    assert not visitor.exception
    slider = visitor.select_slider(key="forming_epoch")
    assert (slider.options, slider.value) == (["0", "1", "3"], 3)
    slider.set_value(1).run()
    assert any(
        caption.startswith("conv1 after epoch 1: 6 filters of 3×3 pixels") and f"±{largest:.3g}" in caption
        for caption in visitor.captions
    )
    visitor.go("home").go("train")
    assert visitor.select_slider(key="forming_epoch").value == 1


def test_the_last_epoch_is_followed_until_another_is_chosen(visit, make_run):
    run = make_run(epochs=(0, 1, 3))
    newest = run.snapshots()[3].rename(run.path / "checkpoints" / "later")
    visitor = choose(visit("train", run=run.id), "Filters")
    assert visitor.select_slider(key="forming_epoch").value == 1
    newest.rename(run.path / "checkpoints" / "epoch-00003.safetensors")
    assert visitor.run().select_slider(key="forming_epoch").value == 3


def test_a_damaged_snapshot_is_told_and_the_others_are_shown(visit, make_run):
    run = make_run(epochs=(0, 1, 3), partial=(0, 1))
    file = run.snapshots()[1]
    file.write_bytes(file.read_bytes()[:-8])  # its header is whole
    visitor = choose(visit("train", run=run.id), "Filters")
    assert not visitor.exception and "epoch-00001.safetensors" in visitor.warning[0].value.replace("\\", "")
    assert visitor.select_slider(key="forming_epoch").options == ["0", "3"]


def test_a_run_without_snapshots_says_so(visit, make_run):
    run = make_run()
    shutil.rmtree(run.path / "checkpoints")
    visitor = choose(visit("train", run=run.id), "Filters")
    assert "No filters" in visitor.info[0].value and not visitor.exception


@pytest.fixture
def mistaken(make_run, pack):
    """Builds a run with mistakes, its data set on this machine; pictures of another `seed` were never shown before."""

    def build(seed=0):
        run = make_run(data__digest=pack(seed=seed).digest)
        worst = [Mistake(3, 0, 1, 0.875, 0.03125), Mistake(7, 2, 0, 0.5, 0.25)]
        confusion = [[0, 0, 5], [0, 1, 2], [1, 1, 4], [2, 0, 1]]
        found = {"epoch": 3, "confusion": confusion, "worst": [asdict(one) for one in worst]}
        (run.path / "mistakes.json").write_text(json.dumps(found))
        return run

    return build


def test_mistakes_are_a_matrix_and_pictures_with_what_they_are_and_were_taken_for(visit, mistaken):
    visitor = choose(visit("train", run=mistaken().id), "Mistakes")
    assert not visitor.exception and not visitor.info
    assert visitor.says("Of 12 validation images 3 were taken for another class, after epoch 3")
    (matrix,) = visitor.charts
    assert matrix == ("Confusion matrix of 3 classes; most often taken: red for green *and* more (2), blue for red (1)")
    assert visitor.says("**red** 3.1%  \ntaken for **green \\*and\\* more** 87.5%")
    pictures = [image.proto.imgs[0].alt for image in visitor.main.get("image")]
    assert pictures == ["red, taken for green *and* more", "blue, taken for red"]


def test_mistakes_whose_pictures_are_not_on_this_machine_are_told(visit, mistaken, root):
    run = mistaken(seed=1)
    shutil.rmtree(root.parent / "data")
    visitor = choose(visit("train", run=run.id), "Mistakes")
    assert not visitor.exception and len(visitor.charts) == 1
    assert "Their pictures cannot be shown." in visitor.info[0].value and "not on this machine" in visitor.info[0].value


def test_a_run_that_was_not_validated_yet_has_no_mistakes(visit, make_run):
    visitor = choose(visit("train", run=make_run().id), "Mistakes")
    assert "No mistakes" in visitor.info[0].value and not visitor.charts
