"""Networks from elsewhere: torchvision's by the button, and a visitor's own file."""

import pickle
import socket
from functools import partial

import pytest

from alexnet_explorer import weights_import
from alexnet_explorer.catalogue import DEFAULT_MODEL
from alexnet_explorer.onnx_export import to_onnx
from alexnet_explorer.runs import GALLERY, Run
from alexnet_explorer.weights import load_weights

OURS = Run(GALLERY / "alexnet-32-tanh").weights_file().read_bytes()


@pytest.fixture
def closed_port():
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def add(visitor, name, data):
    """Choose a weights file, and add it."""
    visitor.file_uploader(key="own_weights").set_value((name, data, "")).run()
    return visitor.button(key="add_weights").click().run()


def test_without_a_network_the_button_says_so_and_the_app_goes_on(visit, monkeypatch, closed_port):
    url = f"http://127.0.0.1:{closed_port}/alexnet-owt-7be5be79.pth"
    monkeypatch.setattr(weights_import, "download_torchvision", partial(weights_import.download_torchvision, url=url))
    visitor = visit("predict")
    visitor.button(key="download_torchvision").click().run(timeout=10)
    assert not visitor.exception
    (error,) = visitor.complaints
    assert "could not be reached" in error and "\n" not in error
    visitor.selectbox(key="lens_picture").select("coffee").run()
    assert not visitor.exception and not visitor.error and visitor.charts


def test_a_network_of_ones_own_is_added_chosen_and_predicts(visit):
    visitor = add(visit("predict"), "My Network.safetensors", OURS)
    assert not visitor.exception and not visitor.error
    assert visitor.link["models"] == "my-network"
    assert visitor.multiselect(key="lens_models").value == ["my-network"]
    assert [message.value for message in visitor.success] and visitor.charts
    assert visitor.charts == visit("predict", models="alexnet-32-tanh", epoch=1).charts
    visitor.go("filters")
    assert not visitor.exception and visitor.main.image


class Harmful:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("notes.pth", b"no weights\n" * 20, "neither a PyTorch file"),
        ("cut.safetensors", OURS[:-1000], "damaged"),
        ("harmful.pth", pickle.dumps(Harmful(), protocol=2), "could run"),
    ],
)
def test_a_file_that_is_no_network_is_one_sentence(visit, capfd, name, data, reason):
    visitor = add(visit("predict"), name, data)
    assert not visitor.exception
    (error,) = visitor.complaints
    assert name in error and reason in error and "\n" not in error
    assert "executed" not in capfd.readouterr().out
    assert visitor.link["models"] == DEFAULT_MODEL and visitor.charts
    visitor.go("activations")
    assert not visitor.exception and not visitor.error


def test_an_onnx_file_is_added_and_says_how_its_pictures_are_prepared(visit):
    data = to_onnx(load_weights(Run(GALLERY / "alexnet-32-tanh").weights_file()))
    visitor = visit("predict")
    visitor.file_uploader(key="own_weights").set_value(("Theirs.onnx", data, "")).run()
    assert visitor.segmented_control(key="own_prepared").value == "as the file says"
    visitor.button(key="add_weights").click().run()
    assert not visitor.exception and not visitor.error
    assert visitor.link["models"] == "theirs"
    assert "The file says itself what is subtracted" in visitor.success[0].value
    assert visitor.charts == visit("predict", models="alexnet-32-tanh").charts


def test_an_onnx_file_that_is_no_alexnet_is_one_sentence(visit):
    visitor = add(visit("predict"), "notes.onnx", b"no weights\n" * 20)
    (error,) = visitor.complaints
    assert not visitor.exception and "notes.onnx is damaged, or no ONNX file" in error
