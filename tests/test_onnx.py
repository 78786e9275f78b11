"""ONNX files: our own exports, Caffe's AlexNet, PyTorch's exports, and what is none. onnxruntime is the oracle."""

import io
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from alexnet_explorer import cli
from alexnet_explorer.config import MODEL_PRESETS, ModelConfig, RunConfig
from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.inspection.predict import predict
from alexnet_explorer.model import AlexNet
from alexnet_explorer.onnx_export import to_onnx
from alexnet_explorer.onnx_import import read_onnx
from alexnet_explorer.weights import LoadedModel, load_weights
from alexnet_explorer.weights_file import WeightsError, read_metadata
from alexnet_explorer.weights_import import CAFFE_MEAN, IMAGENET_MEAN, IMAGENET_STD, import_weights

# Graphs of the ONNX model zoo's networks, without their weights, come with the package.
ZOO = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NARROW = {"fc_widths": (48, 40)}  # the convolutions of 2012 with little behind them


def preset(name, **fields):
    return MODEL_PRESETS[name].model_copy(update=fields)


def network(config, seed=0):
    """A network whose every part matters: responses of about 1, so that LRN with a strong α has something to do."""
    torch.manual_seed(seed)
    model = AlexNet(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.5 if parameter.dim() == 1 else (2 / parameter[0].numel()) ** 0.5)
    channels, size = config.in_channels, config.input_size
    scale = Preprocessing(size + 5, size, torch.rand(channels, size, size) * 200, torch.rand(channels, 1, 1) * 40 + 30)
    classes = tuple(f"class «{number}»" for number in range(config.num_classes))
    folders = tuple(f"n{number:08}" for number in range(config.num_classes))
    return LoadedModel("n", "N", "pictures of a test", model, scale, classes, RunConfig(model=config), "", folders)


