"""Predict: how many classes, what was seen, the ten crops, what a sample shows, many pictures, ways to bring one."""

import csv
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from alexnet_explorer.data.samples import SAMPLES
from alexnet_explorer.inspection.predict import PLACES, Prediction, Row, predict
from alexnet_explorer.onnx_import import read_onnx
from alexnet_explorer.runs import GALLERY, Run
from alexnet_explorer.ui import many_pictures, pictures, prediction_views, weights_controls, working
from alexnet_explorer.weights import load_weights

RELU, TANH = "alexnet-32-relu", "alexnet-32-tanh"


def png(seed=0, size=(40, 30)):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_as_many_classes_as_the_visitor_wants_and_the_link_says_so(visit):
    visitor = visit("predict", models=RELU)
    assert [len(chart.split("; ")) for chart in visitor.charts] == [5, 5] and "top" not in visitor.link
    visitor.slider(key="predict_top").set_value(8).run()
    assert not visitor.exception and visitor.link["top"] == "8"
    assert [len(chart.split("; ")) for chart in visitor.charts] == [8, 8]
    assert visit("predict", **visitor.link).charts == visitor.charts
    assert visit("predict", models=RELU, top=99).slider(key="predict_top").value == 5
    assert visitor.go("filters").go("predict").slider(key="predict_top").value == 8


def test_the_ten_crops_vote_and_are_averaged(visit):
    visitor = visit("predict", models=RELU)
    votes = [caption for caption in visitor.captions if caption.split(":")[0].split(",")[0] in PLACES]
    assert [vote.split(":")[0] for vote in votes] == [*PLACES, *(f"{place}, mirrored" for place in PLACES)]
    (said,) = (caption for caption in visitor.captions if caption.startswith("The average of the ten"))
    first = visitor.charts[1].split("; ")[0]
    label, share = re.fullmatch(r"(\w+) ([\d.]+%)", first).groups()
    assert f"says **{label}** with {share}" in said
    agreeing = sum(f": {label} " in vote for vote in votes)
    assert f"{agreeing} of the ten" in said


def test_what_was_seen_is_stated(visit):
    visitor = visit("predict", models=RELU, picture="cat")
    assert any("451×300 pixels" in caption for caption in visitor.captions)
    assert any("at 32×32 pixels" in caption for caption in visitor.captions)
    (scale,) = (caption for caption in visitor.captions if caption.startswith("What goes in"))
    assert "over the deviation" in scale and re.search(r"Grey is 0, full colour ±[\d.]+ deviations", scale)


@pytest.mark.parametrize(
    ("model", "picture", "words"),
    [
        (
            RELU,
            "cat",
            r"shows \*\*a tabby cat\*\*: the network has the class “cat”, which it gives [\d.]+%\. Its first",
        ),
        ("alexnet-64", "cat", r"the class “tabby”, .*; near that is “Persian cat” or “Egyptian cat”, .* is wrong"),
        ("alexnet-64", "coffee", r"the class “espresso”, which it gives .*guess is right"),
        (RELU, "rocket", r"None of this network's 10 classes is called that"),
    ],
)
def test_of_a_sample_it_is_said_what_it_shows(visit, model, picture, words):
    visitor = visit("predict", models=model, picture=picture)
    said = [text.value for text in visitor.markdown if text.value.startswith("This sample shows")]
    assert len(said) == 1 and re.search(words, said[0])


def test_a_network_with_kin_only_cannot_be_right():
    look = SimpleNamespace(
        picture=SimpleNamespace(name="cat", label=None),
        model=SimpleNamespace(classes=("Siamese cat", "dog"), folders=()),
    )
    said = prediction_views.truth(look, np.array([0.25, 0.75], np.float32))
    assert "it cannot be right" in said and "“Siamese cat”, which it gives 25.0%" in said


def test_nobody_knows_what_an_upload_shows(visit):
    visitor = visit("predict", models=RELU).upload("mine.png", png())
    assert not visitor.exception and not visitor.says("This sample shows")


# Many pictures


def table(visitor):
    for _ in range(20):
        if visitor.dataframe:
            return visitor.dataframe[0].value
        visitor.run()
    raise AssertionError("there is no table")


def test_the_samples_are_predicted_at_once_by_every_network(visit):
    visitor = visit("predict", models=f"{RELU},{TANH}", view="many pictures", top=2)
    found = table(visitor)
    assert not visitor.exception and len(found) == 2 * len(SAMPLES)
    assert list(found.columns) == [
        "picture", "network", "1. class", "1. probability", "2. class", "2. probability",
    ]  # fmt: skip
    loaded = load_weights(Run(GALLERY / RELU).weights_file())
    first = predict(loaded, pictures.load_sample(next(iter(SAMPLES))))[0]
    assert found["1. class"][0] == first.label
    assert found["1. probability"][0] == pytest.approx(first.probability, abs=1e-3)
    assert visitor.link["view"] == "many pictures"


def test_files_of_the_visitors_own_and_one_that_is_none(visit):
    visitor = visit("predict", models=RELU, view="many pictures")
    files = [("a.png", png(1), ""), ("b.png", b"no picture", ""), ("c.png", png(2), "")]
    visitor.file_uploader(key="predict_files").set_value(files).run()
    for _ in range(20):
        if len(table(visitor)) == 3:
            break
        visitor.run()
    found = table(visitor)
    assert list(found["picture"]) == ["a.png", "b.png", "c.png"]
    assert "not a picture of a known format" in found["1. class"][1] and np.isnan(found["1. probability"][1])
    assert any("1 rows are of pictures that could not be read" in caption for caption in visitor.captions)


