"""The page Train: choosing, starting, watching, stopping, resuming. No training runs here: `start` is replaced."""

import io
import json
import os
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.catalogue import DEFAULT_MODEL
from alexnet_explorer.config import PRESET_NOTES, preset_config
from alexnet_explorer.data.packed import DataError, list_sets
from alexnet_explorer.launch import local
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.notes import Notes
from alexnet_explorer.runs import Run, Status, create_run, list_runs, this_process
from alexnet_explorer.ui import live, preparing, queueing, training


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Small data are ready within the click that asks for them, however slow the machine is."""
    monkeypatch.setattr(preparing, "PATIENCE", 60)


@pytest.fixture(autouse=True)
def schedulers(monkeypatch):
    """What would run in processes of their own, to start what waits."""
    commands = []

    def detach(command, log):
        commands.append(command)
        return os.getpid()

    monkeypatch.setattr(local, "detach", detach)
    return commands


@pytest.fixture
def in_state(root):
    """Builds a run in a state."""

    def build(state, **about):
        run = create_run(preset_config("alexnet-32"), root)
        working = this_process() if state in ("running", "queued") else {}
        run.write_status(Status(state=state, epochs=30, **working, **about))
        return run

    return build


def buttons(visitor):
    return {button.label: button for button in visitor.main.button}


def press(visitor, label):
    return buttons(visitor)[label].click().run()


def badge(visitor):
    """The text of the badge that says the state."""
    return next(text.value for text in visitor.main.markdown if "badge[" in text.value)


def zipped(*names):
    """A zip file with a small picture under each of the names."""
    file, buffer = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(buffer, "PNG")
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, buffer.getvalue())
    return file.getvalue()


# Choosing


def test_before_the_first_run_it_says_what_will_be_there(visit):
    visitor = visit("train")
    assert "Start training" in visitor.info[0].value
    table = visitor.dataframe[0].value
    assert table["parameters"].sum() == preset_config("alexnet-32").model.parameters()
    assert visitor.says("578,250 parameters")
    assert visitor.code[0].value == "python -m alexnet_explorer train --preset alexnet-32 --data digits"


def test_every_toggle_has_a_sentence_of_the_paper(visit):
    captions = [caption.value for caption in visit("train").caption]
    for sentence in training.PAPER.values():
        assert sentence in captions


def test_toggles_change_the_command(visit):
    visitor = visit("train")
    visitor.segmented_control(key="train_model.activation").set_value("tanh")
    visitor.toggle(key="train_model.lrn").set_value(False)
    visitor.slider(key="train_model.dropout").set_value(0.5)
    visitor.number_input(key="train_model.towers").set_value(2)
    visitor.pills(key="train_data.augmentation").set_value(["shift"]).run()
    visitor.slider(key="train_data.shift").set_value(0.2)
    visitor.number_input(key="train_train.seed").set_value(5).run()
    assert visitor.code[0].value == (
        "python -m alexnet_explorer train --preset alexnet-32 --data digits --set model.activation=tanh "
        "--set model.towers=2 --set model.lrn=false --set model.dropout=0.5 --set data.augmentation=shift "
        "--set data.shift=0.2 --seed 5"
    )


def test_another_preset_resets_the_toggles(visit):
    visitor = visit("train")
    visitor.segmented_control(key="train_model.activation").set_value("tanh").run()
    visitor.selectbox(key="train_preset").set_value("alexnet").run()
    assert visitor.segmented_control(key="train_model.activation").value == "relu"
    assert visitor.number_input(key="train_model.towers").value == 2
    assert visitor.says(PRESET_NOTES["alexnet"])
    assert not visitor.exception


def test_digits_are_not_mirrored_unless_one_says_so(visit):
    visitor = visit("train")
    assert visitor.pills(key="train_data.augmentation").value == ["crop"]
    visitor.selectbox(key="train_data").set_value("cifar10").run()
    assert visitor.pills(key="train_data.augmentation").value == ["flip", "crop"]


def test_what_was_chosen_is_there_after_a_walk_over_the_pages(visit):
    visitor = visit("train")
    visitor.segmented_control(key="train_model.activation").set_value("sigmoid").run()
    visitor.go("runs").go("train")
    assert visitor.segmented_control(key="train_model.activation").value == "sigmoid"
    assert "model.activation=sigmoid" in visitor.code[0].value


def test_towers_that_do_not_divide_are_refused_in_words(visit):
    visitor = visit("train")
    visitor.number_input(key="train_model.towers").set_value(3).run()
    assert not visitor.exception
    (error,) = visitor.error
    assert error.value.startswith("towers=3 does not divide the channels of conv1") and "1, 2, 4, 8" in error.value
    assert buttons(visitor)["Start training"].disabled
    visitor.number_input(key="train_model.towers").set_value(4).run()
    assert not visitor.error and not buttons(visitor)["Start training"].disabled


@pytest.mark.parametrize("seen", [True, False, None])
def test_a_gpu_is_offered_and_its_absence_explained(visit, monkeypatch, seen):
    monkeypatch.setattr(training, "gpu_seen", lambda: seen)
    visitor = visit("train")
    visitor.segmented_control(key="train_train.device").set_value("cuda").run()
    assert ["no CUDA GPU" in error.value for error in visitor.error] == [True] * (seen is False)
    assert buttons(visitor)["Start training"].disabled == (seen is False)


def test_a_preset_without_hidden_layers_has_no_dropout_to_set(visit):
    visitor = visit("train")
    assert not visitor.slider(key="train_model.dropout").disabled
    visitor.selectbox(key="train_preset").set_value("convnet-2012").run()
    assert visitor.slider(key="train_model.dropout").disabled


# Starting


def test_a_click_starts_the_run_that_was_chosen(visit, root, started):
    visitor = visit("train")
    visitor.segmented_control(key="train_model.activation").set_value("tanh").run()
    press(visitor, "Start training")
    (run,) = list_runs(root, gallery=False)
    assert started == [run.id] and visitor.link["run"] == run.id
    assert (run.config.model.activation, run.config.data.name) == ("tanh", "digits")
    assert run.config.data.digest == list_sets()[0].digest
    assert "starting …" in badge(visitor) and "Stop" in buttons(visitor)
    assert "alexnet\\-32 · tanh · digits" in [title.value for title in visitor.subheader]


def test_a_second_run_waits_and_a_scheduler_is_told(visit, root, started, schedulers):
    visitor = visit("train")
    assert visitor.says("It starts now")
    press(visitor, "Start training").run()
    assert visitor.says("It will be first in the queue") and schedulers == []
    press(visitor, "Start training")
    assert len(started) == 1 and visitor.link["run"] not in started
    assert "first in the queue" in badge(visitor)
    assert schedulers == [["alexnet_explorer.launch.scheduler", str(root)]]
    visitor.run()
    assert visitor.says("It will be second in the queue")


def test_data_that_cannot_be_had_are_told_and_nothing_is_lost(visit, root, started, monkeypatch):
    def prepare(source, name, progress):
        raise DataError("'cifar10' could not be downloaded: check the network connection.")

    visitor = visit("train")
    visitor.segmented_control(key="train_model.activation").set_value("tanh").run()
    visitor.selectbox(key="train_data").set_value("cifar10").run()
    with monkeypatch.context() as offline:
        offline.setattr(preparing, "prepare_by_name", lambda source, hear: prepare(source, None, hear))
        press(visitor, "Start training")
    (error,) = visitor.error
    assert "could not be downloaded: check the network" in error.value.replace("\\", "")
    assert list_runs(root, gallery=False) == [] == started
    assert visitor.segmented_control(key="train_model.activation").value == "tanh"
    visitor.selectbox(key="train_data").set_value("digits").run()
    press(visitor, "Start training")
    assert len(started) == 1 and not visitor.error


def test_a_download_goes_on_while_one_clicks_about_and_then_its_run_starts(visit, root, started, monkeypatch, pack):
    go_on = threading.Event()

    def prepare(source, name, progress):
        progress(0.4, "downloading cifar10: 68 of 170 MB")
        assert go_on.wait(60)
        return pack("cifar10")

    monkeypatch.setattr(preparing, "PATIENCE", 0.1)
    monkeypatch.setattr(preparing, "prepare_by_name", lambda source, hear: prepare(source, None, hear))
    visitor = visit("train")
    visitor.selectbox(key="train_data").set_value("cifar10").run()
    press(visitor, "Start training")
    (bar,) = visitor.main.get("progress")
    assert (bar.proto.text.replace("\\", ""), bar.proto.value) == ("downloading cifar10: 68 of 170 MB", 40)
    assert buttons(visitor)["Start training"].disabled
    visitor.go("home").go("train")
    visitor.segmented_control(key="train_model.activation").set_value("tanh").run()
    assert started == [] and list_runs(root, gallery=False) == []
    visitor.go("runs")
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "prepare cifar10":
            thread.join(60)
    (run,) = list_runs(root, gallery=False)
    assert started == [run.id]  # though the visitor looks at another page
    assert visitor.go("train").link["run"] == run.id and not buttons(visitor)["Start training"].disabled
    assert run.config.model.activation == "relu"  # as it was at the click
    assert run.config.model.num_classes == 3


def test_a_folder_that_cannot_be_written_is_told(visit, root, started):
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("a file where the runs should be")
    visitor = press(visit("train"), "Start training")
    assert not visitor.exception and "cannot be created" in visitor.error[0].value
    assert not started


def test_a_zip_of_class_folders_becomes_a_data_set(visit, root, started):
    visitor = visit("train")
    data = zipped(*(f"{animal}/{n}.png" for animal in ("cats", "dogs") for n in range(3)))
    visitor.file_uploader(key="train_zip").set_value(("pets.zip", data, "application/zip")).run()
    assert visitor.text_input(key="train_zip_name").placeholder == "pets"
    visitor.text_input(key="train_zip_name").set_value("my *pets*").run()
    press(visitor, "Add this data set")
    assert not visitor.exception and not visitor.error
    assert visitor.selectbox(key="train_data").value == "my *pets*"
    assert visitor.says("6 training and 0 test images, 40×40 pixels, 2 classes")
    press(visitor, "Start training")
    (run,) = list_runs(root, gallery=False)
    assert (run.config.data.name, run.config.model.num_classes) == ("my *pets*", 2)


def test_the_pictures_that_could_not_be_read_are_named(visit):
    visitor = visit("train")
    data = io.BytesIO(zipped(*(f"{animal}/{n}.png" for animal in ("cats", "dogs") for n in range(3))))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("dogs/letter.jpg", "Dear diary")
    assert not [fold for fold in visitor.expander if "Left out" in fold.label]
    visitor.file_uploader(key="train_zip").set_value(("pets.zip", data.getvalue(), "application/zip")).run()
    press(visitor, "Add this data set")
    (fold,) = (fold for fold in visitor.expander if "Left out" in fold.label)
    assert fold.label == "Left out: 1"
    assert fold.dataframe[0].value["file"].tolist() == ["dogs/letter.jpg"]


def test_a_zip_that_is_no_data_set_is_refused_in_words(visit):
    visitor = visit("train")
    for data, words in ((b"no zip file", "is not a zip file"), (zipped("cats/1.png"), "one class only")):
        visitor.file_uploader(key="train_zip").set_value(("pets.zip", data, "application/zip")).run()
        press(visitor, "Add this data set")
        assert not visitor.exception
        (error,) = visitor.error
        assert words in error.value.replace("\\", "")
    assert visitor.selectbox(key="train_data").value == "digits"


# Watching


def test_a_finished_run_shows_where_it_ended(visit, make_run):
    run = make_run()
    visitor = visit("train", run=run.id)
    assert "done" in badge(visitor)
    numbers = {metric.label: metric.value for metric in visitor.metric}
    assert (numbers["Validation error"], numbers["Test error"]) == ("6.7%", "25.0%")
    assert len(visitor.charts) == 2 and "validation 0.0667" in visitor.charts[1]
    assert "Stop" not in buttons(visitor) and "Resume" not in buttons(visitor)


def test_the_link_says_which_run_is_watched(visit, make_run):
    first, second = make_run(), make_run(model__activation="tanh")
    for run in (first, second):
        assert visit("train", run=run.id).link["run"] == run.id
    visitor = visit("train", run="gone")
    assert "There is no run gone" in visitor.warning[0].value
    assert visitor.link["run"] in (first.id, second.id)


def test_without_a_link_the_run_that_is_at_work_is_shown(visit, in_state):
    live = in_state("running", epoch=3.0, img_per_s=1234.0, seconds_left=42.0)
    in_state("stopped")
    visitor = visit("train")
    assert visitor.link["run"] == live.id
    assert "running" in badge(visitor)
    assert visitor.main.get("progress")[0].proto.text == "3 of 30 epochs, 42 s left"
    assert {metric.label: metric.value for metric in visitor.metric}["Images per second"] == "1,234"


def test_the_run_that_was_watched_is_there_after_a_walk_over_the_pages(visit, make_run, in_state):
    run = make_run()
    in_state("stopped")
    visitor = visit("train", run=run.id)
    assert visitor.go("home").go("train").link["run"] == run.id


def test_stop_asks_the_run_to_stop_and_says_so(visit, in_state):
    run = in_state("running")
    visitor = press(visit("train"), "Stop")
    assert run.stop_file.exists()
    assert "stopping …" in badge(visitor) and buttons(visitor)["Stop"].disabled


def test_a_click_counts_also_where_the_pace_of_drawing_changes_with_it(visit, in_state, monkeypatch):
    run = in_state("running")
    visitor = visit("train")
    paces = iter([0.5, 1.0])
    monkeypatch.setattr(live, "refresh_seconds", lambda status, place: next(paces, None))
    press(visitor, "Stop")
    assert run.stop_file.exists()


@pytest.mark.parametrize("state", ["stopped", "failed", "interrupted"])
def test_resume_starts_it_again(visit, in_state, started, state):
    run = in_state(state, message="its process ended" if state != "stopped" else "")
    visitor = press(visit("train"), "Resume")
    assert started == [run.id] and "starting …" in badge(visitor)


def test_a_run_that_was_never_started_can_be(visit, root, started):
    run = create_run(preset_config("alexnet-32"), root)
    visitor = visit("train")
    assert "not started" in badge(visitor)
    press(visitor, "Start")
    assert started == [run.id]


def test_what_stands_against_resuming_is_told(visit, in_state, started):
    run = in_state("stopped")
    with run.lease().acquire():  # as `train --resume` does, before it says so
        visitor = press(visit("train"), "Resume")
    assert visitor.complaints == [f"run {run.id} is at work already"]
    assert started == [] and not visitor.run().error


def test_a_run_is_paused_and_resumed(visit, in_state, started):
    run = in_state("running")
    visitor = press(visit("train"), "Pause")
    assert run.stop_requested() == "paused"
    assert "pausing …" in badge(visitor) and buttons(visitor)["Pause"].disabled
    run.write_status(Status(state="paused", epoch=2.0, step=7, epochs=30))
    visitor.run()
    assert {"Resume", "Stop"} <= buttons(visitor).keys() and "paused" in badge(visitor)
    press(visitor, "Resume")
    assert started == [run.id]


# The queue


@pytest.fixture
def queued(visit, root, started):
    """A visitor who started three runs, of which two wait; and their ids."""
    visitor = visit("train")
    for _ in range(3):
        press(visitor, "Start training").run()
    return visitor, list(Queue(root)._read().order)


def order(root):
    return [entry.run.id for entry in Queue(root).entries()]


def click(visitor, key):
    return visitor.button(key=key).click().run()


def test_the_queue_is_reordered_by_its_buttons(queued, root):
    visitor, (first, second, third) = queued
    assert visitor.button(key=f"queue_up_{second}").disabled and visitor.button(key=f"queue_down_{third}").disabled
    click(visitor, f"queue_up_{third}")
    assert order(root) == [first, third, second]
    click(visitor, f"queue_down_{third}")
    assert order(root) == [first, second, third]
    click(visitor, f"queue_first_{third}")
    assert order(root) == [first, third, second] and not visitor.exception


def test_another_run_of_the_queue_can_be_watched_and_paused_from_its_list(queued, root):
    visitor, (first, second, third) = queued
    assert visitor.link["run"] == third
    click(visitor, f"queue_{second}_pause")
    assert Run(root / second).status().state == "paused" and order(root) == [first, second, third]
    click(visitor, f"queue_watch_{second}")
    assert visitor.link["run"] == second and "paused" in badge(visitor)


def test_a_click_on_the_list_counts_also_where_its_pace_changes_with_it(queued, root, monkeypatch):
    visitor, (_, second, _) = queued
    paces = iter([2.0, 0.0])
    monkeypatch.setattr(queueing, "_interval", lambda entries, watched: next(paces, None))
    click(visitor, f"queue_{second}_pause")
    assert Run(root / second).status().state == "paused"


@pytest.mark.parametrize("answer", ["Move to the trash", "Keep"])
def test_a_cancelled_run_is_deleted_only_after_a_question(queued, root, answer):
    visitor, (first, second, third) = queued
    click(visitor, f"queue_{second}_cancel")
    assert order(root) == [first, third] and Run(root / second).status().state == "stopped"
    assert "can be brought back" in visitor.warning[0].value
    press(visitor, answer)
    assert Run(root / second).exists() == (answer == "Keep")
    assert not visitor.warning and not visitor.exception


def test_more_runs_at_once_start_what_waits(queued, root, started):
    visitor, ids = queued
    visitor.number_input(key="queue_at_once").set_value(2).run()
    assert started == ids[:2] and Queue(root).at_once() == 2


@pytest.mark.parametrize("page", ["home", "train"])
def test_the_first_page_of_an_app_looks_after_what_waits(visit, root, in_state, started, schedulers, page):
    in_state("running")
    waits = create_run(preset_config("alexnet-32"), root)
    visit(page)
    assert schedulers == []  # it was never queued
    (root / ".queue").mkdir()
    (root / ".queue" / "queue.json").write_text(json.dumps({"order": [waits.id], "scheduler": [2**22 + 1, 5.0]}))
    visit(page)
    assert len(schedulers) == 1 and started == []
    visit(page)
    assert len(schedulers) == 1  # it is there now


def test_settings_are_taken_over_from_a_run(visit, root, started):
    config = preset_config("alexnet-64", "digits").with_settings({"model.activation": "tanh", "train.seed": 5})
    run = create_run(config, root)
    visitor = press(visit("train"), "Clone")
    assert visitor.selectbox(key="train_preset").value == "alexnet-64"
    assert visitor.segmented_control(key="train_model.activation").value == "tanh"
    assert "--seed 5" in visitor.code[0].value and visitor.link == {**visitor.link, "run": run.id}
    assert "like" not in visitor.link
    visitor.segmented_control(key="train_model.activation").set_value("relu").run()
    assert "tanh" not in visitor.code[0].value


def test_settings_are_taken_over_with_a_change(visit, root):
    run = create_run(preset_config("alexnet-32").with_settings({"model.activation": "tanh"}), root)
    visitor = visit("train", like=run.id, **{"with": "train.learning_rate=0.0125"})
    assert "--set train.learning_rate=0.0125" in visitor.code[0].value and "tanh" in visitor.code[0].value
    assert not {"like", "with"} & visitor.link.keys()
    for wrong in ("train.learning_rate=fast", "nothing", "train.nothing=1"):
        visitor = visit("train", like=run.id, **{"with": wrong})
        assert "cannot be taken over" in visitor.complaints[0] and not visitor.exception


def test_settings_that_cannot_be_taken_over_are_told(visit, root, make_run):
    visitor = visit("train", like=make_run().id)  # of no preset
    assert "cannot be taken over" in visitor.complaints[0]
    elsewhere = create_run(preset_config("alexnet-32", "my pets"), root)
    visitor = visit("train", like=elsewhere.id)
    assert "'my pets' is not on this machine" in visitor.complaints[0]


def test_why_a_run_failed_is_told_with_its_log(visit, in_state):
    run = in_state("failed", message="the loss is not a number: lower train.learning_rate")
    (run.path / "log.txt").write_text("epoch 1/30\n" * 1000 + "Killed\n")
    visitor = visit("train")
    assert "the loss is not a number" in visitor.error[0].value.replace("\\", "")
    (log,) = (code.value for code in visitor.code if "Killed" in code.value)
    assert len(log) < 5000


def test_the_gallerys_runs_can_be_watched_but_not_trained(visit):
    visitor = visit("train", run="alexnet-32-tanh")
    assert visitor.says("ships with the project") and len(visitor.charts) == 3
    assert "Resume" not in buttons(visitor) and "Stop" not in buttons(visitor)


@pytest.mark.parametrize(("label", "title"), [("Activations", "Activations"), ("Predict", "Predict")])
def test_from_the_run_to_a_page_that_looks_into_it(visit, make_run, label, title):
    run = make_run()
    visitor = press(visit("train", run=run.id), label)
    assert not visitor.exception and visitor.title[0].value == title
    assert visitor.link["models"] == run.id


def test_compare_puts_the_run_beside_the_networks_of_the_lens(visit, make_run):
    run = make_run()
    visitor = press(visit("train", run=run.id), "Compare")
    assert visitor.title[0].value == "Compare" and visitor.link["compared"] == f"{DEFAULT_MODEL},{run.id}"


def test_there_is_nothing_to_look_into_before_weights_are_kept(visit, in_state):
    in_state("running")
    shown = buttons(visit("train"))
    assert shown["Predict"].disabled and shown["Activations"].disabled and shown["Compare"].disabled


def test_a_run_whose_config_is_damaged_leaves_the_controls(visit, in_state):
    run = in_state("stopped")
    (run.path / "config.json").write_text("{")
    visitor = visit("train", run=run.id)
    assert "config" in visitor.error[0].value and not buttons(visitor)["Start training"].disabled
    run.write_notes(Notes(name="It has a name"))
    visitor = visit("train", run=run.id)
    assert "config" in visitor.error[0].value and not visitor.exception
