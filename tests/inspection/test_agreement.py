"""Attribution over a set: on models whose answer is known, broken off and taken up again, and written out once more."""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from alexnet_explorer.config import ConfigError
from alexnet_explorer.data.images import ImageError
from alexnet_explorer.data.samples import SAMPLES, load_sample
from alexnet_explorer.inspection import agreement as agreement_module
from alexnet_explorer.inspection.agreement import KEEP_EVERY, AgreementCache, Survey
from alexnet_explorer.inspection.agreement_tables import Agreement, MethodRows, Rows, mean_of
from alexnet_explorer.inspection.attribution import NotApplicable, attribute
from alexnet_explorer.inspection.methods import Settings
from alexnet_explorer.inspection.picture_sets import of_pictures
from alexnet_explorer.inspection.trust import reference, trust
from alexnet_explorer.model import AlexNet

pytestmark = pytest.mark.filterwarnings("ignore:Setting")

METHODS = ("saliency", "input-x-gradient", "integrated-gradients")


def noise(count, seed=0):
    rng = np.random.default_rng(seed)
    drawn = (Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(count))
    return of_pictures("noise", {f"noise-{seed}-{n}": (f"Noise {n}", image) for n, image in enumerate(drawn)})


@pytest.fixture
def cache(tmp_path):
    return AgreementCache(tmp_path / "agreement")


@pytest.fixture
def straight(wrap):
    layer = nn.Linear(768, 5, bias=False)
    nn.init.normal_(layer.weight, 0, 0.1, generator=torch.Generator().manual_seed(0))
    return wrap(nn.Sequential(nn.Flatten(), layer))


def same(one, other):
    """Whether two results are equal but for the time that was taken."""
    if one.count != other.count or list(one.methods) != list(other.methods) or (one.targets != other.targets).any():
        return False
    rows = [(one.random, other.random), (one.centre, other.centre)]
    rows += [(one.methods[key], other.methods[key]) for key in one.methods]
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
        for a, b in rows
        for name in ("deletion", "insertion", *(["cells"] if isinstance(a, MethodRows) else []))
    )


# What is known


def test_on_a_linear_model_integrated_gradients_are_input_times_gradient(straight, cache):
    found = Survey(straight, noise(6), METHODS, cache=cache).run()
    both = found.agreement("input-x-gradient", "integrated-gradients")
    assert both.value == pytest.approx(1, abs=1e-4) and both.n == 6
    a, b = (found.methods[key] for key in METHODS[1:])
    np.testing.assert_allclose(a.deletion, b.deletion, atol=1e-3)
    assert found.agreement("saliency", "integrated-gradients").value < 0.95


def test_what_finds_the_evidence_of_a_linear_model_is_the_most_faithful(straight, cache):
    """input × gradient is the evidence itself; saliency has no sign, and takes evidence against for evidence for."""
    found = Survey(straight, noise(12), ("saliency", "input-x-gradient"), cache=cache).run()
    assert found.ranking[0] == found.most_faithful == "input-x-gradient"
    assert found.over("input-x-gradient", "saliency").low > 0
    assert found.verdict.startswith("Input × gradient is the most faithful")
    level = Survey(straight, noise(12), ("input-x-gradient", "integrated-gradients"), cache=cache).run()
    assert level.most_faithful is None and "not told apart from" in level.verdict


def test_every_number_is_that_of_the_one_map_and_its_trust_figures(tiny, cache):
    loaded, pictures = tiny(), noise(3)
    found = Survey(loaded, pictures, ("saliency", "grad-cam"), cache=cache).run()
    for number in range(3):
        picture, maps = pictures.picture(number), []
        known = {kind: reference(loaded, picture, kind) for kind in ("deletion", "insertion")}
        for method in ("saliency", "grad-cam"):
            try:
                map = attribute(loaded, picture, method)
            except NotApplicable as reason:
                assert found.methods[method].reasons[number] == str(reason)
                continue
            values = trust(loaded, picture, map, figures=list(known), references=known).to_json()
            for kind in known:
                assert getattr(found.methods[method], kind)[number] == pytest.approx(values[f"{kind}_area"], rel=1e-6)
                assert getattr(found.centre, kind)[number] == pytest.approx(values[f"centre_{kind}_area"], rel=1e-6)
            maps.append(np.abs(map.map).ravel())
            assert map.target == found.targets[number]
        if len(maps) == 2:
            correlation = found.correlations["saliency", "grad-cam"][number]
            assert correlation == pytest.approx(stats.spearmanr(*maps).statistic, abs=1e-6)


