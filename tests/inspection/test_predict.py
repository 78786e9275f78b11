import numpy as np
import torch

from alexnet_explorer.inspection.predict import predict, probabilities


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
