"""A study file as someone writes it: what it makes, and what is said where it is wrong."""

import itertools
import json
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alexnet_explorer.config import ConfigError
from alexnet_explorer.inspection.readings import READINGS
from alexnet_explorer.studies.results import TITLES
from alexnet_explorer.studies.study import ReadingName, Study, parse, read, write

GOOD = """
id: relu-tanh
base: {preset: alexnet-32, data: digits, set: {data.augmentation: none, train.learning_rate: 1e-2}}
factors:
  activation:
    relu: {}
    tanh: {model.activation: tanh}
  init:
    2012: {model.init: "2012"}
    modern: {model.init: modern}
seeds: [1, 2, 3]
stop: {epochs: 5}
"""


def study(**changes):
    """The study above with other fields."""
    return parse(json.dumps(yaml.safe_load(GOOD) | changes))


def factors(count, levels=2):
    """So many factors, each with a field of its own."""
    fields = ("lrn_alpha", "lrn_beta", "lrn_k", "dropout")
    return {
        "abcd"[n]: {f"{'abcd'[n]}{level}": {f"model.{fields[n]}": 0.1 * (level + 1)} for level in range(levels)}
        for n in range(count)
    }


def levels(made):
    return [tuple(level for _, level in arm.levels) for arm in made.arms()]


def test_a_file_becomes_arms_and_each_arm_configs_that_are_paired_by_seed(tmp_path):
    (tmp_path / "study.yaml").write_text(GOOD)
    made = read(tmp_path / "study.yaml")
    assert [arm.name for arm in made.arms()] == [
        "activation relu, init 2012", "activation relu, init modern", "activation tanh, init 2012",
        "activation tanh, init modern",
    ]  # fmt: skip
    assert made.count() == 12
    relu, _, tanh, _ = made.arms()
    mine, its = made.config(relu, 2), made.config(tanh, 2)
    assert (mine.train.seed, mine.train.epochs, mine.train.learning_rate) == (2, 5, 0.01)
    assert mine.data.name == "digits" and mine.data.augmentation == ()
    assert {name for name, value in mine.flat().items() if its.flat()[name] != value} == {"model.activation"}


def test_labels_that_yaml_takes_for_numbers_or_switches_are_text():
    made = parse(
        GOOD.replace("    relu: {}\n    tanh:", "    on:\n    off:") + "headline: {init: 2012}\ncontrast: activation\n"
    )
    assert list(made.factors["activation"]) == ["on", "off"] and list(made.factors["init"]) == ["2012", "modern"]
    assert made.headline == {"init": "2012"}


@pytest.mark.parametrize(
    ("design", "found"),
    [
        ("full", list(itertools.product(["a0", "a1"], ["b0", "b1"], ["c0", "c1"]))),
        ("one-off", [("a0", "b0", "c0"), ("a1", "b0", "c0"), ("a0", "b1", "c0"), ("a0", "b0", "c1")]),
        ("one-on", [("a1", "b1", "c1"), ("a0", "b1", "c1"), ("a1", "b0", "c1"), ("a1", "b1", "c0")]),
    ],
)
def test_designs(design, found):
    assert levels(study(factors=factors(3), design=design)) == found


def test_one_off_takes_every_other_level_and_one_on_the_first_one():
    assert levels(study(factors=factors(1, levels=3), design="one-off")) == [("a0",), ("a1",), ("a2",)]
    assert levels(study(factors=factors(1, levels=3), design="one-on")) == [("a2",), ("a0",)]