def test_maps_are_compared_in_cells(tiny, cache):
    loaded, picture = tiny(input_size=96), load_sample("coffee")
    pictures = of_pictures("one", {"coffee": ("Coffee", picture)})
    found = Survey(loaded, pictures, ["saliency"], cache=cache).run()
    map = attribute(loaded, picture, "saliency").map
    np.testing.assert_allclose(
        found.methods["saliency"].cells[0], map.reshape(32, 3, 32, 3).mean((1, 3)).ravel(), rtol=1e-5
    )


def test_the_class_that_is_asked_for_is_explained(tiny, cache):
    loaded, pictures = tiny(), noise(2)
    found = Survey(loaded, pictures, ["saliency"], target=3, cache=cache).run()
    assert found.targets.tolist() == [3, 3] and found.shown == ["dog", "dog"]
    predicted = Survey(loaded, pictures, ["saliency"], cache=cache).run()
    expected = [int(loaded.model(loaded.preprocessing(pictures.picture(n))).argmax()) for n in range(2)]
    assert predicted.targets.tolist() == expected


# Reasons


def test_a_method_that_says_nothing_is_counted_with_its_reason(tiny, cache):
    found = Survey(tiny(activation="tanh"), noise(3), ("saliency", "guided-backprop"), cache=cache).run()
    rows = found.methods["guided-backprop"]
    assert all("its map is the plain gradient's" in reason for reason in rows.reasons)
    assert np.isnan(rows.deletion).all() and found.agreement("saliency", "guided-backprop").n == 0
    assert found.ranking == ["saliency", "guided-backprop"]
    row = found.method_table().rows[1]
    assert row[:3] == ["Guided backpropagation", 0, 3] and row[3] == rows.reasons[0]
    again = Survey(tiny(activation="tanh"), noise(3), ("saliency", "guided-backprop"), cache=cache).so_far()
    assert again.methods["guided-backprop"].reasons == rows.reasons


def test_a_picture_that_cannot_be_read_is_counted_too(tiny, cache):
    pictures = noise(3)

    def picture(number):
        if number == 1:
            raise ImageError("This picture is damaged.")
        return noise(3).picture(number)

    object.__setattr__(pictures, "picture", picture)
    found = Survey(tiny(), pictures, ["saliency"], cache=cache).run()
    assert found.methods["saliency"].reasons == ("", "This picture is damaged.", "")
    assert np.isnan(found.centre.deletion).tolist() == [False, True, False]
    assert found.over("saliency").n == 2 and found.picture_table().rows[1][4:] == [None] * 6


def test_what_is_not_allowed_is_said_before_the_first_picture(tiny, cache):
    with pytest.raises(ConfigError, match="method='magic'"):
        Survey(tiny(), noise(2), ["magic"], cache=cache)
    with pytest.raises(ConfigError, match="target=9"):
        Survey(tiny(), noise(2), ["saliency"], target=9, cache=cache)
    with pytest.raises(KeyError):
        Survey(tiny(), noise(2), ["grad-cam"], Settings(layer="conv9"), cache=cache)


# Broken off and taken up


class Stopped(Exception):
    pass


def stopping_at(text):
    def progress(share, under_way):
        if under_way.startswith(text):
            raise Stopped

    return progress


@pytest.mark.parametrize("where", ["picture 1 of", "picture 4 of 10: Input", f"picture {KEEP_EVERY + 2} of"])
def test_work_that_was_broken_off_ends_as_if_it_had_not_been(tiny, cache, tmp_path, where):
    loaded, pictures = tiny(), noise(KEEP_EVERY + 2)
    whole = Survey(loaded, pictures, METHODS, cache=AgreementCache(tmp_path / "other")).run()
    with pytest.raises(Stopped):
        Survey(loaded, pictures, METHODS, cache=cache).run(stopping_at(where))
    survey = Survey(loaded, pictures, METHODS, cache=cache)
    seen = int(where.split()[1]) - 1
    assert survey.so_far().count == seen
    texts = []
    assert same(survey.run(lambda share, text: texts.append(text)), whole)
    assert texts[0].startswith(f"picture {seen + 1} of")


def test_what_is_known_so_far_is_that_of_the_first_pictures(tiny, cache):
    loaded, pictures = tiny(), noise(5)
    with pytest.raises(Stopped):
        Survey(loaded, pictures, METHODS, cache=cache).run(stopping_at("picture 4"))
    partly = Survey(loaded, pictures, METHODS, cache=cache).so_far()
    few = Survey(loaded, noise(5), METHODS, cache=cache, most=3).run()
    assert partly.count == few.count == 3 and same(partly, few)


def test_nothing_known_yet_says_so(tiny, cache):
    found = Survey(tiny(), noise(2), METHODS, cache=cache).so_far()
    assert found.count == 0 and found.most_faithful is None and "No method has a map" in found.verdict
    assert [found.picture_table().rows, found.disagreement_table().rows] == [[], []]


