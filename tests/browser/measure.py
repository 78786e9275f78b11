"""How long a page takes to answer a click, and what it sends: the network of 2012 in a real Chromium.

    PYTHONPATH=. python tests/browser/measure.py [--json] [--visitors 10]

The weights are random, which costs what trained ones cost; the runs that are compared have metrics alone, of 200
epochs each, written here. A response lasts from the browser's event to the end of the page's script, with everything
drawn. Then as many visitors as asked for look at pictures of their own, and the memory of the whole server is read.
What else the machine does is told by its load.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from conftest import Server
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from test_journey import CHROMIUM, FLAGS, PATIENCE, settled

from alexnet_explorer.catalogue import imported_folder
from alexnet_explorer.config import RunConfig, preset_config
from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.model import AlexNet, initialise
from alexnet_explorer.runs import Status, create_run, list_runs
from alexnet_explorer.weights import save_weights

NAME = "alexnet-of-2012"
REPEATS = 12
COMPARED, EPOCHS, ROWS = 20, 200, 10  # runs, and of each: epochs, and rows of the training in an epoch

# Records when the visitor did something, and when the page's script came to its end.
WATCH = """
() => {
  window.told = { acted: null, ended: null, ran: false, drawn: null };
  const act = () => { window.told.acted ??= performance.now(); };
  for (const kind of ["click", "keydown", "mouseup"]) document.addEventListener(kind, act, true);
  new MutationObserver((records) => {
    // A quick script has begun and ended before this hears of it.
    if (records.some((one) => one.oldValue === "running")) window.told.ran = true;
    const state = document.querySelector('[data-testid="stApp"]').getAttribute("data-test-script-state");
    if (state === "running") window.told.ran = true;
    if (state === "notRunning" && window.told.ran) window.told.ended = performance.now();
  }).observe(document.body, { subtree: true, attributeFilter: ["data-test-script-state"], attributeOldValue: true });
  // Of a part of the page that is drawn again by itself, the state may never be seen: then what it drew last counts.
  new MutationObserver(() => { if (window.told.acted) window.told.drawn = performance.now(); })
    .observe(document.querySelector('[data-testid="stMain"]'), { subtree: true, childList: true });
}
"""

ENDED = "() => told.ended !== null || (told.drawn !== null && performance.now() - told.drawn > 2000)"


@dataclass
class Action:
    """Something a visitor does again and again on a page; `limit_ms` is what its 95th percentile is to stay under."""

    name: str
    page: str
    act: Callable[[Page, int], None]
    limit_ms: float
    query: str = ""
    times: list[float] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    def result(self) -> dict[str, float | str]:
        return {
            "action": self.name,
            "page": self.page,
            "p50_ms": round(statistics.median(self.times)),
            "p95_ms": round(float(np.percentile(self.times, 95))),
            "limit_ms": self.limit_ms,
            "sent_kB": round(max(self.sent) / 1000),
        }


def select(label: str, options: list[str]) -> Callable[[Page, int], None]:
    """Chooses the options of a box of the lens in turn."""

    def act(page: Page, turn: int) -> None:
        box = page.get_by_role("combobox", name=label).first
        box.fill(options[turn % len(options)])
        page.evaluate("window.told.acted = null")  # the choice begins with the key that makes it
        box.press("Enter")

    return act


def next_unit(page: Page, turn: int) -> None:
    page.get_by_test_id("stNumberInputStepUp").first.click()


def tile(page: Page, turn: int) -> None:
    """Clicks another tile of the page's first picture of tiles."""
    mosaic = page.get_by_role("application").first
    box = mosaic.bounding_box()
    assert box
    mosaic.click(position={"x": box["width"] * (0.1 + 0.06 * (turn % 13)), "y": box["height"] * 0.3})


def choose(label: str, options: list[str]) -> Callable[[Page, int], None]:
    """Chooses the options of a box of the page in turn."""

    def act(page: Page, turn: int) -> None:
        box = page.get_by_test_id("stMain").get_by_role("combobox", name=label).first
        box.click()
        page.evaluate("window.told.acted = null")
        page.get_by_role("option", name=options[turn % len(options)], exact=True).click()

    return act


def segment(options: list[str]) -> Callable[[Page, int], None]:
    """Clicks one after another of some choices that stand in a row."""
    return lambda page, turn: page.get_by_role("radio", name=options[turn % len(options)], exact=True).click()