def run(data, x):
    """What onnxruntime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def pictures(config, count=2):
    shape = (count, config.in_channels, config.input_size, config.input_size)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def logits(loaded, pixels):
    """Of pictures (N, C, S, S) in grey levels."""
    with torch.no_grad():
        return loaded.model((torch.from_numpy(pixels) - loaded.preprocessing.mean) / loaded.preprocessing.std).numpy()


STRONG = {"lrn_alpha": 0.2}  # LRN as 2012 sets it changes these small networks too little to be seen missing
EXPORTED = {
    "2012": preset("alexnet", **NARROW, **STRONG, num_classes=7),
    "2014": preset("alexnet-64", num_classes=7, fc_widths=(32,), dropout_place="before-fc", lrn=False),
    "32": preset("alexnet-32", **STRONG),
    "two towers": preset("alexnet-32", towers=2, **STRONG),
    "groups under an LRN of all maps": preset("alexnet-32", towers=1, groups=2, lrn_place="after-pool", **STRONG),
    "tanh, pooling apart": preset("alexnet-32", activation="tanh", pooling="non-overlapping", towers=2, lrn=False),
    "sigmoid, grey": preset("alexnet-32", activation="sigmoid", in_channels=1, **STRONG),
    "within maps": preset("convnet-2012", towers=2, lrn_alpha=0.1),
    "odd sizes": preset("alexnet-32", input_size=45, kernels=(7, 5, 3, 3, 3), strides=(2, 1, 1, 1, 1), **STRONG),
    "no fc but the last": preset("alexnet-32", fc_widths=(), convolutions=(1, 2), num_classes=3, **STRONG),
    "conv2 dropped": preset("alexnet-32", convolutions=(1, 3, 4, 5), **STRONG),
}


@pytest.fixture(scope="module", params=list(EXPORTED))
def exported(request):
    loaded = network(ModelConfig.model_validate(EXPORTED[request.param].model_dump()))
    return loaded, to_onnx(loaded)


def test_an_export_computes_what_the_network_does(exported):
    loaded, data = exported
    onnx.checker.check_model(data, full_check=True)
    pixels = pictures(loaded.model.config)
    assert np.allclose(run(data, pixels), logits(loaded, pixels), atol=1e-4)


def test_an_export_comes_back_as_the_same_network(exported, tmp_path):
    loaded, data = exported
    back = load_weights(import_weights(data, "mine.onnx", tmp_path))
    pixels = pictures(loaded.model.config)
    assert np.allclose(logits(back, pixels), logits(loaded, pixels), atol=1e-5)
    assert (back.classes, back.folders, back.trained_on) == (loaded.classes, loaded.folders, loaded.trained_on)
    assert back.preprocessing.canvas == loaded.preprocessing.canvas
    ours, theirs = loaded.model.config, back.model.config
    for field in ("input_size", "towers", "groups", "lrn_place", "pool_kinds", "fc_widths", "convolutions"):
        if field != "convolutions" or 3 in ours.convolutions:
            assert getattr(theirs, field) == getattr(ours, field), field
    assert theirs.lrn_alpha == pytest.approx(ours.lrn_alpha, rel=1e-6)
    assert "says itself" in read_metadata(tmp_path / "mine.safetensors")["note"]


def test_presets_come_back_to_the_last_field(tmp_path):
    for name in ("alexnet-32", "alexnet-64"):
        config = preset(name, towers=2)
        assert load_weights(import_weights(to_onnx(network(config)), f"{name}.onnx", tmp_path)).model.config == config


def test_an_exports_bytes_depend_on_nothing_but_the_network():
    config = EXPORTED["two towers"]
    assert to_onnx(network(config)) == to_onnx(network(config)) != to_onnx(network(config, seed=1))


# Caffe's


def caffes(side=227, classes=1000, half=False, **changes):
    """The model zoo's graph of Caffe's AlexNet, its hidden layers narrow, with random weights, as bytes."""
    model = onnx.load(ZOO / "light_bvlc_alexnet.onnx")
    graph = model.graph
    random = np.random.default_rng(0)
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    shapes = {t.name.removesuffix("__SHAPE"): numpy_helper.to_array(t).tolist() for t in graph.initializer}
    shapes |= {"fc6_w_0": [48, 9216], "fc6_b_0": [48], "fc7_w_0": [40, 48], "fc7_b_0": [40]}
    shapes |= {"fc8_w_0": [classes, 40], "fc8_b_0": [classes]}
    shape = shapes.pop("OC2_DUMMY_1")
    tensors = [numpy_helper.from_array(np.array(shape), "OC2_DUMMY_1")]
    for name, dims in shapes.items():
        deviation = 0.3 if len(dims) == 1 else (2 / np.prod(dims[1:])) ** 0.5
        values = random.normal(0, deviation, dims).astype(np.float16 if half else np.float32)
        tensors.append(numpy_helper.from_array(values, name))
    del graph.node[:], graph.initializer[:], graph.input[1:]
    graph.node.extend(kept[:-1])  # without the softmax
    graph.initializer.extend(tensors)
    for place in (2, 3):
        graph.input[0].type.tensor_type.shape.dim[place].dim_value = side
    graph.output[0].name = kept[-2].output[0]
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
    for name, value in changes.items():
        setattr(model, name, value)
    return model


def test_caffes_alexnet_is_read_from_its_graph(tmp_path):
    model = caffes(side=224)  # as the model zoo's file declares
    path = import_weights(model.SerializeToString(), "bvlcalexnet-12.onnx", tmp_path)
    loaded = load_weights(path)
    assert loaded.model.config == preset(
        "alexnet", towers=1, groups=2, lrn_k=1.0, lrn_alpha=1e-4 / 5, fc_widths=(48, 40)
    )
    assert loaded.classes[:2] == ("tench", "goldfish") and len(loaded.classes) == 1000
    scale = loaded.preprocessing
    assert (scale.size, scale.canvas) == (227, 256)
    assert scale.mean.flatten().tolist() == list(CAFFE_MEAN) and scale.std.flatten().tolist() == [1, 1, 1]
    note = read_metadata(path)["note"]
    assert "as Caffe's" in note and "224×224" in note and "227×227" in note


def test_caffes_alexnet_computes_what_it_did_on_blue_green_red(tmp_path):
    model = caffes()
    loaded = load_weights(import_weights(model.SerializeToString(), "bvlc.onnx", tmp_path))
    pixels = pictures(loaded.model.config, count=1)
    caffe = pixels[:, ::-1] - np.array([104, 117, 123], np.float32)[:, None, None]
    theirs, ours = run(model.SerializeToString(), caffe), logits(loaded, pixels)
    assert np.allclose(ours, theirs, atol=1e-3 * abs(theirs).max())
    assert not np.allclose(logits(loaded, pixels[:, ::-1].copy()), theirs, atol=0.1 * abs(theirs).max())


def test_a_visitor_may_say_how_pictures_are_prepared(tmp_path):
    data = caffes(classes=5).SerializeToString()
    first, other = (
        load_weights(import_weights(data, f"{number}.onnx", tmp_path, how))
        for number, how in enumerate(("as Caffe's", "as PyTorch's"))
    )
    assert torch.equal(first.model.conv1.weight.flip(1), other.model.conv1.weight)
    assert other.preprocessing.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert other.preprocessing.std.flatten().tolist() == pytest.approx(IMAGENET_STD)
    pytorch = caffes(classes=5, producer_name="pytorch").SerializeToString()
    by_default = load_weights(import_weights(pytorch, "torch.onnx", tmp_path))
    assert torch.equal(by_default.preprocessing.std, other.preprocessing.std)
    assert by_default.classes == tuple(f"class {n}" for n in range(5))


def test_half_precision_and_weights_in_constant_nodes(tmp_path):
    model = caffes(classes=5, half=True)
    expected = load_weights(import_weights(model.SerializeToString(), "half.onnx", tmp_path))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [helper.make_node("Constant", [], [name], value=tensor) for name, tensor in tensors.items()]
    nodes += list(model.graph.node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    path = import_weights(model.SerializeToString(), "constants.onnx", tmp_path)
    assert path.stat().st_size < 1.1 * 2 * expected.model.config.parameters()
    for name, tensor in load_weights(path).model.state_dict().items():
        assert torch.equal(tensor, expected.model.state_dict()[name]), name


# PyTorch's


def pytorchs(lrn):
    """A network as torch.onnx.export writes it: its LRN, for which ONNX has a word, in parts; biases of 0 left out."""
    random = np.random.default_rng(0)
    weights = {
        "a": random.normal(0, 0.3, (8, 3, 5, 5)), "b": random.normal(0, 1, 8), "c": random.normal(0, 0.3, (6, 8, 3, 3)),
        "d": random.normal(0, 0.1, (5, 6 * 64)), "e": random.normal(0, 1, 5),
        "two": np.array(2), "alpha": np.array(0.3), "k": np.array(1.5),
    }  # fmt: skip
    constants = {name: numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in weights.items()}

    def whole(name, values):
        constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    if lrn == "nn.LocalResponseNorm":
        parts = [
            helper.make_node("Mul", ["relu", "relu"], ["square"]),
            helper.make_node("Reshape", ["square", whole("five", [1, 1, 8, 16, 16])], ["view"]),
            helper.make_node("Pad", ["view", whole("pads", [0, 0, 1, 0, 0, 0, 0, 1, 0, 0])], ["pad"]),
            helper.make_node("AveragePool", ["pad"], ["mean"], kernel_shape=[3, 1, 1], strides=[1, 1, 1]),
            helper.make_node("Squeeze", ["mean", whole("one", [1])], ["near"]),
        ]
        power, end, alpha, towers = 0.75, "Div", 0.1, 1
    else:  # this project's own
        band = np.kron(np.eye(2), [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]])
        constants["band"] = numpy_helper.from_array(band.astype(np.float32)[:, :, None, None], "band")
        parts = [
            helper.make_node("Pow", ["relu", "two"], ["square"]),
            helper.make_node("Conv", ["square", "band"], ["near"], kernel_shape=[1, 1]),
        ]
        power, end, alpha, towers = -0.75, "Mul", 0.3, 2
    constants["power"] = numpy_helper.from_array(np.array(power, np.float32), "power")
    nodes = [
        helper.make_node("Conv", ["x", "a", "b"], ["conv"], pads=[2] * 4, strides=[1, 1], auto_pad="NOTSET"),
        helper.make_node("Relu", ["conv"], ["relu"]),
        *parts,
        helper.make_node("Mul", ["near", "alpha"], ["scaled"]),
        helper.make_node("Add", ["scaled", "k"], ["sum"]),
        helper.make_node("Pow", ["sum", "power"], ["denominator"]),
        helper.make_node(end, ["relu", "denominator"], ["lrn"]),
        helper.make_node("Conv", ["lrn", "c"], ["conv2"], pads=[1] * 4),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("MaxPool", ["relu2"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["pool", whole("flat", [1, 384])], ["view2"]),
        helper.make_node("Gemm", ["view2", "d", "e"], ["y"], transB=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "main_graph", [value("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [value("y", TensorProto.FLOAT, [1, 5])], list(constants.values()),
    )  # fmt: skip
    model = helper.make_model(graph, producer_name="pytorch", opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString(), alpha, towers


@pytest.mark.parametrize("lrn", ["nn.LocalResponseNorm", "ours"])
def test_an_lrn_that_pytorch_wrote_in_parts(tmp_path, lrn):
    data, alpha, towers = pytorchs(lrn)
    loaded = load_weights(import_weights(data, "net.onnx", tmp_path))
    config = loaded.model.config
    assert (config.lrn_size, config.lrn_k, config.lrn_beta, config.towers) == (3, 1.5, 0.75, towers)
    assert config.lrn_alpha == pytest.approx(alpha) and config.lrn_after == (1,)
    x = np.random.default_rng(1).normal(0, 1, (1, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        assert np.allclose(loaded.model(torch.from_numpy(x)).numpy(), run(data, x), atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_pytorchs_older_exporter(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.AdaptiveAvgPool2d((8, 8)),
        nn.Flatten(), nn.Dropout(), nn.Linear(8 * 64, 10), nn.ReLU(), nn.Linear(10, 5),
    ).eval()  # fmt: skip
    file = io.BytesIO()
    torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), file, dynamo=False)
    loaded = load_weights(import_weights(file.getvalue(), "net.onnx", tmp_path))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(loaded.model(x), net(x), atol=1e-5)
    assert "as PyTorch's" in read_metadata(tmp_path / "net.safetensors")["note"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ours", [True, False])
def test_a_file_of_pytorchs_exporter(tmp_path, ours):
    pytest.importorskip("onnxscript")
    plain = nn.Sequential(
        nn.Conv2d(3, 32, 5, 1, 2), nn.ReLU(), nn.LocalResponseNorm(5, 0.5, 0.75, 1.0), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(), nn.Linear(32 * 256, 10), nn.ReLU(), nn.Linear(10, 5),
    )  # fmt: skip
    net = network(EXPORTED["two towers"]).model if ours else plain.eval()
    file = io.BytesIO()
    torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), file, verbose=False)
    loaded = load_weights(import_weights(file.getvalue(), "net.onnx", tmp_path))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(loaded.model(x), net(x), atol=1e-4)


# What is no AlexNet


def changed(change):
    def build():
        model = caffes(classes=5)
        change(model)
        return model.SerializeToString()

    return build


def zoo(name):
    return lambda: (ZOO / f"light_{name}.onnx").read_bytes()


def renamed(old, new):
    def change(model):
        next(node for node in model.graph.node if node.op_type == old).op_type = new

    return changed(change)


def attribute(op, name, value):
    def change(model):
        node = next(node for node in model.graph.node if node.op_type == op)
        for number, old in enumerate(node.attribute):
            if old.name == name:
                del node.attribute[number]
                break
        node.attribute.append(helper.make_attribute(name, value))

    return changed(change)


def elsewhere(model):
    tensor = model.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret"


def whole_numbers(model):
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "conv1_w_0")
    tensor.CopyFrom(numpy_helper.from_array(np.ones((96, 3, 11, 11), np.int8), "conv1_w_0"))


def not_finite(model):
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "fc8_b_0")
    tensor.CopyFrom(numpy_helper.from_array(np.full(5, np.nan, np.float32), "fc8_b_0"))


def in_circles(model):
    model.graph.node[1].output[0] = model.graph.node[1].input[0]


def branching(model):
    second = [node for node in model.graph.node if node.op_type == "Conv"][1]
    second.input[0] = model.graph.input[0].name


def another_input(model):
    model.graph.input.add().name = "more"


def wide(model):
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 320


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: b"", "no ONNX file, or holds no network"),
        (lambda: b"these are my notes", "damaged, or no ONNX file"),
        (lambda: caffes(classes=5).SerializeToString()[:-1000], "damaged, or no ONNX file"),
        (zoo("resnet50"), "has a BatchNormalization .* no network here has"),
        (zoo("squeezenet"), "has a GlobalAveragePool"),
        (changed(branching), "branches"),
        (zoo("vgg19"), "does not hold the weights of a Conv, but computes them"),
        (zoo("bvlc_alexnet"), "does not hold the weights of a Conv, but computes them"),
        (renamed("Conv", "QLinearConv"), r"is quantised \(QLinearConv\)"),
        (changed(whole_numbers), "holds the weights of a Conv as int8 values"),
        (changed(not_finite), "fc8.bias holds values that are not finite"),
        (changed(elsewhere), "keeps the weights of a Conv in another file"),
        (changed(in_circles), "goes round in circles|branches"),
        (changed(another_input), "takes in 2 things"),
        (changed(wide), "takes in 1×3×227×320"),
        (renamed("Relu", "LeakyRelu"), "has a LeakyRelu"),
        (renamed("Relu", "Tanh"), "have one activation throughout"),
        (renamed("Relu", "Identity"), "an activation after each layer"),
        (attribute("LRN", "size", 0), "has a LRN"),
        (attribute("LRN", "size", 3), "LRN of one kind"),
        (attribute("LRN", "alpha", float("nan")), "fits no network here|LRN of one kind"),
        (attribute("Conv", "strides", [4, 2]), "has a Conv"),
        (attribute("Conv", "strides", [0, 0]), "whose windows reach the border"),
        (attribute("Conv", "group", 3), "as many groups|does not divide"),
        (attribute("MaxPool", "kernel_shape", [5, 5]), "has a MaxPool"),
        (attribute("MaxPool", "pads", [1, 1, 1, 1]), "has a MaxPool"),
        (attribute("Gemm", "alpha", 2.0), "has a Gemm"),
        (attribute("Gemm", "transB", 0), "whose windows reach the border"),
    ],
)
def test_what_is_no_alexnet_is_one_sentence(tmp_path, data, words):
    with pytest.raises(WeightsError, match=words) as raised:
        import_weights(data(), "theirs.onnx", tmp_path)
    message = str(raised.value)
    assert message.startswith("theirs.onnx") and "\n" not in message and message.endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_its_suffix_is_known_by_its_first_byte(tmp_path):
    assert load_weights(import_weights(caffes(classes=5).SerializeToString(), "network", tmp_path)).model


TINY = to_onnx(network(preset("alexnet-32", widths=(4, 4, 4, 4, 4), fc_widths=(4,), num_classes=3, towers=2)))


@settings(max_examples=150, deadline=None)
@given(some.data())
def test_a_damaged_file_is_a_network_or_a_sentence(data):
    damaged = bytearray(TINY)
    for _ in range(data.draw(some.integers(1, 4))):
        place = data.draw(some.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(some.integers(0, 255))
    try:
        found = read_onnx(bytes(damaged[: data.draw(some.integers(len(TINY) - 300, len(TINY)))]), "x.onnx")
    except WeightsError as error:
        assert str(error).startswith("x.onnx")
    else:
        assert found.model.num_classes >= 2


@pytest.mark.parametrize("text", ["", "[", '["a", 1, "b"]', '["a"]', "{}", "[" * 10**5, json.dumps(["a"] * 4)])
def test_odd_class_names_in_a_file_are_left(tmp_path, text):
    model = onnx.load_from_string(TINY)
    for entry in model.metadata_props:
        if entry.key in ("classes", "canvas"):
            entry.value = text
    loaded = load_weights(import_weights(model.SerializeToString(), "x.onnx", tmp_path))
    assert loaded.classes == ("class 0", "class 1", "class 2") and loaded.preprocessing.canvas == 32


def test_the_command_line_predicts_with_an_onnx_file(tmp_path, capsys):
    loaded = network(EXPORTED["32"])
    (tmp_path / "net.onnx").write_bytes(to_onnx(loaded))
    Image.fromarray(pictures(loaded.model.config, 1)[0].astype(np.uint8).transpose(1, 2, 0)).save(tmp_path / "a.png")
    cli.app(
        ["predict", str(tmp_path / "a.png"), "--model", str(tmp_path / "net.onnx"), "--json"], standalone_mode=False
    )
    (found,) = json.loads(capsys.readouterr().out)["images"]
    expected = predict(loaded, Image.open(tmp_path / "a.png"))
    assert [one["label"] for one in found["predictions"]] == [one.label for one in expected]
    assert found["predictions"][0]["probability"] == pytest.approx(expected[0].probability, abs=1e-4)