@pytest.fixture
def maps(monkeypatch):
    """The methods whose maps were computed."""
    asked = []

    def watched(loaded, image, method, *args, **more):
        asked.append(method)
        return attribute(loaded, image, method, *args, **more)

    monkeypatch.setattr(agreement_module, "attribute", watched)
    return asked


def test_a_method_more_costs_only_its_own_maps(tiny, cache, maps):
    loaded, pictures = tiny(), noise(3)
    Survey(loaded, pictures, ["saliency"], cache=cache).run()
    Survey(loaded, pictures, ["saliency", "input-x-gradient"], cache=cache).run()
    assert maps == ["saliency"] * 3 + ["input-x-gradient"] * 3
    Survey(loaded, pictures, ["input-x-gradient", "saliency"], cache=cache).run()
    assert len(maps) == 6


@pytest.mark.parametrize("change", ["settings", "target", "pictures", "weights"])
def test_something_else_is_computed_anew(tiny, cache, maps, change):
    loaded, pictures, more = tiny(), noise(2), {}
    Survey(loaded, pictures, ["integrated-gradients"], Settings(steps=5), cache=cache).run()
    if change == "pictures":
        pictures = noise(2, seed=1)
    elif change == "weights":
        loaded.digest = "another"
    elif change == "target":
        more["target"] = 1
    settings = Settings(steps=6 if change == "settings" else 5)
    Survey(loaded, pictures, ["integrated-gradients"], settings, cache=cache, **more).run()
    assert len(maps) == 4


def test_a_setting_of_another_method_changes_nothing(tiny, cache, maps):
    loaded, pictures = tiny(), noise(2)
    Survey(loaded, pictures, ["saliency"], Settings(steps=5), cache=cache).run()
    Survey(loaded, pictures, ["saliency"], Settings(steps=6), cache=cache).run()
    assert len(maps) == 2


@pytest.mark.parametrize("damage", ["cut", "shape", "names", "kind"])
def test_a_damaged_file_is_computed_anew(tiny, cache, maps, damage):
    loaded, pictures = tiny(), noise(2)
    whole = Survey(loaded, pictures, ["saliency"], cache=cache).run()
    for path in cache.folder.iterdir():
        with np.load(path) as file:
            arrays = dict(file)
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:100])
            continue
        name = next(iter(arrays))
        if damage == "shape":
            arrays[name] = arrays[name][:1]
        elif damage == "kind":
            arrays = {name: np.full(len(array), "?") for name, array in arrays.items()}
        else:
            del arrays[name]
        np.savez(path.open("wb"), **arrays)
    assert same(Survey(loaded, pictures, ["saliency"], cache=cache).run(), whole)
    assert len(maps) == 4


