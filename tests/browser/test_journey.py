"""The main job in a real Chromium: open, bring a photograph, see predictions, walk every page, train, come back.

What the browser had to wait for is printed: first page, prediction, curves.
"""

import io
import json
import re
import shutil
import statistics
import time
from contextlib import contextmanager, suppress
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect, sync_playwright

from alexnet_explorer.catalogue import DEFAULT_MODEL
from alexnet_explorer.config import preset_config
from alexnet_explorer.data.samples import load_sample
from alexnet_explorer.data.sources import prepare
from alexnet_explorer.inspection.predict import predict
from alexnet_explorer.launch.queue import Queue
from alexnet_explorer.runs import create_run, list_runs, new_run
from alexnet_explorer.ui import networks

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-dev-shm-usage",
)  # fmt: skip
PATIENCE = 120_000  # milliseconds; a machine may be busy
DEMONSTRATION_PATIENCE = 1_500_000
PAGES = {"Predict": "Predict", "Filters": "Filters", "Activations": "Activations", "Arithmetic": "Arithmetic",
         "Neighbours": "Neighbours", "Saliency": "Saliency", "Train": "Train", "Runs": "Runs", "Compare": "Compare",
         "Home": "AlexNet Explorer"}  # fmt: skip
# Under a link to a page Streamlit's own script asks for these beside the page first, then at the root.
LOCAL = re.compile(r"(https?|wss?)://localhost:|data:|blob:")
PROBING = re.compile(r"/\w+/_stcore/(health|host-config)$")

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or a google-chrome on the PATH"
    ),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def tell(capsys):
    """Prints what was measured, whether the test passes or not."""

    def line(text):
        with capsys.disabled():
            print(f"\n{text}", flush=True)

    return line


@contextmanager
def visitor(browser, tmp_path, name="visitor"):
    """A browser window of its own; it fails on what the console complains of, and leaves a screenshot then.

    It also fails where the page asks anyone but this machine for anything.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    complaints, abroad = [], []
    page.on("request", lambda request: LOCAL.match(request.url) or abroad.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(
        f"{message.text} {message.location.get('url', '')}"))  # fmt: skip
    try:
        yield page
        assert abroad == []
        assert [text for text in complaints if not PROBING.search(text)] == []
    except BaseException as error:
        page.screenshot(path=tmp_path / f"{name}.png")
        error.add_note(f"screenshot: {tmp_path / name}.png; console: {complaints}")
        raise
    finally:
        context.close()


def settled(page):
    """Wait until the page is drawn, and see that nothing is wrong on it."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)


def go(page, name):
    """Click a page in the navigation."""
    page.get_by_test_id("stTopNav").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES.get(name, name))
    settled(page)


def upload(page, file):
    page.get_by_test_id("stSidebar").locator("input[type=file]").set_input_files(file)


def prediction_of(image):
    """The sentence that the page has to say of a picture."""
    best = predict(networks.load(DEFAULT_MODEL), image, 1)[0]
    return f"It says {best.label} with {best.probability:.1%}."


