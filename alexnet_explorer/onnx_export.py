"""A network as an ONNX file, of standard operators only: what other tools, and `onnx_import`, read.

The graph takes in pictures as a prediction crops them, (N, C, size, size) grey levels from 0 to 255, and gives logits
(N, classes). It subtracts the mean and divides by the deviation itself; dropout is not in it, as at test time.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import Layer, ModelConfig
from .weights import LoadedModel
from .weights_file import VERSION

OPSET, IR_VERSION = 13, 8  # of 2021: what reads ONNX at all reads these

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def to_onnx(loaded: LoadedModel) -> bytes:
    """The bytes of an ONNX file, with float32 weights; classes and canvas are in its metadata."""
    from onnx import TensorProto, helper, numpy_helper

    config = loaded.model.config
    graph = _Graph(config)
    arrays = {name: tensor.float().numpy() for name, tensor in loaded.model.state_dict().items()}
    arrays |= {"input.mean": loaded.preprocessing.mean.numpy(), "input.std": loaded.preprocessing.std.numpy()}
    sides = [config.in_channels, config.input_size, config.input_size]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes(),
            config.preset,
            [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", *sides])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", config.num_classes])],
            [numpy_helper.from_array(array, name) for name, array in (arrays | graph.constants).items()],
        ),
        producer_name="AlexNet Explorer",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(
        model,
        {
            "alexnet_explorer": VERSION,
            "classes": json.dumps(loaded.classes, ensure_ascii=False),
            "folders": json.dumps(loaded.folders),
            "canvas": str(loaded.preprocessing.canvas),
            "trained_on": loaded.trained_on,
        },
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


class _Graph:
    """The nodes of a network, each named after its layer, and the small constants that they take in."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.constants: dict[str, NDArray[Any]] = {}
        self._nodes: list[Any] = []

    def nodes(self) -> list[Any]:
        layers = [layer for layer in self.config.layers() if layer.kind != "dropout"]
        name = self._add("Sub", ["picture", "input.mean"], "centred")
        name = self._add("Div", [name, "input.std"], "scaled")
        for layer in layers:
            if layer.kind == "fc" and len(layer.input) == 1 and layer.number == len(self.config.widths) + 1:
                name = self._add("Flatten", [name], "flat")
            name = self._layer(layer, name, "logits" if layer is layers[-1] else layer.name)
        return self._nodes

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def _layer(self, layer: Layer, name: str, output: str) -> str:
        config, place = self.config, layer.number - 1
        weights = [name, f"{layer.name}.weight", f"{layer.name}.bias"]
        if layer.kind == "conv":
            side, stride = config.kernels[place], config.strides[place]
            return self._add(
                "Conv", weights, output, kernel_shape=[side] * 2, strides=[stride] * 2,
                pads=[config.paddings[place]] * 4, group=layer.groups,
            )  # fmt: skip
        if layer.kind == "activation":
            return self._add(_ACTIVATIONS[config.activation], [name], output)
        if layer.kind == "lrn":
            return self._within_map(name, output) if config.lrn_kind == "within-map" else self._lrn(layer, name, output)
        if layer.kind == "pool":
            side, ceil = (3, 1) if config.pooling == "overlapping" else (2, 0)
            kind = {"max": "MaxPool", "avg": "AveragePool"}[config.pool_kinds[config.pool_after.index(layer.number)]]
            return self._add(kind, [name], output, kernel_shape=[side] * 2, strides=[2, 2], ceil_mode=ceil)
        return self._add("Gemm", weights, output, transB=1)

    def _lrn(self, layer: Layer, name: str, output: str) -> str:
        """ONNX's LRN, which divides α by n; where there are towers, one for each of them."""
        from onnx import helper

        config = self.config
        how = {"size": config.lrn_size, "alpha": config.lrn_alpha * config.lrn_size, "beta": config.lrn_beta,
               "bias": config.lrn_k}  # fmt: skip
        if config.towers == 1:
            return self._add("LRN", [name], output, **how)
        parts = [f"{output}.tower{number}" for number in range(1, config.towers + 1)]
        sizes = f"{output}.sizes"
        self.constants[sizes] = np.full(config.towers, layer.input[0] // config.towers, np.int64)
        self._nodes.append(helper.make_node("Split", [name, sizes], [f"{part}.in" for part in parts], sizes, axis=1))
        return self._add("Concat", [self._add("LRN", [f"{p}.in"], p, **how) for p in parts], output, axis=1)

    def _within_map(self, name: str, output: str) -> str:
        """a · (k + α n² · mean of a² over n×n positions)^-β in its parts: ONNX has no LRN within a map."""
        config, size = self.config, self.config.lrn_size
        numbers = {"alpha": config.lrn_alpha * size**2, "k": config.lrn_k, "beta": config.lrn_beta}
        self.constants |= {f"{output}.{key}": np.array(value, np.float32) for key, value in numbers.items()}
        near = self._add(
            "AveragePool", [self._add("Mul", [name, name], f"{output}.square")], f"{output}.mean",
            kernel_shape=[size] * 2, strides=[1, 1], pads=[size // 2] * 4, count_include_pad=1,
        )  # fmt: skip
        near = self._add("Mul", [near, f"{output}.alpha"], f"{output}.scaled")
        near = self._add("Add", [near, f"{output}.k"], f"{output}.sum")
        return self._add("Div", [name, self._add("Pow", [near, f"{output}.beta"], f"{output}.denominator")], output)
