"""The app under AppTest, on folders of the test's own, and a run as a training leaves it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.launch import local
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.runs import Status, create_run, this_process
from alexnet_explorer.ui import working
from alexnet_explorer.weights import save_weights

APP = Path(__file__).parents[2] / "app.py"
CLASSES = ("red", "green *and* more", "blue")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The runs folder of the app, empty."""
    monkeypatch.setenv("ALEXNET_EXPLORER_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ALEXNET_EXPLORER_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(local.Standby, "prepare", lambda *arguments: None)  # nobody waits for curves here
    monkeypatch.setattr(working, "PATIENCE", 60)  # on a busy machine, too, short work is over when a page is drawn
    return tmp_path / "runs"


@pytest.fixture
def started(monkeypatch):
    """The ids of the runs that were started; their process is this one."""
    ids = []

    def start(run, environment, quick, standby):
        ids.append(run.id)
        run.write_status(replace(run.status(), state="queued", message="", **this_process()))

    monkeypatch.setattr(local, "start", start)
    return ids


class Visitor(AppTest):
    """A session with a few words of its own."""

    def go(self, page):
        """Choose a page in the navigation."""
        return self.switch_page(f"pages/{page}.py").run()

    def upload(self, name, data):
        """Bring a picture."""
        return self.file_uploader(key="lens_upload").set_value((name, data, "")).run()

    @property
    def link(self):
        """What stands in the address bar."""
        return dict(self.query_params)

    @property
    def charts(self):
        """The text alternatives of the charts."""
        return [chart.proto.alt for chart in self.main.get("plotly_chart")]

    @property
    def drawn(self):
        """The pictures of the page, those that can be clicked among them."""
        return [*self.main.image, *self.main.get("bidi_component")]

    @property
    def captions(self):
        """The small print of the page, as under its pictures, in the page's order."""
        return [words for element in self.main for words in _small_print(element)]

    @property
    def complaints(self):
        """The errors of the page, as a visitor reads them."""
        return [re.sub(r"\\(.)|\u2060", r"\1", error.value) for error in self.error]

    def says(self, text):
        """Whether a text of the page has these words."""
        return any(text in words for words in (*self.captions, *(e.value for e in (*self.markdown, *self.caption))))


def _small_print(element):
    """The words of a caption, or those under the pictures of a component (`sending.pack` put them there)."""
    if element.type == "caption":
        return [element.value]
    data = element.proto.bytes if element.type == "bidi_component" else b""
    head = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")]) if data else {}
    return [f"{one['title']} {one['caption']}".strip() for one in head.get("exhibits", [])]


@pytest.fixture
def served(monkeypatch):
    """A server that had a visitor before. AppTest takes every run for a server's first, which loses clicks.

    Only app.py tells Streamlit of the navigation; until then it runs what lies in pages/ alone (`frame.take_over`).
    """
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr(app_test, "PagesManager", type("PagesManagerOfAppTest", (PagesManager,), {}))


@pytest.fixture
def visit(root, served):
    """Opens the app by a link: `visit("activations", layer="relu3")`."""
    return open_app


@pytest.fixture
def visit_first(root):
    """The same, as the first visitor of a fresh server."""
    return open_app


def open_app(page="home", **query):
    """A session that begins with a link."""
    visitor = Visitor(str(APP), default_timeout=60)
    visitor.query_params.update({name: str(value) for name, value in query.items()})
    if page != "home":  # which has no address of its own
        visitor.switch_page(f"pages/{page}.py")
    visitor.run()
    assert not visitor.exception
    return visitor


@pytest.fixture
def make_run(root, small):
    """Builds a run of `small` in the runs folder as a finished training leaves it.

    Its weights are random, but for the bias of the class that it `says`; of `partial` epochs only conv1 is kept.
    """

    def build(epochs=(0, 1, 3), says=0, classes=CLASSES, partial=(), **settings):
        config = small(**settings)
        run = create_run(config, root)
        model = AlexNet(config.model)
        shades = torch.full((config.model.in_channels, 1, 1), 127.5)
        size = config.model.input_size
        for epoch in epochs:
            initialise(model, seed=epoch)
            list(model.parameters())[-1].data[says] = 100.0
            file = run.path / "checkpoints" / f"epoch-{epoch:05d}.safetensors"
            layers = ("conv1",) if epoch in partial else ()
            save_weights(file, model, Preprocessing(size, size, shades, shades), classes, config, layers=layers)
        rows = [
            f'{{"step": {n}, "epoch": {n / 5}, "seconds": {n}, "train/loss": {3 / n}, "train/top1_error": {1 / n}}}\n'
            f'{{"step": {n}, "epoch": {n / 5}, "seconds": {n}, "val/loss": {4 / n}, "val/top1_error": {1 / n}, '
            f'"epoch/train_loss": {3 / n}, "epoch/train_top1_error": {1 / n}}}\n'
            for n in range(1, 16)
        ]
        (run.path / "metrics.jsonl").write_text("".join(rows))
        summary = {"val/top1_error": 1 / 15, "test/top1_error": 0.25}
        run.write_status(replace(Status(), state="done", epoch=3.0, epochs=3, summary=summary))
        return run

    return build
