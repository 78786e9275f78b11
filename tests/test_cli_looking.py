"""The commands that look at a network: its table, its predictions, and everything that it makes of a picture."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (["--preset", "alexnet"], 60_965_224),
        (["--preset", "alexnet-torchvision"], 61_100_840),
        (["--preset", "alexnet", "--set", "model.towers=1"], 62_378_344),
        (["--model", "alexnet-32-relu"], 578_250),
        (["--preset", "alexnet-64"], 7_905_800),
        ([], 4_873_128),  # the one that ships, which sees 56×56 pixels
    ],
)
def test_summary_counts_the_parameters(document, arguments, parameters):
    found = document("summary", *arguments)
    assert found["parameters"] == parameters == sum(layer["parameters"] for layer in found["layers"])
    assert found["multiply_adds"] == sum(layer["multiply_adds"] for layer in found["layers"])


def test_summary_reads_a_run_and_a_file(document, trained):
    by_id = document("summary", "--model", trained.tanh.id, "--runs", trained.root)
    by_file = document("summary", "--model", trained.tanh.weights_file())
    assert by_id["layers"] == by_file["layers"]
    assert [layer["name"] for layer in by_id["layers"][:3]] == ["conv1", "tanh1", "lrn1"]


def test_summary_as_text_has_a_line_for_each_layer(call):
    status, out, err = call("summary", "--preset", "alexnet")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "alexnet" and len(lines) == 25
    (conv2,) = (line for line in lines if line.startswith("conv2"))
    assert conv2.split() == ["conv2", "5×5,", "stride", "1,", "pad", "2,", "2", "groups", "256×27×27", "307,456",
                             "223,948,800"]  # fmt: skip
    assert lines[-1].split() == ["total", "60,965,224", "724,406,816"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preset", "vgg"], "preset='vgg': allowed are alexnet, "),
        (["--preset", "alexnet", "--model", "alexnet-64"], "--model: .*leave --preset or --model out"),
        (["--set", "model.towers=1"], "--set: .*by --preset"),
        (["--preset", "alexnet", "--set", "model.towers=5"], "towers=5 does not divide"),
        (["--model", "nothing"], "there is no model 'nothing'"),
    ],
)
def test_summary_refuses_in_one_line(refused, arguments, said):
    refused(said, "summary", *arguments)
