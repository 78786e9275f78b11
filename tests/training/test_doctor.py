"""The doctor names what it is shown, and nothing else: curves made to have one fault, and curves of good runs."""

import math

import pytest

from alexnet_explorer.config import RunConfig, preset_config
from alexnet_explorer.runs import GALLERY, Run, new_run
from alexnet_explorer.training import doctor
from alexnet_explorer.training.doctor import Try, diagnose
from alexnet_explorer.training.loop import train

LN10 = math.log(10)
STEPS = 100  # an epoch
ROWS = 10  # an epoch

CONFIG = preset_config("alexnet-32", "photographs").with_settings({"train.epochs": 20})


def falling(epoch):
    """The loss of a training that goes well, levelling off."""
    return 0.4 + (LN10 - 0.4) * math.exp(-0.4 * epoch)


def curve(loss, epochs=20, val=lambda epoch: 1.05 * falling(epoch), gradients=None, shares=None, error=0.15):
    """A run's metrics: `loss` and `val` by epoch; all errors alike."""
    rows = []
    for epoch in range(epochs):
        for number in range(1, ROWS + 1):
            now = epoch + number / ROWS
            row = {"step": now * STEPS, "epoch": now, "train/loss": loss(now), "train/top1_error": error}
            row |= {"learning_rate": 0.03}
            rows.append(row | {f"gradient/{layer}": norm for layer, norm in (gradients or {}).items()})
        row = {"step": (epoch + 1) * STEPS, "epoch": epoch + 1.0, "epoch/train_loss": loss(epoch + 0.5)}
        row |= {"val/loss": val(epoch + 1), "val/top1_error": error, "epoch/train_top1_error": error}
        rows.append(row | (shares or {}))
    return rows


def names(rows, config=CONFIG, message=""):
    return [finding.name for finding in diagnose(config, rows, message)]


def test_a_good_run_is_told_nothing_and_no_rows_neither():
    assert names(curve(falling)) == []
    assert names([]) == []


@pytest.mark.parametrize("run", [Run(GALLERY / name) for name in ("alexnet-32-relu", "alexnet-32-tanh")], ids=str)
def test_no_false_alarm_at_any_moment_of_the_runs_that_ship(run):
    rows = run.metrics()[0]
    for count in range(len(rows)):
        assert [finding.name for finding in diagnose(run.config, rows[:count])] in ([], ["easier"]), count
    assert diagnose(run.config, rows) == []


def test_every_text_is_there_and_every_change_can_be_made():
    bad = [
        curve(lambda epoch: LN10),
        curve(lambda epoch: falling(epoch) if epoch < 10 else LN10),
        curve(lambda epoch: falling(epoch) if epoch < 10 else 5 * epoch),
        curve(falling, shares={"dead/relu6": 0.5}),
        curve(falling, shares={"saturated/tanh1": 0.6}),
        curve(falling, gradients={"conv1": 1e-6, "fc8": 1.0}),
        curve(falling, gradients={"conv1": 1e6, "fc8": 1e6}),
        curve(falling, val=lambda epoch: max(falling(epoch), 0.1 * epoch)),
        curve(falling, val=lambda epoch: 0.9 * falling(epoch - 0.5)),
        curve(falling, val=lambda epoch: 3 * 0.95**epoch),
        [{"step": 3, "epoch": 0.1, "train/loss": math.nan}],
    ]
    original = preset_config("alexnet")  # with 2012's weights and pixels
    seen = set()
    for rows in bad:
        for config in (CONFIG, CONFIG.with_settings({"model.activation": "tanh"}), original):
            for finding in diagnose(config, rows):
                if finding.name == "saturated" and config.model.activation == "relu":
                    continue  # no run has such rows
                seen.add(finding.name)
                assert finding.sees.endswith(".") and finding.means.endswith(".") and "[" in finding.paper
                assert finding.kind == "note" or finding.tries
                for change in finding.tries:
                    changed = config.with_settings({change.field: change.value})
                    assert isinstance(changed, RunConfig) and changed != config, (finding.name, change)
    assert seen == {
        "flat", "fell-back", "diverged", "rising", "dead", "saturated", "vanishing", "exploding", "parting", "easier",
        "unfinished",
    }  # fmt: skip


@pytest.mark.parametrize(("loss", "flat"), [(1.019, True), (1.021, False), (0.981, True), (0.979, False)])
def test_flat_at_ln_c_is_within_two_percent(loss, flat):
    assert ("flat" in names(curve(lambda epoch: loss * LN10))) == flat