def test_the_test_images_of_a_data_set_wait_for_a_click_and_are_counted(visit, packed, make_run):
    run = make_run(says=2)
    visitor = visit("predict", models=run.id, view="many pictures", pictures=packed.digest)
    assert not visitor.exception and not visitor.dataframe
    visitor.button(key="predict_many").click().run()
    found = table(visitor)
    assert len(found) == 45 and set(found["shows"]) <= {"red", "green", "blue"}
    right = int((found["shows"] == found["1. class"]).sum())
    assert any(f"names {right} of 45" in caption for caption in visitor.captions)


def test_too_much_at_a_time_is_one_sentence(visit, monkeypatch):
    monkeypatch.setattr(many_pictures, "MOST_FILES", 1)
    visitor = visit("predict", models=RELU, view="many pictures")
    visitor.file_uploader(key="predict_files").set_value([("a.png", png(1), ""), ("b.png", png(2), "")]).run()
    assert not visitor.exception
    (error,) = visitor.complaints
    assert "2 files" in error and "at most 1 files" in error


def test_the_table_as_csv():
    rows = [
        Row("a, b.png", None, "N", (Prediction("cat", 3, 0.75), Prediction("dog", 1, 0.25))),
        Row("c.png", "cat", "N", error="c.png is damaged."),
    ]
    assert list(csv.reader(io.StringIO(many_pictures.as_csv(rows, 2)))) == [
        ["picture", "shows", "network", "class 1", "probability 1", "class 2", "probability 2", "error"],
        ["a, b.png", "", "N", "cat", "0.750000", "dog", "0.250000", ""],
        ["c.png", "cat", "N", "", "", "", "", "c.png is damaged."],
    ]


# Bringing pictures, taking networks along


def test_several_files_at_once_are_kept_and_the_first_is_looked_at(visit):
    visitor = visit("predict", models=RELU)
    visitor.file_uploader(key="lens_upload").set_value([("a.png", png(1), ""), ("b.png", png(2), "")]).run()
    assert not visitor.exception
    assert visitor.selectbox(key="lens_picture").options[:2] == ["a.png", "b.png"]
    first = visitor.link["picture"]
    visitor.selectbox(key="lens_picture").select_index(1).run()
    visitor.file_uploader(key="lens_upload").set_value([("b.png", png(2), "")]).run()  # taken from the list
    assert not visitor.exception and visitor.link["picture"] != first


def test_of_more_files_than_are_kept_one_that_is_kept_is_looked_at(visit):
    visitor = visit("predict", models=RELU)
    files = [(f"{number}.png", png(number), "") for number in range(pictures.MOST_UPLOADS + 2)]
    visitor.file_uploader(key="lens_upload").set_value(files).run()
    assert not visitor.exception and not visitor.info
    shown = visitor.selectbox(key="lens_picture")
    assert shown.options[shown.index] == "2.png" and f"{pictures.MOST_UPLOADS + 1}.png" in shown.options


def test_more_or_fewer_classes_need_no_new_prediction_of_many_pictures(visit, monkeypatch):
    monkeypatch.setattr(working, "PATIENCE", 60)
    visitor = visit("predict", models=RELU)
    visitor.segmented_control(key="predict_view").set_value("many pictures").run()
    before = visitor.dataframe[0].value
    monkeypatch.setattr(many_pictures, "_begin", None)  # nobody asks for more
    visitor.slider(key="predict_top").set_value(7).run()
    after = visitor.dataframe[0].value
    assert not visitor.exception and "7. class" in after and "7. class" not in before
    assert after["1. class"].tolist() == before["1. class"].tolist()


def test_the_camera_waits_for_a_click_and_goes_off_after_a_picture(visit, monkeypatch):
    visitor = visit("predict", models=RELU)
    assert not visitor.get("camera_input")
    visitor.toggle(key="lens_camera").set_value(True).run()
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "teal").save(buffer, "JPEG")
    visitor.camera_input(key="lens_photo").set_value(("photo.jpg", buffer.getvalue(), "image/jpeg")).run()
    assert not visitor.exception and not visitor.get("camera_input")
    assert visitor.selectbox(key="lens_picture").options[0] == "Photograph"
    assert visitor.link["picture"].startswith("upload-")


def test_a_network_can_be_taken_along_and_is_the_same(visit):
    visitor = visit("predict", models=RELU)
    assert {"safetensors", "onnx"} <= {button.proto.label for button in visitor.main.get("download_button")}
    loaded = load_weights(Run(GALLERY / RELU).weights_file(), RELU)
    look = SimpleNamespace(model=loaded, epoch=None)
    assert read_onnx(weights_controls._onnx_file(look), "x").model == loaded.model.config
    assert weights_controls._weights_file(look) == Run(GALLERY / RELU).weights_file().read_bytes()


def test_crops_of_one_to_four_networks_fit_their_columns():
    for networks in range(1, 5):
        assert 72 <= prediction_views.crop_pixels(networks) <= min(128, prediction_views.column(networks) // 2)