def test_a_disk_that_takes_nothing_costs_only_time(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    found = Survey(tiny(), noise(2), ["saliency"], cache=AgreementCache(tmp_path / "file" / "x")).run()
    assert found.count == 2


# Told beforehand


def test_progress_rises_to_one_and_says_what_is_under_way(tiny, cache):
    heard = []
    Survey(tiny(), noise(4), METHODS, cache=cache).run(lambda share, text: heard.append((share, text)))
    shares = [share for share, _ in heard]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert ("picture 2 of 4: Input × gradient") in [text for _, text in heard]


def test_what_is_left_is_told_beforehand(tiny, cache):
    loaded, pictures = tiny(), noise(4)
    seen = []
    survey = Survey(loaded, pictures, ("saliency", "integrated-gradients"), Settings(steps=10), cache=cache)
    plan = survey.plan()
    assert (plan.pictures, plan.maps) == (4, 8) and plan.seconds > 0

    def see(module, inputs):
        if isinstance(module, AlexNet):
            seen.append(len(inputs[0]))

    with nn.modules.module.register_module_forward_pre_hook(see):
        survey.run()
    assert sum(seen) == plan.passes - 4 * (1 + 10)  # that come back
    left = Survey(loaded, pictures, ("saliency", "integrated-gradients"), Settings(steps=10), cache=cache).plan()
    assert (left.maps, left.passes, left.seconds) == (0, 0, 0)


# Statistics


def made(scores, cells=None, count=None):
    """An agreement whose methods have these scores, by method, and those of chance and the centre."""
    count = count or len(next(iter(scores.values())))
    cells = cells or {}
    rows = {
        key: MethodRows(
            np.zeros(count), np.asarray(values, float), np.asarray(cells.get(key, np.ones((count, 4))), np.float32),
            np.ones(count), tuple("" if np.isfinite(value) else "Why not." for value in values),
        )
        for key, values in scores.items() if key not in ("random", "centre")
    }  # fmt: skip
    flat = [Rows(np.zeros(count), np.asarray(scores.get(key, np.zeros(count)), float)) for key in ("random", "centre")]
    names = [str(number) for number in range(count)]
    return Agreement(rows, *flat, np.zeros(count, int), names, names, names)


def test_a_mean_has_students_interval():
    values = [0.1, 0.4, np.nan, 0.3]
    found = mean_of(values)
    expected = stats.ttest_1samp([0.1, 0.4, 0.3], 0).confidence_interval(0.95)
    assert (found.value, found.n) == (pytest.approx(0.8 / 3), 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    for few in ([0.2], [0.2, 0.2]):
        assert mean_of(few).cells() == (0.2, None, None) and not mean_of(few).above_zero
    assert mean_of([]).cells() == (None, None, None)


def test_differences_are_taken_in_each_picture():
    """Pictures differ far more than methods do, which falls out of the difference."""
    pictures = np.random.default_rng(0).normal(0, 1, 20) + 3
    wobble = np.random.default_rng(1).normal(0, 0.01, 20)
    found = made({"saliency": pictures, "occlusion": pictures + 0.1 + wobble})
    assert found.most_faithful == "occlusion"
    assert found.over("occlusion", "saliency").value == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("level", ["saliency", "random", "centre"])
def test_the_best_has_to_beat_the_others_chance_and_the_centre(level):
    rng = np.random.default_rng(0)
    scores = {"grad-cam": rng.normal(0.5, 0.1, 30), "saliency": rng.normal(0.1, 0.1, 30)}
    assert made(scores).most_faithful == "grad-cam"
    scores[level] = scores["grad-cam"] + rng.normal(0, 0.1, 30)
    assert made(scores).most_faithful is None


def test_methods_that_do_not_differ_are_seldom_told_apart():
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(400):
        named += made({key: rng.normal(0.5, 0.2, 20) for key in METHODS}).most_faithful is not None
    assert named / 400 < 0.06


def test_one_picture_names_nothing():
    found = made({"saliency": [0.9], "occlusion": [0.1]})
    assert found.most_faithful is None and found.ranking == ["saliency", "occlusion"]


def test_random_maps_do_not_correlate():
    rng = np.random.default_rng(0)
    cells = {key: rng.random((50, 256)) for key in ("saliency", "occlusion")}
    found = made({key: np.zeros(50) for key in cells}, cells).agreement("saliency", "occlusion")
    assert abs(found.value) < 0.03 and found.low < 0 < found.high and found.n == 50


def test_correlations_are_spearmans_with_ties_and_without_blank_maps():
    rng = np.random.default_rng(0)
    cells = {key: rng.integers(0, 5, (6, 40)) for key in ("saliency", "occlusion")}
    cells["saliency"][2] = 3
    cells["occlusion"][4] = 0
    found = made({key: np.zeros(6) for key in cells}, cells)
    values = found.correlations["saliency", "occlusion"]
    for number in (0, 1, 3, 5):
        expected = stats.spearmanr(cells["saliency"][number], cells["occlusion"][number]).statistic
        assert values[number] == pytest.approx(expected)
    assert np.isnan(values[[2, 4]]).all()
    assert found.agreement("saliency", "occlusion") == found.agreement("occlusion", "saliency")
    assert found.agreement("saliency", "occlusion").n == 4
    order = np.argsort(np.where(np.isnan(values), 9, values))
    assert found.worst("occlusion", "saliency") == order[:3].tolist()


def test_the_tables_come_back_from_their_csv(tiny, cache):
    pictures = of_pictures("samples", {name: (SAMPLES[name].title, load_sample(name)) for name in list(SAMPLES)[:4]})
    found = Survey(tiny(lrn=False), pictures, ("saliency", "occlusion", "grad-cam"), cache=cache).run()
    tables = [found.method_table(), found.pair_table(), found.disagreement_table(), found.picture_table()]
    for table in tables:
        head, *rows = csv.reader(io.StringIO(table.to_csv()))
        assert head == [column.title for column in table.columns] and len(set(head)) == len(head)
        assert len(rows) == len(table.rows) and all(len(row) == len(head) for row in rows)
        for row, original in zip(rows, table.rows, strict=True):
            assert row == ["" if cell is None else str(cell) for cell in original]
            for column, cell in zip(table.columns, original, strict=True):
                assert column.shown(cell)
    methods, pairs, worst, every = tables
    assert [row[0] for row in methods.rows] == [agreement_module.METHODS[key].title for key in found.ranking]
    assert len(pairs.rows) == 3 and [row[3] for row in pairs.rows] == sorted(row[3] for row in pairs.rows)
    assert {row[6] for row in worst.rows} <= set(list(SAMPLES)[:4])
    assert [row[1] for row in every.rows] == ["Coffee", "Cat", "Astronaut", "Rocket"]