def test_flat_says_the_number_and_what_the_first_weights_have_to_do_with_it():
    config = CONFIG.with_settings({"model.init": "2012", "model.activation": "sigmoid"})
    finding = diagnose(config, curve(lambda epoch: LN10))[0]
    assert "ln 10 = 2.30" in finding.sees and "2000 steps" in finding.sees
    assert [(change.field, change.value) for change in finding.tries] == [
        ("model.activation", "relu"), ("model.init", "modern"), ("train.learning_rate", 0.18),
    ]  # fmt: skip


def test_nothing_is_called_flat_before_it_had_time():
    early = curve(lambda epoch: LN10, epochs=2)
    assert "flat" not in names(early[:20])  # two hundred steps less one row
    assert names(early)[0] == "flat"
    assert names(curve(lambda epoch: LN10, epochs=1), CONFIG.with_settings({"train.epochs": 1}))[0] == "flat"


def test_a_loss_that_falls_back_is_told_from_one_that_never_fell():
    assert names(curve(lambda epoch: falling(epoch) if epoch < 10 else LN10))[0] == "fell-back"
    assert names(curve(lambda epoch: 0.91 * LN10 if epoch < 10 else LN10))[0] == "flat"
    assert names(curve(lambda epoch: 0.89 * LN10 if epoch < 10 else LN10))[0] == "fell-back"


@pytest.mark.parametrize(("factor", "rising"), [(1.24, False), (1.26, True)])
def test_a_loss_that_rises_by_a_quarter_is_rising(factor, rising):
    rows = curve(lambda epoch: 1.0 if epoch < 15 else factor, val=lambda epoch: 1.1)
    assert ("rising" in names(rows)) == rising


def test_a_tiny_loss_that_doubles_is_not_rising():
    assert names(curve(lambda epoch: 0.01 if epoch < 15 else 0.02, val=lambda epoch: 0.02)) == []


def test_a_loss_far_above_guessing_is_rising_from_the_start():
    assert names(curve(lambda epoch: 1.15 * LN10, epochs=5))[0] == "rising"


@pytest.mark.parametrize(
    ("message", "rows", "rate"),
    [  # of a rate of 0.05 at most
        ("at step 7 the loss is not a number, at a rate of 0.004: lower train.learning_rate", [], 0.004),
        ("at step 99 the loss is not a number: lower train.learning_rate", [{"learning_rate": 0.02}], 0.02),
        ("at step 9 the loss is not a number: lower train.learning_rate", [], 0.05),
        ("", [{"learning_rate": 0.02}, {"learning_rate": 0.0005, "train/loss": math.nan}], 0.0005),
    ],
)
def test_the_rate_to_try_is_a_tenth_of_that_at_which_it_diverged(message, rows, rate):
    config = CONFIG.with_settings({"train.learning_rate": 0.05})
    whole = [{"step": 10 * n, "epoch": n / 9, "train/loss": 2.0, **row} for n, row in enumerate(rows, start=1)]
    finding = diagnose(config, whole, message)[0]
    assert finding.name == "diverged" and f"at a learning rate of {rate:g}." in finding.sees
    assert "at a rate" not in finding.sees
    assert finding.tries[0] == Try("train.learning_rate", pytest.approx(rate / 10))


def test_a_run_that_diverged_is_told_from_its_message_alone(packed, small, tmp_path):
    """The loop ends such a run before the row with the number that is none."""
    settings = {"train__learning_rate": 100.0, "train__schedule": "constant", "train__epochs": 20}
    run = new_run(small(**settings), packed, tmp_path)
    assert train(run).state == "failed"
    finding = diagnose(run.config, run.metrics()[0], run.status().message)[0]
    assert finding.name == "diverged" and finding.sees.startswith("At step ") and "100" in finding.sees
    assert finding.tries[0] == doctor.Try("train.learning_rate", 10.0)


@pytest.mark.parametrize(
    ("name", "metric", "under", "over"),
    [("dead", "dead/relu6", 0.33, 0.34), ("saturated", "saturated/tanh2", 0.49, 0.5)],
)
def test_silent_units_are_named_with_their_layer_and_share(name, metric, under, over):
    assert names(curve(falling, shares={metric: under})) == []
    finding = diagnose(CONFIG, curve(falling, shares={metric: over, f"{metric}0": 0.0}))[0]
    assert finding.name == name and f"{over:.0%} in {metric.partition('/')[2]}." in finding.sees