def slide(label: str) -> Callable[[Page, int], None]:
    """Moves a slider by a key, to and fro."""

    def act(page: Page, turn: int) -> None:
        page.get_by_role("slider", name=label).press("ArrowLeft" if turn % 2 else "ArrowRight")

    return act


def toggle(label: str) -> Callable[[Page, int], None]:
    """Turns a switch on and off."""
    return lambda page, turn: page.get_by_test_id("stCheckbox").filter(has_text=label).click()


def zoom(page: Page, turn: int) -> None:
    """Draws over a part of the chart; every second time a double click leads back."""
    area = page.locator(".st-key-compare_curves .nsewdrag").first
    box = area.bounding_box()
    assert box
    if turn % 2:
        area.dblclick(position={"x": box["width"] / 2, "y": box["height"] / 3})
        return
    y = box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], y, steps=3)
    page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=3)
    page.evaluate("window.told.acted = null")
    page.mouse.up()


PICTURES = ["Coffee", "Rocket", "Motorcycle", "Temple", "Flower", "Cat"]
METHODS = ["Saliency", "Input × gradient", "Guided backpropagation", "Deconvolution", "Grad-CAM"]
LAYERS = ["conv1", "relu1", "pool1", "conv2", "pool2", "conv3", "conv5", "pool5"]


def actions() -> list[Action]:
    """Those that are measured: what is computed already, and what needs a forward pass."""
    return [
        Action("another unit", "activations", next_unit, 300),
        Action("a tile of the mosaic", "activations", tile, 300),
        Action("another layer", "activations", select("Layer", LAYERS), 300),
        Action("a position", "arithmetic", tile, 300, "&layer=conv1"),
        Action("another layer", "arithmetic", select("Layer", LAYERS), 300),
        Action("a kernel", "filters", tile, 300),
        Action("a kernel", "filters", next_unit, 300, "&layer=conv3"),
        Action("another method", "saliency", select("Method", METHODS), 800),
        Action("another picture", "predict", select("Picture", PICTURES), 800),
        Action("another picture", "activations", select("Picture", PICTURES), 800),
        Action("another picture", "arithmetic", select("Picture", PICTURES), 800),
        Action("another picture", "saliency", select("Picture", PICTURES), 800),
        *(
            Action(name, "compare", act, 500, query)
            for query in ("", "&group=all%20but%20the%20seed")
            for name, act in (
                ("another metric", choose("Metric", ["training error (%)", "validation loss (nats)",
                                                     "training loss (nats)", "validation error (%)"])),
                ("another axis", segment(["step", "time", "images seen", "epoch"])),
                ("more smoothing", slide("Smoothing")),
                ("a logarithmic axis", toggle("Logarithmic")),
                ("another level", slide("To reach")),
                ("another baseline", choose("Baseline", [f"tanh, dropout 0.5, seed {n}" for n in range(5)])),
                ("a zoom, and back", zoom),
            )
        ),
        Action("another result", "compare", choose("Result", ["validation loss (nats)", "validation error (%)"]), 500,
               "&view=fields"),
    ]  # fmt: skip


def measure(browser: Browser, server: Server, action: Action, repeats: int) -> None:
    """The times and bytes of one action, after two turns that count for nothing."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    received: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: received.append(len(data))))
    page.on("response", lambda response: "/media/" in response.url and received.append(len(response.body())))
    compared = ",".join(run.id for run in list_runs(server.runs, gallery=False))
    page.goto(f"{server.url}/{action.page}?models={NAME}&compared={compared}{action.query}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    settled(page)
    page.wait_for_timeout(3000)  # a fresh server draws its first page twice
    settled(page)
    page.evaluate(WATCH)
    for turn in range(-2, repeats):
        received.clear()
        page.evaluate(
            "window.told.acted = null; window.told.ended = null; window.told.ran = false; window.told.drawn = null"
        )
        action.act(page, turn)
        page.wait_for_function(ENDED)
        page.wait_for_timeout(400)  # whether it runs once more
        settled(page)
        if turn >= 0:
            action.times.append(page.evaluate("(window.told.ended ?? window.told.drawn) - window.told.acted"))
            action.sent.append(sum(received))
    page.close()


def visitors(browser: Browser, server: Server, count: int, folder: Path) -> dict[str, float]:
    """The memory of the server's processes before, and after so many visitors brought pictures of their own."""
    before = memory(server)
    most = before
    rng = np.random.default_rng(0)
    pages = []
    for number in range(count):
        file = folder / f"picture-{number}.jpg"
        Image.fromarray(rng.integers(0, 256, (900, 1200, 3), dtype=np.uint8)).save(file, quality=90)
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{server.url}/predict?models={NAME}")
        settled(page)
        page.get_by_test_id("stSidebar").locator("input[type=file]").set_input_files(file)
        pages.append(page)
    for name in ("Predict", "Filters", "Activations", "Arithmetic", "Saliency"):
        for page in pages:
            page.get_by_test_id("stTopNav").get_by_role("link", name=name, exact=True).click()
        for page in pages:
            page.wait_for_timeout(200)
            settled(page)
        most = max(most, memory(server))
    return {"visitors": count, "before_MB": before, "most_MB": most, "limit_MB": 3000}


