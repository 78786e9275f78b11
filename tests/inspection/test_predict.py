from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_explorer.data.images import ImageError
from alexnet_explorer.inspection.evaluate import ten_crops
from alexnet_explorer.inspection.picture_sets import PictureSet
from alexnet_explorer.inspection.predict import (
    PLACES,
    network_input,
    predict,
    predict_many,
    predict_ten_crops,
    probabilities,
    seen_box,
)


def test_probabilities_are_the_softmax_of_the_logits(tiny, picture):
    loaded = tiny()
    shares = probabilities(loaded, picture)
    expected = torch.softmax(loaded.model(loaded.preprocessing(picture)), 1)[0]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)
    assert shares.dtype == np.float32 and shares.shape == (5,)


def test_predictions_come_best_first(tiny, picture):
    loaded = tiny()
    shares = probabilities(loaded, picture)
    best = predict(loaded, picture, top=3)
    assert [prediction.probability for prediction in best] == sorted(shares, reverse=True)[:3]
    for prediction in best:
        assert prediction.probability == shares[prediction.index]
        assert prediction.label == loaded.classes[prediction.index]


def test_no_more_predictions_than_classes(tiny, picture):
    assert len(predict(tiny(), picture, top=99)) == 5


def test_the_models_lock_is_held(tiny, picture, watch):
    loaded = tiny()
    held = watch(loaded)
    predict(loaded, picture)
    assert held == [True]


def test_the_ten_crops_vote_and_the_paper_averages_them(tiny, picture):
    loaded = tiny()
    loaded.preprocessing = replace(loaded.preprocessing, canvas=20)
    found = predict_ten_crops(loaded, picture)
    views = ten_crops(loaded.preprocessing, picture)
    assert np.array_equal(found.views, views) and len(found.views) == 2 * len(PLACES)
    expected = torch.softmax(loaded.model(loaded.preprocessing.normalise(views)), 1)
    np.testing.assert_allclose(found.shares, expected, rtol=1e-5)
    np.testing.assert_allclose(found.average, expected.mean(0), rtol=1e-5)
    centre = PLACES.index("centre")
    assert np.abs(found.views[centre].astype(int) - np.asarray(loaded.preprocessing.crop(picture))).max() <= 1
    assert np.array_equal(found.views[5 + centre], found.views[centre][:, ::-1])


def test_the_places_of_the_ten_crops_are_where_their_names_say(tiny):
    loaded = tiny()
    loaded.preprocessing = replace(loaded.preprocessing, canvas=32)
    quarters = np.zeros((32, 32, 3), np.uint8)
    quarters[:16, :16], quarters[:16, 16:], quarters[16:, :16], quarters[16:, 16:] = 10, 20, 30, 40
    found = predict_ten_crops(loaded, Image.fromarray(quarters))
    assert [view.mean() for view in found.views[:4]] == [10, 20, 30, 40]
    assert PLACES[:4] == ("top left", "top right", "bottom left", "bottom right")


@pytest.mark.parametrize("size", [(64, 48), (30, 90), (17, 16), (40, 40)])
@pytest.mark.parametrize("canvas", [16, 20])
def test_the_box_that_is_seen_is_the_one_that_is_cut_out(tiny, size, canvas):
    preprocessing = replace(tiny().preprocessing, canvas=canvas)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    box = seen_box(preprocessing, *size)
    cut = image.resize((16, 16), Image.Resampling.BILINEAR, box=box)
    assert np.abs(np.asarray(cut, int) - np.asarray(preprocessing.crop(image), int)).max() <= 1


def test_what_goes_in_is_the_crop_less_the_mean(tiny, picture):
    loaded = tiny()
    x = network_input(loaded, picture)
    crop = np.asarray(loaded.preprocessing.crop(picture), np.float32)
    np.testing.assert_allclose(x, (crop.transpose(2, 0, 1) - 127.5) / 127.5, atol=1e-6)


def many(count, classes=(), broken=()):
    def picture(number):
        if number in broken:
            raise ImageError(f"{number}.png is damaged.")
        return Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8))

    return PictureSet("some", "key", count, picture, lambda n: classes[n % 2] if classes else f"{n}.png", classes)


def test_many_pictures_have_a_row_for_each_network_and_one_that_is_damaged_says_so(tiny):
    networks = [tiny(seed=1), tiny(seed=2)]
    heard = []
    rows = predict_many(networks, many(20, broken=[3]), 2, lambda share, text: heard.append((share, text)))
    assert [row.picture for row in rows] == [f"{n}.png" for n in range(20) for _ in networks]
    assert heard == [(0, "0 of 20 pictures"), (0.8, "16 of 20 pictures")]
    for number, row in enumerate(rows):
        if number // 2 == 3:
            assert row.error == "3.png is damaged." and not row.predictions
            continue
        expected = predict(networks[number % 2], many(20).picture(number // 2), 2)
        assert [one.label for one in row.predictions] == [one.label for one in expected]
        assert row.predictions[0].probability == pytest.approx(expected[0].probability, rel=1e-4)


def test_of_images_of_a_data_set_the_class_is_said(tiny):
    rows = predict_many([tiny()], many(2, ("ant", "bee")), 1, lambda share, text: None)
    assert [(row.picture, row.shows) for row in rows] == [("number 0", "ant"), ("number 1", "bee")]


def test_many_pictures_can_be_stopped(tiny):
    def stop(share, text):
        if share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_many([tiny()], many(40), 1, stop)