def test_units_that_came_back_to_life_are_not_told():
    rows = curve(falling, epochs=10, shares={"dead/relu6": 0.9})
    rows += [row | {"epoch": row["epoch"] + 10} for row in curve(falling, epochs=1, shares={"dead/relu6": 0.0})]
    assert "dead" not in names(rows)


@pytest.mark.parametrize(("norm", "told"), [(1.1e-3, []), (0.9e-3, ["vanishing"])])
def test_a_gradient_a_thousandth_of_the_largest_has_vanished(norm, told):
    found = diagnose(CONFIG, curve(falling, gradients={"conv1": norm, "fc8": 1.0}))
    assert [finding.name for finding in found] == told
    assert all("conv1" in finding.sees and "fc8" not in finding.sees for finding in found)


@pytest.mark.parametrize(("share", "told"), [(0.099, []), (0.101, ["exploding"])])
def test_a_gradient_that_moves_a_layer_by_a_tenth_of_its_length_explodes(share, told):
    norm = share * math.sqrt(2 * 32) / 0.03  # conv1 has 32 kernels, the rate is 0.03
    assert names(curve(falling, gradients={"conv1": norm, "conv2": 1.0})) == told


def test_parting_is_told_when_validation_gets_worse_for_three_epochs():
    def worse(epoch):
        return 1.0 if epoch < 18 else 1.06

    rows = curve(lambda epoch: 0.99 * 0.99**epoch, val=worse)
    assert names(rows[:-11]) == []  # two epochs of three
    (finding,) = diagnose(CONFIG, rows)
    assert finding.name == "parting" and finding.kind == "advice" and "1.06, after 1.00 at epoch 1;" in finding.sees
    fields = {change.field: change.value for change in finding.tries}
    assert fields["data.augmentation"] == "flip,crop,pca-colour" and fields["model.dropout"] == 0.5
    better = curve(lambda epoch: 0.99 * 0.99**epoch, val=lambda epoch: 1.0 if epoch < 18 else 1.04)
    assert names(better) == []


def test_a_gap_in_loss_and_error_is_parting_even_while_validation_gets_better():
    rows = curve(falling, val=lambda epoch: 1.6 * falling(epoch))
    assert names(rows) == []
    assert names([row | ({"val/top1_error": 0.26} if "val/loss" in row else {}) for row in rows]) == ["parting"]
    assert names([row | ({"val/top1_error": 0.24} if "val/loss" in row else {}) for row in rows]) == []


def test_digits_are_not_told_to_be_mirrored():
    config = preset_config("alexnet-32").with_settings({"data.augmentation": "none", "train.epochs": 20})
    (finding,) = diagnose(config, curve(lambda epoch: 0.9**epoch, val=lambda epoch: 1 + 0.05 * epoch))
    assert doctor.Try("data.augmentation", "crop") in finding.tries


def test_validation_that_has_it_easier_is_explained_by_what_the_config_does():
    rows = curve(falling, val=lambda epoch: 0.9 * falling(epoch - 0.5))
    (finding,) = diagnose(CONFIG, rows)
    assert (finding.name, finding.kind, finding.tries) == ("easier", "note", ())
    assert "units dropped" in finding.means and "changed at random" in finding.means
    (finding,) = diagnose(CONFIG.with_settings({"data.augmentation": "none", "model.dropout": 0}), rows)
    assert "getting better." in finding.means
    assert names(curve(falling, val=lambda epoch: 0.96 * falling(epoch - 0.5))) == []


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_a_loss_that_is_still_falling_at_the_end_asks_for_more_epochs(schedule):
    config = CONFIG.with_settings({"train.schedule": schedule})
    rows = curve(lambda epoch: 2 * 0.96**epoch, val=lambda epoch: 2 * 0.96**epoch)
    (finding,) = diagnose(config, rows)
    assert finding.name == "unfinished" and finding.tries == (doctor.Try("train.epochs", 40),)
    assert names(rows[:-1], config) == []  # it is not the end yet
    assert names(curve(falling), config) == []
    slow = 0.975 if schedule == "one-cycle" else 0.993
    assert names(curve(lambda epoch: 2 * slow**epoch, val=lambda epoch: 2 * slow**epoch), config) == []