def memory(server: Server) -> float:
    """Resident megabytes of the server and its processes."""
    root = psutil.Process(server.process.pid)
    return round(sum(process.memory_info().rss for process in (root, *root.children(recursive=True))) / 1e6)


def bring_network(runs: Path) -> None:
    """The network of 2012 with its initial weights, as a user's own file."""
    config = RunConfig(model=preset_config("alexnet", "Tiny ImageNet").model.model_copy(update={"num_classes": 1000}))
    model = AlexNet(config.model)
    initialise(model, 0)
    imported_folder(runs).mkdir(parents=True)
    middle = torch.full((3, 1, 1), 120.0)
    preprocessing = Preprocessing(256, 227, middle, torch.ones(3, 1, 1))
    classes = [f"class {number}" for number in range(1000)]
    save_weights(imported_folder(runs) / f"{NAME}.safetensors", model, preprocessing, classes, config)


def bring_runs(root: Path) -> None:
    """Runs of two activations, two dropouts and five seeds, as trainings of many epochs leave them, but for weights."""
    for number in range(COMPARED):
        seed, activation, dropout = number % 5, ("relu", "tanh")[number // 5 % 2], (0.5, 0.2)[number // 10]
        changes = {"train.seed": seed, "model.activation": activation, "model.dropout": dropout, "train.epochs": EPOCHS}
        run = create_run(preset_config("alexnet-32", "digits").with_settings(changes), root)
        rng = np.random.default_rng(number)
        rows: list[dict[str, float]] = []
        for count in range(1, EPOCHS * ROWS + 1):
            epoch = count / ROWS
            at = {"step": count, "epoch": epoch, "images": 143 * count, "seconds": (2 + 0.1 * seed) * epoch}
            error = 0.9 * float(np.exp(-epoch / (20 + 10 * (activation == "tanh")))) + 0.01
            noisy = error * float(rng.uniform(0.7, 1.3))
            gradients = {f"gradient/{layer}": noisy for layer in ("conv1", "conv2", "conv3", "conv4", "conv5")}
            rows.append({**at, "train/loss": 2 * noisy, "train/top1_error": noisy, "learning_rate": 0.01, **gradients})
            if count % ROWS == 0:
                ends = {"epoch/train_loss": 2 * error, "epoch/train_top1_error": error}
                rows.append(
                    {**at, "val/loss": 2 * noisy, "val/top1_error": noisy, "val/top5_error": 0.1 * noisy, **ends}
                )
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        names = ("val/loss", "val/top1_error", "epoch/train_loss", "epoch/train_top1_error")
        summary = {name: rows[-1][name] for name in names} | {"best/val_top1_error": 0.8 * error}
        done = replace(Status(), state="done", epoch=EPOCHS, epochs=EPOCHS, seconds=400, img_per_s=700, summary=summary)
        run.write_status(done)


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--visitors", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="", help="a page or an action, or both: compare another result")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        bring_network(folder / "runs")
        bring_runs(folder / "runs")
        server = Server(folder)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        expect.set_options(timeout=PATIENCE)
        results = []
        try:
            server.wait()
            for action in actions():
                if given.only in f"{action.page} {action.name}":
                    measure(browser, server, action, given.repeats)
                    results.append(action.result() | {"load": round(os.getloadavg()[0], 1)})
                    print(results[-1], file=sys.stderr)
            crowd = visitors(browser, server, given.visitors, folder) if given.visitors else {}
        finally:
            browser.close()
            server.end()
    if given.json:
        print(json.dumps({"results": results, "memory": crowd}))
    else:
        print(crowd)


if __name__ == "__main__":
    main()