def photograph(folder):
    """A JPEG as phones write it: turned by 90°, with a note that says so. Gives the file and the upright picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = folder / "my coffee.jpg"
    load_sample("coffee").transpose(Image.Transpose.ROTATE_90).save(file, quality=90, exif=exif)
    return file, ImageOps.exif_transpose(Image.open(io.BytesIO(file.read_bytes())))


def test_from_the_first_page_to_a_training_and_back(browser, server, tmp_path, tell):
    file, upright = photograph(tmp_path)
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(server.url)
        expect(page.get_by_role("heading", level=1)).to_have_text(PAGES["Home"])
        tell(f"first page visible after {time.perf_counter() - server.started:.2f} s")
        settled(page)

        page.get_by_role("button", name="Flower").click()
        expect(page.get_by_text(prediction_of(load_sample("flower")))).to_be_visible()
        expect(page.locator(".js-plotly-plot").first).to_be_visible()
        settled(page)
        expected = prediction_of(upright)
        start = time.perf_counter()
        upload(page, file)
        expect(page.get_by_text(expected)).to_be_visible()
        tell(f"prediction {time.perf_counter() - start:.2f} s after the upload")
        shown = page.get_by_test_id("stSidebar").get_by_role("img", name="my coffee.jpg")
        assert shown.evaluate("image => image.decode().then(() => image.naturalWidth > image.naturalHeight)")

        for name in PAGES:
            go(page, name)
            assert "picture=upload-" in page.url
        train_stop_and_come_back(page, tell)


def train_stop_and_come_back(page, tell):
    go(page, "Train")
    curves = page.locator(".js-plotly-plot .scatterlayer path.js-line")
    start = time.perf_counter()
    page.get_by_role("button", name="Start training").click()
    expect(curves.first).to_be_attached()
    tell(f"curves visible {time.perf_counter() - start:.2f} s after the click")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(curves.first).to_be_attached()
    settled(page)
    go(page, "Runs")
    go(page, "Home")


def test_a_link_opens_its_page_on_a_fresh_server(browser, server, tmp_path):
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(f"{server.url}/activations?models=alexnet-32-relu&picture=coffee&layer=conv3&unit=5")
        expect(page.get_by_role("heading", level=1)).to_have_text("Activations")
        expect(page.get_by_text(re.compile("^conv3: 96 maps of "))).to_be_visible()
        expect(page.get_by_text(re.compile("^Unit 5 over the picture"))).to_be_visible()
        expect(page.get_by_test_id("stSidebar").get_by_role("img", name="Coffee")).to_be_visible()
        settled(page)
        assert "layer=conv3" in page.url and "picture=coffee" in page.url


def test_a_click_chooses_a_layer_and_a_click_on_its_map_a_unit(browser, server, tmp_path):
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(f"{server.url}/activations?models=alexnet-32-relu&order=as+numbered")
        page.get_by_role("button", name=re.compile("^conv3")).click()
        expect(page.get_by_text(re.compile("^conv3: 96 maps of "))).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("^conv3"))).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("combobox", name="Layer")).to_have_value(re.compile("^conv3"))
        mosaic = page.get_by_role("application", name="Mosaic of the activations of conv3")
        mosaic.click(position={"x": 5, "y": 5})  # which it is already
        mosaic.press("ArrowRight")
        mosaic.press("Enter")
        expect(page.get_by_text(re.compile("^Unit 1 over the picture"))).to_be_visible()
        settled(page)
        assert "layer=conv3" in page.url and "unit=1" in page.url


def leads(page, act, there):
    """Do something with the mouse until the link is as it should be: a page may move while it is still being drawn."""
    for _ in range(5):
        settled(page)
        page.wait_for_timeout(500)  # a chart that is drawn anew is listened to within 300 ms
        act()
        with suppress(PlaywrightTimeout):
            page.wait_for_url(there, timeout=8000)
            return
    pytest.fail(f"five times it led to {page.url}")


def test_the_line_of_an_error_is_dragged_again_and_again_by_its_middle_and_by_its_end(browser, server, tmp_path):
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(f"{server.url}/compare?compared=alexnet-32-relu,alexnet-32-tanh&reach=30")
        line = page.locator(".st-key-compare_curves .shapelayer path").first
        reach = "30"

        def in_link(url):
            return dict(parse_qsl(urlsplit(url).query)).get("reach")

        for share, up in ((0.5, 60), (0.01, -40), (0.4, -30)):
            expect(page.get_by_text(f"How long each takes to {reach} %")).to_be_visible()

            def drag(share=share, up=up):
                page.locator(".st-key-compare_curves").scroll_into_view_if_needed()
                box = line.evaluate("path => path.getBoundingClientRect().toJSON()")
                x, y = box["x"] + share * box["width"], box["y"] + box["height"] / 2
                page.mouse.move(x, y)
                page.mouse.down()
                page.mouse.move(x, y - up / 2, steps=3)
                page.mouse.move(x, y - up, steps=3)
                page.mouse.up()

            leads(page, drag, lambda url, before=reach: in_link(url) not in (None, before))
            before, reach = reach, in_link(page.url)
            assert (float(reach) > float(before)) == (up > 0)


def test_a_zoom_brings_more_points_and_a_double_click_leads_back(browser, server, tmp_path, small):
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        rows = [{"step": n, "epoch": n / 100, "seconds": n, "images": n, "train/loss": float(rng.uniform(1, 2))}
                for n in range(5000)]  # fmt: skip
        run = create_run(small(train__seed=seed), server.runs)
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(f"{server.url}/compare?compared={','.join(run.id for run in list_runs(server.runs, gallery=False))}")
        chart = page.locator(".st-key-compare_curves")

        def seen():
            """From where to where the chart goes, and the points of its first line between."""
            page.wait_for_function(
                "document.querySelector('.st-key-compare_curves .js-plotly-plot')?._fullLayout?.xaxis"
            )
            found = chart.locator(".js-plotly-plot").evaluate(
                "plot => [plot._fullLayout.xaxis.range, plot._fullLayout.yaxis.range, Array.from(plot._fullData[0].x)]"
            )
            (low, high), upright, x = found
            return low, high, upright, sum(low <= place <= high for place in x)

        def section(url):
            ends = dict(parse_qsl(urlsplit(url).query)).get("section", "")
            return [float(end) for end in ends.removeprefix("epoch:").split(",")] if ends else None

        expect(chart).to_be_visible()
        settled(page)
        chart.scroll_into_view_if_needed()
        page.wait_for_timeout(1000)  # a chart that is drawn anew is listened to within 300 ms
        *_, (bottom, top_of_all), before = seen()
        height = top_of_all - bottom
        area = chart.locator(".nsewdrag").first

        def zoom():
            box = area.bounding_box()
            left, top = box["x"] + 0.4 * box["width"], box["y"] + 0.2 * box["height"]
            page.mouse.move(left, top)
            page.mouse.down()
            page.mouse.move(left + 0.05 * box["width"], top + 0.2 * box["height"], steps=3)
            page.mouse.move(left + 0.1 * box["width"], top + 0.4 * box["height"], steps=3)
            page.mouse.up()

        leads(page, zoom, lambda url: section(url) is not None)
        expect(page.get_by_role("button", name="Show the whole")).to_be_visible()
        settled(page)
        page.wait_for_timeout(1000)
        low, high, upright, count = seen()
        assert [low, high] == pytest.approx(section(page.url)) and high - low == pytest.approx(5, rel=0.05)
        assert upright == pytest.approx([bottom + 0.4 * height, bottom + 0.8 * height], abs=0.02 * height)  # both ways
        assert count == pytest.approx(100 * (high - low), abs=2) and count > 3 * before / 10  # every point is there
        box = area.bounding_box()
        middle = {"x": box["width"] / 2, "y": box["height"] / 2}
        leads(page, lambda: area.dblclick(position=middle), lambda url: section(url) is None)
        expect(page.get_by_role("button", name="Show the whole")).to_have_count(0)


def test_a_line_of_parallel_coordinates_says_which_run_it_is_and_a_section_leaves_the_runs_that_pass(
    browser, server, tmp_path
):
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(f"{server.url}/compare?compared=alexnet-32-tanh,alexnet-32-relu&view=fields&axes=model.activation")
        chart = page.locator(".st-key-compare_parallel")
        expect(chart.locator("path.run")).to_have_count(2)
        settled(page)
        said = chart.locator(".label")
        chart.get_by_role("application").focus()
        page.keyboard.press("ArrowUp")  # the lowest error
        expect(said).to_contain_text("activation relu, validation error (%)")
        page.keyboard.press("ArrowUp")
        expect(said).to_contain_text("activation tanh")
        chart.get_by_role("application").blur()
        expect(said).to_have_text("")
        chart.scroll_into_view_if_needed()
        middle = chart.locator("path.hit").first.evaluate(
            """(line) => {
              const { left, top } = line.ownerSVGElement.getBoundingClientRect();
              const { x, y } = line.getPointAtLength(line.getTotalLength() / 2);
              return [left + x, top + y];
            }"""
        )
        page.mouse.move(*middle)
        expect(said).to_contain_text("activation tanh")

        def draw(low, high):
            chart.scroll_into_view_if_needed()
            box = chart.locator(".band").last.bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"]
            page.mouse.move(x, y - low * box["height"])
            page.mouse.down()
            page.mouse.move(x, y - high * box["height"], steps=3)
            page.mouse.up()

        draw(0.0, 0.5)
        expect(said).to_contain_text("1 of 2 runs pass there: ")
        expect(chart.locator("path.run.out")).to_have_count(1)
        page.get_by_role("combobox", name="Result", exact=True).fill("validation loss")
        page.keyboard.press("Enter")  # an axis of another title has no section
        expect(chart.locator("path.run.out")).to_have_count(0)
        draw(0.5, 1.0)
        expect(said).to_contain_text("1 of 2 runs pass there: ")
        chart.locator(".band").last.click()
        expect(chart.locator("path.run.out")).to_have_count(0)


def test_a_neighbour_can_be_clicked_or_reached_by_keys_to_go_on_from_it(browser, server, tmp_path):
    picture = re.compile(r"[?&]picture=(\w+)")
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(f"{server.url}/neighbours?models=alexnet-32-relu&picture=cat")
        row = page.get_by_role("application").nth(1)
        expect(row).to_have_attribute("aria-label", re.compile("^The picture, then its nearest: "))
        settled(page)
        seen = {"cat"}
        for act in (
            lambda: row.click(position={"x": 200, "y": 60}),
            lambda: (row.press("ArrowRight"), row.press("Enter")),
        ):
            act()
            expect(page).not_to_have_url(re.compile(f"picture=({'|'.join(seen)})"))
            settled(page)
            seen.add(picture.search(page.url)[1])
        assert len(seen) == 3


def test_two_visitors_get_their_own_predictions(browser, server, tmp_path):
    file, upright = photograph(tmp_path)
    other = tmp_path / "someone.png"
    load_sample("astronaut").save(other)
    server.wait()
    with visitor(browser, tmp_path, "first") as first, visitor(browser, tmp_path, "second") as second:
        for page in (first, second):
            page.goto(f"{server.url}/predict")
            settled(page)
        upload(first, file)
        upload(second, other)
        expect(first.get_by_text(prediction_of(upright))).to_be_visible()
        expect(second.get_by_text(prediction_of(load_sample("astronaut")))).to_be_visible()
        for page in (first, second):
            settled(page)


@pytest.mark.slow
def test_how_long_the_pages_take_while_a_run_is_trained(browser, server, tmp_path, tell):
    """Printed, as machines are noisy: the same clicks without a training and with one, in turns."""
    packed = prepare_digits(server.folder / "data")
    endless = preset_config("alexnet-32").with_settings({"train.epochs": 100_000})
    times = {"idle": [], "training": []}
    with visitor(browser, tmp_path) as page:
        server.wait()
        page.goto(server.url)
        for name in PAGES:
            go(page, name)  # what is loaded once, is loaded
        clicks(page, 3)
        for _ in range(3):
            times["idle"] += clicks(page, 8)
            run = new_run(endless, packed, server.runs)
            Queue(server.runs).add(run)
            until(run, lambda status: status.state == "running" and status.step > 1)
            times["training"] += clicks(page, 8)
            run.request_stop()
            until(run, lambda status: status.state == "stopped")
    found = {state: (statistics.median(taken), sorted(taken)[round(0.95 * len(taken)) - 1])
             for state, taken in times.items()}  # fmt: skip
    for state, (middle, high) in found.items():
        tell(f"{state}: {len(times[state])} clicks, p50 {1000 * middle:.0f} ms, p95 {1000 * high:.0f} ms")
    ratios = [trained / idle for trained, idle in zip(found["training"], found["idle"], strict=True)]
    tell(f"training / idle: p50 {ratios[0]:.2f}, p95 {ratios[1]:.2f}")


def clicks(page, rounds):
    """Seconds from each click to the whole page that it asked for: three pages, and a unit of a layer, by turns."""
    taken = []

    def click(act):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)

    def next_unit():
        unit = page.get_by_test_id("stNumberInputContainer").get_by_role("spinbutton")
        wanted = int(unit.input_value()) + 1
        page.get_by_test_id("stNumberInputStepUp").click()
        expect(page.get_by_text(re.compile(f"^Unit {wanted} over the picture"))).to_be_visible()
        settled(page)

    for _ in range(rounds):
        for name in ("Predict", "Filters", "Activations"):
            click(lambda name=name: go(page, name))
        click(next_unit)
    return taken


def test_a_map_is_chosen_among_many_and_checked(browser, server, tmp_path):
    server.wait()
    with visitor(browser, tmp_path) as page:
        page.goto(f"{server.url}/saliency?models=alexnet-32-relu&show=many")
        settled(page)
        page.get_by_role("application", name=re.compile("^Grad-CAM: ")).click()
        expect(page.get_by_text("Where the maps of a layer that raise the class's score are active")).to_be_visible()
        settled(page)
        assert "method=grad-cam" in page.url
        page.get_by_role("button", name=re.compile("Check this map: about ")).click()
        expect(page.get_by_text("Sensitivity to noise", exact=True)).to_be_visible()
        settled(page)
        expect(page.locator(".js-plotly-plot")).to_have_count(3)
        page.get_by_role("radio", name="Another class").click()
        expect(page.get_by_role("img", name=re.compile("^What matters more to "))).to_be_visible()
        settled(page)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demonstration_comes_from_one_click_to_a_verdict(browser, server, tmp_path, tell):
    server.wait()
    with visitor(browser, tmp_path) as page:
        page.goto(server.url)
        settled(page)
        go(page, "Studies")
        page.get_by_role("button", name="Try it: dropout on digits").click()
        clicked = time.perf_counter()
        first = page.get_by_text(re.compile(r"^Try it: dropout on digits: [1-9]\d* of 10 runs are done"))
        expect(first).to_be_visible(timeout=DEMONSTRATION_PATIENCE)
        tell(f"demonstration, first of ten runs: {time.perf_counter() - clicked:.0f} s after the click")
        look = page.get_by_role("button", name="Look at its runs")
        expect(look).to_be_visible(timeout=DEMONSTRATION_PATIENCE)
        tell(f"demonstration, verdict: {time.perf_counter() - clicked:.0f} s after the click; to reach, on two cores "
             "with nothing else to do: 240 s")  # fmt: skip
        expect(page.get_by_text(re.compile(r"points \(95 % interval .* n = 5\)")).first).to_be_visible()
        look.click()
        settled(page)
        expect(page.get_by_text("10 of 10 runs are done")).to_be_visible()


def prepare_digits(folder):
    """The digits, packed into the app's own data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALEXNET_EXPLORER_DATA", str(folder))
        return prepare("digits")


def until(run, there):
    end = time.monotonic() + 300
    while not there(status := run.status()):
        assert time.monotonic() < end, status
        time.sleep(0.05)
