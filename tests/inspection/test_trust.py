"""The trust figures against models whose answer is known, against Captum's metrics, and written out once more."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import captum.metrics
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from alexnet_explorer.config import ConfigError, Layer, ModelConfig
from alexnet_explorer.data.samples import load_sample
from alexnet_explorer.inspection import trust as trust_module
from alexnet_explorer.inspection.attribution import NotApplicable, answer, ask, attribute, pool
from alexnet_explorer.inspection.methods import METHODS, Settings
from alexnet_explorer.inspection.perturbing import RANDOM_ORDERS, STEPS
from alexnet_explorer.inspection.trust import (
    NOISE_DRAWS,
    NOISE_LEVELS,
    REDRAWN,
    REDRAWN_SEED,
    Cost,
    cost,
    redrawn,
    reference,
    seconds,
    trust,
)
from alexnet_explorer.inspection.verdicts import ALL
from alexnet_explorer.model import AlexNet, initialise

# Captum announces the hooks of guided backpropagation and its like.
pytestmark = pytest.mark.filterwarnings("ignore:Setting")


class Straight(nn.Module):
    """logits = W x: one layer, of which all is known."""

    def __init__(self, weight):
        super().__init__()
        self.config = ModelConfig(bias_one=())
        self.layers = {"fc1": Layer("fc1", "fc", 1, (3, 16, 16), (len(weight),))}
        self.fc1 = nn.Linear(weight[0].numel(), len(weight))
        self.fc1.weight, self.fc1.bias = nn.Parameter(weight.flatten(1)), nn.Parameter(torch.zeros(len(weight)))

    def forward(self, x):
        return self.fc1(x.flatten(1))


@pytest.fixture
def straight(wrap):
    weight = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) / 10
    return wrap(Straight(weight))


@pytest.fixture
def corner(wrap):
    """The first class is a chequered patch of 6×4 pixels at the upper left, and nothing else."""
    weight = torch.zeros(5, 3, 16, 16)
    weight[0, :, 1:7, 2:6] = 0.06 * torch.tensor(SIGNS[1:7, 2:6])
    weight[1, :, 0, 0] = 1e-6
    return wrap(Straight(weight))


SIGNS = 1 - 2 * (np.indices((16, 16)).sum(0) % 2)  # of a chequered picture, of which a blur leaves nothing
CHEQUERED = Image.fromarray(((SIGNS > 0) * 255).astype(np.uint8)).convert("RGB")


def figure(loaded, picture, map, key, **more):
    return trust(loaded, picture, map, figures=[key], **more).figures[key]


def test_the_map_of_what_matters_beats_chance_the_centre_and_itself_elsewhere(corner):
    map = attribute(corner, CHEQUERED, "saliency", 0)
    found = trust(corner, CHEQUERED, map, figures=["deletion", "insertion"])
    assert [one.verdict for one in found.figures.values()] == ["holds", "holds"]
    values = found.to_json()
    assert values["deletion_area"] < 0.3 < 0.5 < values["random_deletion_area"]

    upside_down = replace(map, map=-map.map)
    found = trust(corner, CHEQUERED, upside_down, figures=["deletion"])
    assert found.figures["deletion"].verdict == "fails"


def test_deletion_of_the_map_of_what_matters_is_the_one_by_hand(corner):
    map = attribute(corner, CHEQUERED, "saliency", 0)
    left = np.clip(24 - np.round(np.arange(STEPS + 1) * 256 / STEPS), 0, 24)
    evidence = np.exp(left * 3 * 0.06)
    by_hand = evidence / (evidence + 4)
    curve = figure(corner, CHEQUERED, map, "deletion").curves[0]
    np.testing.assert_allclose(curve.y, by_hand, rtol=1e-5)


def test_a_random_map_does_not_hold(corner):
    map = attribute(corner, CHEQUERED, "saliency", 0)
    noise = replace(map, map=np.random.default_rng(1).random((16, 16), np.float32))
    found = trust(corner, CHEQUERED, noise, figures=["deletion", "insertion"])
    assert {one.verdict for one in found.figures.values()} <= {"doubtful", "fails"}
    values = found.to_json()
    assert values["deletion_area"] == pytest.approx(values["random_deletion_area"], abs=0.1)


def test_a_class_without_evidence_has_nothing_to_lose(corner):
    map = attribute(corner, CHEQUERED, "saliency", 1)
    assert figure(corner, CHEQUERED, map, "deletion").verdict == "says nothing"


@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-shap", "deeplift", "lrp", "kernel-shap"])
def test_what_promises_a_sum_keeps_it_on_a_linear_model(straight, method):
    image = load_sample("coffee")
    settings = Settings(noise=0.0) if method == "gradient-shap" else Settings(superpixels=12)
    map = attribute(straight, image, method, settings=settings)
    found = figure(straight, image, map, "completeness")
    assert found.verdict == "holds" and found.values["completeness_error"] < 1e-3


@pytest.mark.parametrize("method", [method.key for method in METHODS.values() if method.sums_to is None])
def test_what_promises_no_sum_has_no_error(tiny, picture, method):
    loaded = tiny()
    try:
        map = attribute(loaded, picture, method)
    except NotApplicable:
        pytest.skip("there is no map")
    found = figure(loaded, picture, map, "completeness")
    assert found.verdict == "says nothing" and METHODS[method].title in found.reading


def test_the_error_of_too_few_steps_is_found(tiny, picture):
    loaded = tiny()
    x = loaded.preprocessing(picture)
    here, there = (loaded.model(v)[0] for v in (x, torch.zeros_like(x)))
    target = int((here - there).abs().argmax())
    map = attribute(loaded, picture, "integrated-gradients", target, Settings(steps=1))
    due = float((here - there)[target])
    found = figure(loaded, picture, map, "completeness")
    assert found.values["completeness_error"] == pytest.approx(
        abs(map.values.sum() - due) / abs(due), rel=1e-3, abs=1e-6
    )


def test_the_gradient_of_a_linear_model_does_not_feel_noise(straight, picture):
    found = figure(straight, picture, attribute(straight, picture, "saliency"), "sensitivity")
    assert found.values["max_sensitivity"] == pytest.approx(0, abs=1e-6) and found.verdict == "holds"


def test_the_sensitivity_of_input_times_gradient_is_that_of_the_noise_itself(straight, picture):
    """On a linear model Φ(x) = Σ w·x over the colours, so that Φ(x + δ) − Φ(x) = Σ w·δ."""
    map = attribute(straight, picture, "input-x-gradient", 2)
    weight = straight.model.fc1.weight[2].reshape(3, 16, 16)
    generator = torch.Generator().manual_seed(0)
    changes = []
    for _ in range(NOISE_DRAWS):
        noise = (2 * torch.rand(1, 3, 16, 16, generator=generator)[0] - 1) * NOISE_LEVELS / 127.5
        changes.append(
            float((weight * noise).sum(0).norm() / (weight * straight.preprocessing(picture)[0]).sum(0).norm())
        )
    assert figure(straight, picture, map, "sensitivity").values["max_sensitivity"] == pytest.approx(
        max(changes), rel=1e-4
    )


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "grad-cam"])
def test_sensitivity_is_captums(tiny, picture, method):
    loaded = tiny()
    map = attribute(loaded, picture, method)
    question = ask(loaded, picture, method, map.target)
    generator = torch.Generator().manual_seed(0)

    def noisy(x):
        draws = [2 * torch.rand(1, 3, 16, 16, generator=generator) - 1 for _ in x]
        return x + torch.cat(draws) * NOISE_LEVELS / 127.5

    def explained(inputs):
        pictures = inputs[0] if isinstance(inputs, tuple) else inputs
        return (torch.stack([pool(answer(replace(question, x=x[None]), method), method) for x in pictures]),)

    with torch.enable_grad():
        captums = captum.metrics.sensitivity_max(explained, question.x, noisy, n_perturb_samples=NOISE_DRAWS)
    found = figure(loaded, picture, map, "sensitivity")
    assert found.values["max_sensitivity"] == pytest.approx(float(captums), rel=1e-4)


def test_the_rank_correlations_are_those_of_a_cascade_written_out(tiny, picture):
    """From the top down, the first layers as trained, the others as `initialise` draws them; by autograd alone."""
    loaded = tiny()
    fresh = AlexNet(loaded.model.config)
    initialise(fresh, REDRAWN_SEED)
    map = attribute(loaded, picture, "input-x-gradient", 3)
    found = figure(loaded, picture, map, "randomisation")

    def of(network):
        x = loaded.preprocessing(picture).requires_grad_()
        (gradient,) = torch.autograd.grad(network(x)[0, 3], x)
        return (gradient * x)[0].sum(0).detach().numpy()

    state, drawn, expected, signed = loaded.model.state_dict(), fresh.state_dict(), [1.0], [1.0]
    network = AlexNet(loaded.model.config).eval()
    original = of(loaded.model)
    for name in ("fc5", "fc4", "conv3", "conv2", "conv1"):
        state = state | {key: value for key, value in drawn.items() if key.startswith(name)}
        network.load_state_dict(state)
        expected.append(stats.spearmanr(np.abs(original), np.abs(of(network)), axis=None).statistic)
        signed.append(stats.spearmanr(original, of(network), axis=None).statistic)
    size, sign = found.curves
    assert size.x == ("as trained", "fc5", "fc4", "conv3", "conv2", "conv1")
    np.testing.assert_allclose(size.y, expected, atol=1e-3)
    np.testing.assert_allclose(sign.y, signed, atol=1e-3)


def test_the_map_of_a_linear_model_is_gone_with_its_weights(straight, picture):
    found = figure(straight, picture, attribute(straight, picture, "saliency"), "randomisation")
    assert abs(found.values["randomisation_correlation"]) < 0.15 and found.verdict == "holds"


def test_a_map_of_the_pictures_edges_is_found_out(tiny, picture, monkeypatch):
    loaded = tiny()
    map = attribute(loaded, picture, "saliency")

    def edges(question, method):
        return question.x.diff(dim=3, append=question.x[..., -1:]).abs()

    question = ask(loaded, picture, "saliency")
    monkeypatch.setattr(trust_module, "answer", edges)
    drawn = replace(map, map=pool(edges(question, "saliency"), "saliency")[0].numpy())
    found = figure(loaded, picture, drawn, "randomisation")
    assert found.values["randomisation_correlation"] == 1.0 and found.verdict == "fails"


def test_a_network_with_other_weights_of_which_there_is_no_map_has_nothing_of_it_left(tiny, picture, monkeypatch):
    loaded = tiny()
    map = attribute(loaded, picture, "grad-cam")

    def silent(question, method):
        raise NotApplicable("It speaks nowhere.")

    monkeypatch.setattr(trust_module, "answer", silent)
    found = trust(loaded, picture, map, figures=["randomisation", "sensitivity"]).figures
    assert found["randomisation"].verdict == "holds"
    assert found["randomisation"].values["randomisation_correlation"] is None
    assert set(found["randomisation"].curves[0].y[1:]) == {None}
    assert found["sensitivity"].verdict == "fails" and "It speaks nowhere." in found["sensitivity"].reading


@pytest.mark.parametrize("rounding", [0.0, 1e-9])
def test_a_map_that_is_the_same_everywhere_cannot_be_compared(tiny, picture, rounding):
    loaded = tiny()
    map = attribute(loaded, picture, "saliency")
    noise = rounding * np.random.default_rng(0).random(map.map.shape)
    found = figure(loaded, picture, replace(map, map=(0.5 + noise).astype(np.float32)), "randomisation")
    assert found.verdict == "says nothing" and "the same everywhere" in found.reading


def test_a_blank_map_has_no_size_to_change_by(tiny, picture):
    loaded = tiny()
    map = attribute(loaded, picture, "saliency")
    found = figure(loaded, picture, replace(map, map=np.zeros_like(map.map)), "sensitivity")
    assert found.verdict == "says nothing" and found.values["max_sensitivity"] is None


def test_the_networks_own_weights_stay_as_they_are(tiny, picture):
    loaded = tiny()
    before = copy.deepcopy(loaded.model.state_dict())
    own = list(loaded.model.parameters())
    trust(loaded, picture, attribute(loaded, picture, "saliency"))
    assert all(now is then for now, then in zip(loaded.model.parameters(), own, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_a_redrawn_network_begins_as_the_seed_has_it(tiny):
    loaded = tiny()
    expected = AlexNet(loaded.model.config)
    initialise(expected, 4)
    found = redrawn(loaded, 4).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.state_dict().items())


@pytest.mark.parametrize(
    "fields",
    [
        {"activation": "tanh"},
        {"activation": "sigmoid"},
        {"in_channels": 1},
        {"convolutions": (1, 2)},
        {"lrn": False, "pooling": "non-overlapping", "towers": 1},
        {"init": "2012", "bias_one": (2,)},
        {"input_size": 23},
    ],
)
def test_every_network_has_its_figures(tiny, picture, fields):
    loaded = tiny(**fields)
    found = trust(loaded, picture, attribute(loaded, picture, "saliency"))
    layers = [layer.name for layer in loaded.model.layers.values() if layer.kind in ("conv", "fc")]
    assert tuple(found.figures) == ALL
    assert found.figures["randomisation"].curves[0].x == ("as trained", *layers[::-1])
    assert all(value is None or np.isfinite(value) for value in found.to_json().values())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_figures(tiny, method):
    loaded, picture = tiny(lrn=False, pooling="non-overlapping"), load_sample("coffee")
    settings = Settings(samples=20, steps=8, superpixels=8)
    map = attribute(loaded, picture, method, settings=settings)
    found = trust(loaded, picture, map)
    assert tuple(found.figures) == ALL
    assert found.to_json()["deletion_area"] is not None


def test_a_figure_is_the_same_alone_with_all_and_with_what_is_known_already(tiny, picture):
    loaded = tiny()
    map = attribute(loaded, picture, "saliency")
    whole = trust(loaded, picture, map)
    known = {kind: reference(loaded, picture, kind) for kind in ("deletion", "insertion")}
    for key in ALL:
        assert figure(loaded, picture, map, key) == whole.figures[key]
        assert figure(loaded, picture, map, key, references=known) == whole.figures[key]


def test_a_reference_serves_every_class(tiny, picture):
    loaded = tiny()
    known = {"deletion": reference(loaded, picture, "deletion")}
    for target in range(3):
        map = attribute(loaded, picture, "saliency", target)
        assert figure(loaded, picture, map, "deletion", references=known) == figure(loaded, picture, map, "deletion")


def test_what_is_drawn_at_random_is_drawn_from_generators_of_its_own(tiny, picture):
    loaded = tiny()
    map = attribute(loaded, picture, "saliency")
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    trust(loaded, picture, map)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_visitors_at_once_get_the_figures_of_one_alone(tiny, picture):
    loaded = tiny()
    methods = ("saliency", "guided-backprop", "integrated-gradients", "grad-cam")
    maps = {method: attribute(loaded, picture, method, 0) for method in methods}
    alone = {method: trust(loaded, picture, map) for method, map in maps.items()}
    with ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            futures = {method: threads.submit(trust, loaded, picture, map) for method, map in maps.items()}
            for method, future in futures.items():
                assert future.result() == alone[method]


def test_progress_rises_to_one(tiny, picture):
    loaded = tiny()
    shares = []
    trust(loaded, picture, attribute(loaded, picture, "integrated-gradients"), shares.append)
    assert len(shares) > 50 and shares == sorted(shares) and shares[-1] == pytest.approx(1)


@pytest.mark.parametrize("key", [key for key in ALL if key != "completeness"])
def test_what_progress_raises_ends_each_figure_at_once(tiny, picture, key):
    loaded = tiny()
    map = attribute(loaded, picture, "integrated-gradients")
    heard = []

    def stop(share):
        heard.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trust(loaded, picture, map, stop, [key])
    assert len(heard) == 1 and heard[0] < 0.5


@pytest.fixture
def work(monkeypatch):
    """Counts the maps that are computed, and the pictures that a network sees besides."""
    counted = {"maps": 0, "pictures": 0, "inside": False}

    def counting(question, method):
        counted["maps"] += 1
        counted["inside"] = True
        values = answer(question, method)
        counted["inside"] = False
        return values

    def see(module, inputs):
        if isinstance(module, AlexNet) and not counted["inside"]:
            counted["pictures"] += len(inputs[0])

    monkeypatch.setattr(trust_module, "answer", counting)
    monkeypatch.setattr(trust_module, "seconds_of_pass", lambda question: (0.0, 0.0))
    with nn.modules.module.register_module_forward_pre_hook(see):
        yield counted


@pytest.mark.parametrize("key", ALL)
@pytest.mark.parametrize("known", [False, True])
def test_what_a_figure_takes_is_told_beforehand(tiny, picture, work, key, known):
    loaded = tiny()
    map = attribute(loaded, picture, "integrated-gradients")
    references = {"deletion": reference(loaded, picture, "deletion")} if known else {}
    told = cost(loaded.model, key, references)
    work |= {"maps": 0, "pictures": 0}
    trust(loaded, picture, map, figures=[key], references=references)
    assert Cost(work["maps"], work["pictures"] - 1) == told  # the one finds the class


def test_the_costs_are_what_the_figures_say(tiny):
    model = tiny().model
    assert cost(model, "randomisation") == Cost(maps=5 + REDRAWN - 1)
    assert cost(model, "deletion") == Cost(pictures=(STEPS + 1) * (5 + RANDOM_ORDERS + 1))
    assert Cost(2, 3).seconds(10, 1) == 23


def test_the_time_is_told_from_that_of_a_map_and_of_a_picture(tiny, picture, monkeypatch):
    monkeypatch.setattr(trust_module, "seconds_of_pass", lambda question: (0.5, 9.0))
    loaded = tiny()
    map = replace(attribute(loaded, picture, "saliency"), seconds=2.0)
    assert seconds(loaded, picture, map, ["sensitivity"]) == NOISE_DRAWS * 2.0
    assert seconds(loaded, picture, map, ["sensitivity", "completeness"]) == NOISE_DRAWS * 2.0 + 1.0


def test_a_figure_that_is_not_there_is_named(tiny, picture):
    loaded = tiny()
    with pytest.raises(ConfigError, match="figures='beauty': allowed are completeness, "):
        trust(loaded, picture, attribute(loaded, picture, "saliency"), figures=["beauty"])