@pytest.mark.parametrize("design", ["full", "one-off", "one-on"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_arms_are_counted_without_being_made(design, count):
    made = study(factors=factors(count, levels=3), design=design)
    assert made.count() == 3 * len(made.arms()) and made.epochs() == 15 * len(made.arms())


def test_a_half_fraction_is_balanced_and_its_columns_are_orthogonal():
    made = study(factors=factors(4), design="fractional", generators={"d": ["a", "b", "c"]})
    signs = [[1 if level.endswith("0") else -1 for level in arm] for arm in levels(made)]
    assert len(signs) == 8 and signs[0] == [1, 1, 1, 1]
    for one, other in itertools.combinations(zip(*signs, strict=True), 2):
        assert sum(one) == 0 and sum(a * b for a, b in zip(one, other, strict=True)) == 0


def test_contrasts_pair_arms_that_differ_in_one_factor():
    made = study(contrast="activation", headline={"init": "2012"})
    assert [(c.baseline.name, c.other.name, c.at) for c in made.contrasts()] == [
        ("activation relu, init 2012", "activation tanh, init 2012", {"init": "2012"}),
        ("activation relu, init modern", "activation tanh, init modern", {"init": "modern"}),
    ]
    assert made.contrasts()[0].name == "activation tanh against relu (init 2012)"
    assert [c.name for c in study(factors=factors(2), design="one-off").contrasts()] == [
        "a a1 against a0",
        "b b1 against b0",
    ]
    assert [c.name for c in study(factors=factors(2), design="one-on").contrasts()] == [
        "a a1 against a0",
        "b b1 against b0",
    ]
    assert study().contrasts() == []


def test_a_sweep_gives_an_arm_its_own_rate_and_runs_all_its_epochs():
    made = study(
        sweep={"values": [0.01, 0.03], "epochs": 2},
        stop={"epochs": 9, "until": {"metric": "clean/top1_error", "at": 0.3}},
        base={"preset": "alexnet-32", "set": {"train.clean_passes": 2}},
    )  # fmt: skip
    assert made.count() == 4 * (3 + 2)
    arm = made.arms()[0]
    trial, counted = made.config(arm, 1000, 0.03, epochs=2), made.config(arm, 1, 0.03)
    assert (trial.train.learning_rate, trial.train.epochs, trial.train.until) == (0.03, 2, 0)
    assert (counted.train.learning_rate, counted.train.epochs, counted.train.until) == (0.03, 9, 0.3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "../x"}, "id='../x': write small letters, digits and dashes"),
        ({"seeds": []}, "seeds: give one seed or more"),
        ({"seeds": ["one"]}, "seeds.0='one': write a whole number"),
        ({"seeds": 5}, "seeds=5: write a list"),
        ({"stop": {}}, "stop.epochs: it is missing"),
        ({"seeds": [1, 1]}, "seeds: a seed stands twice"),
        ({"design": "half"}, "design='half'.*'one-off'"),
        ({"colour": 1}, "colour=1: there is no such field"),
        ({"stop": {"epochs": 0}}, "stop.epochs=0"),
        ({"base": {"preset": "lenet"}}, "preset='lenet': allowed are alexnet"),
        ({"base": {"preset": "alexnet-32", "set": {"train.rate": 1}}}, "train.rate: there is no such field"),
        ({"base": {"preset": "alexnet-32", "set": {"train.seed": 1}}}, "train.seed is not for a factor"),
        ({"base": {"preset": "alexnet-32", "set": {"data.digest": "x"}}}, "data.digest is not for a factor"),
        ({"factors": {"a": {"x": {}}}}, "factors.a: give two levels"),
        ({"factors": {"a": {"x": {}, "y": {"model.dropout": 2}}}}, "model.dropout=2"),
        ({"factors": {"a": {"x": {}, "y": {"model.lrn": False}}, "b": {"x": {}, "y": {"model.lrn": True}}}},
         "a and b both set model.lrn"),
        ({"factors": {"a": {"x": {}, "y": {"train.learning_rate": 1}}}, "sweep": {"values": [1, 2], "epochs": 1}},
         "a and sweep both set train.learning_rate"),
        ({"factors": {}}, "give factors, or a measure.reading"),
        ({"measure": {"reading": "ten-crop"}}, "give factors, or a measure.reading"),
        ({"contrast": "colour"}, "contrast='colour': allowed are activation, init"),
        ({"headline": {"init": "old"}}, "headline.init='old'"),
        ({"contrast": "activation", "headline": {"activation": "relu"}}, "headline: it names none of the contrasts"),
        ({"design": "fractional"}, "generators belong to design=fractional"),
        ({"design": "fractional", "generators": {"x": ["activation", "init"]}}, "generators.x: there is no factor 'x'"),
        ({"design": "fractional", "generators": {"init": ["activation"]}}, "generators.init: write two factors"),
        ({"sweep": {"values": [0.1, 0.1], "epochs": 1}}, "sweep.values.*rising"),
        ({"sweep": {"values": [0.1, 0.2], "epochs": 1, "choose": "test/top1_error"}}, "sweep.choose.*test"),
        ({"sweep": {"values": [0.1, 0.2], "epochs": 1, "seeds": [3]}}, "sweep.seeds: take others"),
        ({"measure": {"metric": "accuracy"}}, "measure.metric='accuracy'"),
        ({"measure": {"metric": "test/nonsense"}}, "measure.metric='test/nonsense': .*allowed are test/top1_error, "),
        ({"measure": {"metric": "clean/top1_error"}}, "measure: clean/top1_error needs train.clean_passes.*base.set"),
        ({"measure": {"less": "clean/top1_error"}}, "measure: clean/top1_error needs train.clean_passes"),
        ({"measure": {"less": "val/loss"}}, "measure.less='val/loss': .*an error from an error"),
        ({"measure": {"metric": "val/top1_error", "to_reach": 25}}, "measure.to_reach=25: .*write 0.25 for 25 %"),
        ({"measure": {"to_reach": 0.25}}, "measure.to_reach=0.25: test/top1_error is measured once"),
        ({"measure": {"metric": "val/top1_error", "to_reach": 0.2},
          "stop": {"epochs": 3, "until": {"metric": "val/top1_error", "at": 0.3}}},
         "measure.to_reach=0.2: the runs end before, at stop.until.at=0.3"),
        ({"factors": {"a": {"x": {}, "y": {"train.clean_passes": 1}}}, "measure": {"metric": "clean/loss"}},
         r"measure: clean/loss needs train.clean_passes, at least 1, in base.set \(a x has none\)"),
        ({"design": "fractional", "factors": factors(4), "generators": {"c": ["a", "b"], "d": ["b", "a"]}},
         "generators: two factors are the product of the same others"),
        ({"claim": {"says": "x", "direction": "lower", "aspects": [{"id": "y", "says": "z"}]}},
         "claim.aspects.0: give measure and direction, or takes"),
        ({"claim": {"says": "x", "direction": "lower", "aspects": [{"id": "y", "says": "z", "takes": "much"}] * 2}},
         "claim.aspects: an id stands twice"),
        ({"claim": {"says": "x", "direction": "lower", "aspects": [
            {"id": "y", "says": "z", "measure": {"metric": "val/loss"}, "direction": "lower"}]}},
         "claim.aspects: a measure is of the contrast that stands for the study"),
        ({"stop": {"epochs": 3, "until": {"metric": "clean/top1_error", "at": 0.2}}}, "needs clean_passes"),
        ({"seeds": [1, -2]}, "train.seed=-2"),
        ({"seeds": [1, 5_000_000_000]}, "train.seed=5000000000"),
        ({"base": {"preset": "alexnet-32"}, "sweep": {"values": [0, 0.2], "epochs": 1}}, "train.learning_rate=0"),
        ({"sweep": {"field": "train.lr", "values": [0.1, 0.2], "epochs": 1}}, "train.lr: there is no such field"),
        ({"base": {"preset": "alexnet-32"}, "sweep": {"values": [0.1, 0.2], "epochs": 1, "seeds": [-5]}},
         "train.seed=-5"),
        ({"factors": {"a": {"x": {}, "y": {"model.dropout": 0.2}}}}, "the arms 'a x' and 'a y' are the same training"),
        ({"base": {"preset": "convnet-2012"}, "factors": {"a": {"x": {}, "y": {"model.dropout": 0.2}}}},
         "the arms 'a x' and 'a y' are the same training: .* has no layer for"),
        ({"factors": {"a": {"x": {}, "y": {"model.preset": "alexnet"}}}}, "model.preset is not for a factor"),
        ({"factors": {}, "measure": {"reading": "tower-colour"}}, "measure.reading: .*write model.towers: 2"),
        ({"factors": {}, "measure": {"reading": "ten-crop"}, "claim": {"says": "x", "direction": "lower", "aspects": [
            {"id": "y", "says": "z", "measure": {"metric": "val/loss"}, "direction": "lower"}]}},
         "claim.aspects: a study whose measure is a reading"),
        ({"factors": {f"f{n}": {str(level): {} for level in range(9)} for n in range(12)}},
         "that makes 847288609443 runs; allowed are 2000"),
        ({"seeds": list(range(200)), "factors": factors(4, levels=2)}, "that makes 3200 runs; allowed are 2000"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_the_field(changes, said):
    with pytest.raises(ConfigError, match=said) as caught:
        study(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id: [", "line 1"),
        ("- a\n- b", "write fields and values"),
        ("id: a\nid: b", "'id' stands twice"),
        ('{"id": 1, "id": 2}', "'id' stands twice"),
        ('{"id": "\\ud83d"}', "study: "),
        ("a: &x [1]\nb: *x", "aliases are not read"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("\x00", "write YAML or JSON"),
        ("x" * 300_000, "it has 300000 bytes"),
    ],
)
def test_what_is_no_study_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "nothing.yaml")


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
def test_any_text_is_a_study_or_a_config_error(text):
    try:
        parse(text)
    except ConfigError as error:
        assert str(error)


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(st.sampled_from(sorted(Study.model_fields)), documents)
def test_any_value_of_a_field_is_a_study_or_a_config_error(field, value):
    try:
        made = parse(json.dumps(yaml.safe_load(GOOD) | {field: value}))
    except ConfigError:
        return
    assert made.arms()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"factors": factors(4), "design": "fractional", "generators": {"d": ["a", "b", "c"]}},
        {"contrast": "activation", "headline": {"init": "2012"}, "sweep": {"values": [1e-4, 0.03], "epochs": 2},
         "claim": {"says": "Faster, 'six times': yes", "direction": "higher", "size": 6}, "budget_hours": 1.5},
    ],
)  # fmt: skip
def test_a_study_survives_being_written(changes):
    made = study(**changes)
    assert parse(write(made)) == made


def test_a_reading_needs_no_factors_and_a_contrast_of_three_levels_says_which_is_meant():
    made = study(factors={}, measure={"reading": "ten-crop"})
    assert [arm.name for arm in made.arms()] == [""] and made.count() == 3 and made.contrasts() == []
    made = study(factors=factors(1, levels=3), contrast="a", headline={"a": "a2"})
    assert [made.is_headline(contrast) for contrast in made.contrasts()] == [False, True]


def test_every_reading_that_a_study_may_name_is_there():
    assert set(READINGS) == set(get_args(ReadingName)) == set(TITLES)
