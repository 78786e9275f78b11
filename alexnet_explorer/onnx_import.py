"""The network of an ONNX file, read from its graph: Caffe's AlexNet of the ONNX model zoo, PyTorch's exports, our own.

A graph that is a chain of what a `ModelConfig` can say becomes one, with its tensors under the paper's names. Names in
the file mean nothing, and nothing in it is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from .config import MODEL_PRESETS, ModelConfig, explain
from .weights_file import WeightsError

Array = NDArray[np.float32]

_ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
_POOLS = {"MaxPool": "max", "AveragePool": "avg"}
_CHANGES_NOTHING = {"Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze"}
_SCALINGS = {"Sub", "Add", "Mul", "Div"}
_BESIDE = {"Constant", "ConstantOfShape", "Shape", "Gather", "Concat", "Split", "Pad", "Pow"}
_KNOWN = {
    "Conv", "Gemm", "MatMul", "LRN", "Softmax", "LogSoftmax",
    *_ACTIVATIONS, *_POOLS, *_CHANGES_NOTHING, *_SCALINGS, *_BESIDE,
}  # fmt: skip
_QUANTISED = ("Quantize", "QLinear", "Integer")
_LARGEST_INPUT = 512


@dataclass(frozen=True)
class OnnxNetwork:
    """What an ONNX file holds. Weights are float16 or float32, as they are in the file."""

    model: ModelConfig
    tensors: dict[str, Array]
    declared: int | None
    """The side of the pictures that the file says it takes; `model.input_size` is one at which it fits."""
    mean: Array | None
    """(C, 1, 1) or (C, S, S), where the graph subtracts a mean itself; `std` (C, 1, 1) is what it then divides by."""
    std: Array | None
    producer: str
    metadata: Mapping[str, str]


def read_onnx(data: bytes, shown: str) -> OnnxNetwork:
    """The network of an ONNX file; `shown` is the file's name in errors.

    Raises WeightsError: damaged, quantised, weights elsewhere, or what in it no network here has.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        raise WeightsError(f"{shown} is damaged, or no ONNX file: take another copy of it.") from None
    if not model.graph.node:
        raise WeightsError(f"{shown} is no ONNX file, or holds no network: take another copy of it.")
    graph = _Graph(model.graph, shown)
    steps = list(_Chain(graph).steps())
    config, tensors = _Assembly(shown, graph.declared).build(steps)
    mean, std = _scaling(steps, config, shown)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return OnnxNetwork(config, tensors, graph.declared, mean, std, model.producer_name[:60], metadata)


# What the chain is made of, in the order in which a picture goes through it.


class _Scale(NamedTuple):
    """x → factor · x + offset"""

    factor: Array
    offset: Array


class _Conv(NamedTuple):
    weight: Array
    bias: Array
    stride: int
    padding: int
    groups: int


class _Activation(NamedTuple):
    kind: str


class _Lrn(NamedTuple):
    kind: str
    size: int
    alpha: float  # as the paper prints it, not divided by the number of neighbours
    beta: float
    k: float
    towers: int


class _Pool(NamedTuple):
    kind: str
    side: int
    end: int  # pixels added on the right and below
    ceil: bool

    def output(self, side: int) -> int:
        rest = side + self.end - self.side
        return (-(-rest // 2) if self.ceil else rest // 2) + 1


class _Fc(NamedTuple):
    weight: Array
    bias: Array


_Step = _Scale | _Conv | _Activation | _Lrn | _Pool | _Fc


class _Graph:
    """Nodes by what they take in, constants by name."""

    def __init__(self, graph: Any, shown: str) -> None:
        self.shown = shown
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.users: dict[str, list[Any]] = {}
        self._steps_left = 8 * len(graph.node)
        for node in graph.node:
            if node.op_type not in _KNOWN or node.domain not in ("", "ai.onnx") or not node.output:
                raise self.odd(node)
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.constants[node.output[0]] = attribute.t
            elif node.op_type == "Identity" and self.is_constant(node, 0):
                self.constants[node.output[0]] = self.constants[node.input[0]]
            else:
                for name in dict.fromkeys(node.input):
                    self.users.setdefault(name, []).append(node)
        self.input, self.declared = self._picture(graph)

    def _picture(self, graph: Any) -> tuple[str, int | None]:
        """What goes in: its name, and its side where the file says it."""
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            raise self.misfit(f"takes in {len(inputs)} things, a network here one picture")
        dims = [max(0, dim.dim_value) for dim in inputs[0].type.tensor_type.shape.dim]
        if dims and (len(dims) != 4 or dims[2] != dims[3]):
            raise self.misfit(f"takes in {'×'.join(str(d or '?') for d in dims[:6])}, a network here square pictures")
        return inputs[0].name, (dims[2] or None) if dims else None

    def followers(self, name: str) -> list[Any]:
        """The nodes that take in `name`; `Shape`, which measures it for a later `Reshape`, does not count."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise self.misfit("goes round in circles")
        return [node for node in self.users.get(name, []) if node.op_type != "Shape"]

    def only_follower(self, name: str) -> Any:
        found = self.followers(name)
        if len(found) != 1:
            raise self.misfit("branches, where the networks here are chains")
        return found[0]

    def is_constant(self, node: Any, place: int) -> bool:
        return len(node.input) > place and node.input[place] in self.constants

    def array(self, node: Any, place: int) -> Array:
        """A constant that goes into a node. Raises WeightsError where it is none of finite size and of real numbers."""
        from onnx import TensorProto, numpy_helper

        tensor = self.constants.get(node.input[place]) if len(node.input) > place else None
        what = f"the weights of a {node.op_type[:40]}"
        if tensor is None:
            raise WeightsError(f"{self.shown} does not hold {what}, but computes them: export the network with its "
                               "weights in one file.")  # fmt: skip
        if tensor.data_location == TensorProto.EXTERNAL:
            raise WeightsError(f"{self.shown} keeps {what} in another file: save it as one, "
                               "onnx.save(onnx.load(…), …, save_as_external_data=False).")  # fmt: skip
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64):
            kind = TensorProto.DataType.Name(tensor.data_type) if 0 <= tensor.data_type < 23 else "other"
            raise WeightsError(f"{self.shown} holds {what} as {kind.lower()} values: take the file before it is "
                               "quantised or packed.")  # fmt: skip
        try:
            values = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OverflowError):
            raise WeightsError(f"{self.shown} is damaged ({what}): take another copy of it.") from None
        return values.astype(np.float32) if values.dtype == np.float64 else values

    def number(self, node: Any, place: int) -> float:
        """A constant of a single value."""
        values = self.array(node, place)
        if values.size != 1:
            raise self.odd(node)
        return float(values.reshape(-1)[0])

    def misfit(self, what: str) -> WeightsError:
        return WeightsError(f"{self.shown} {what}: choose the ONNX file of an AlexNet.")

    def odd(self, node: Any) -> WeightsError:
        op = node.op_type[:40]
        if any(word in op for word in _QUANTISED):
            return WeightsError(f"{self.shown} is quantised ({op}): take the file with floating-point weights.")
        return self.misfit(f"has a {op} in a place or of a kind that no network here has")


class _Chain:
    """Follows the picture through a graph."""

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph

    def steps(self) -> Iterator[_Step]:
        name = self.graph.input
        ended = False
        while found := self.graph.followers(name):
            if ended:
                raise self.graph.odd(found[0])
            if len(found) == 2:
                step, name = self._written_lrn(name, found)
                yield step
                continue
            node = self.graph.only_follower(name)
            name = node.output[0]
            if node.op_type == "Split":
                step, name = self._towers_lrn(node)
                yield step
            elif node.op_type in ("Softmax", "LogSoftmax"):
                ended = True
            elif node.op_type == "MatMul":
                layer, name = self._matmul(node)
                yield layer
            elif node.op_type not in _CHANGES_NOTHING and not _is_window_of_one(node):
                yield self._step(node)

    def _step(self, node: Any) -> _Step:
        if node.op_type == "Conv":
            return self._conv(node)
        if node.op_type in _ACTIVATIONS:
            return _Activation(_ACTIVATIONS[node.op_type])
        if node.op_type == "LRN":
            return self._lrn(node)
        if node.op_type in _POOLS:
            return self._pool(node)
        if node.op_type == "Gemm":
            return self._gemm(node)
        if node.op_type in _SCALINGS:
            return self._scale(node)
        raise self.graph.odd(node)

    def _conv(self, node: Any) -> _Conv:
        weight = self.graph.array(node, 1)
        sides = set(weight.shape[2:])
        strides, pads = set(_ints(node, "strides", [1])), set(_ints(node, "pads", [0]))
        plain = _ints(node, "dilations", [1, 1]) == [1, 1] and _text(node, "auto_pad") in ("", "NOTSET")
        if weight.ndim != 4 or len(sides) != 1 or len(strides) != 1 or len(pads) != 1 or not plain:
            raise self.graph.odd(node)
        bias = self.graph.array(node, 2) if len(node.input) > 2 and node.input[2] else _zeros(len(weight))
        return _Conv(weight, bias, strides.pop(), pads.pop(), _int(node, "group", 1))

    def _lrn(self, node: Any, towers: int = 1) -> _Lrn:
        size = _int(node, "size", 0)
        if size < 1:
            raise self.graph.odd(node)
        # ONNX, as Caffe and PyTorch, divides α by the number of neighbours.
        alpha, beta, k = (_float(node, name, usual) for name, usual in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
        return _Lrn("across-maps", size, alpha / size, beta, k, towers)

    def _towers_lrn(self, split: Any) -> tuple[_Lrn, str]:
        """An LRN for each of the equal parts of all maps, put together again."""
        parts = [self.graph.only_follower(name) for name in split.output]
        joined = [self.graph.only_follower(part.output[0]) for part in parts]
        found = {self._lrn(part, len(parts)) for part in parts if part.op_type == "LRN"}
        sizes = self.graph.array(split, 1).tolist() if self.graph.is_constant(split, 1) else _ints(split, "split", [])
        in_order = all(
            node.op_type == "Concat" and list(node.input) == [part.output[0] for part in parts]
            and _int(node, "axis", 1) == 1 for node in joined
        )  # fmt: skip
        whole = all(part.op_type == "LRN" for part in parts) and len(set(sizes)) <= 1 and _int(split, "axis", 0) == 1
        if len(found) != 1 or not in_order or not whole:
            raise self.graph.odd(split)
        return found.pop(), str(joined[0].output[0])

    def _written_lrn(self, name: str, found: Sequence[Any]) -> tuple[_Lrn, str]:
        """An LRN as exporters without one write it: a · (k + α Σ a²)^-β in its parts."""
        graph = self.graph
        squares = [n for n in found if (n.op_type == "Mul" and list(n.input) == [name, name])
                   or (n.op_type == "Pow" and graph.is_constant(n, 1) and graph.number(n, 1) == 2)]  # fmt: skip
        ends = [n for n in found if n not in squares and n.op_type in ("Mul", "Div") and name in n.input]
        if len(squares) != 1 or len(ends) != 1:
            raise graph.misfit("branches, where the networks here are chains")
        (node,), (end,) = squares, ends
        kind, size, towers, alpha, k, power = "", 0, 1, 1.0, 0.0, 0.0
        while (node := graph.only_follower(node.output[0])) is not end:
            op = node.op_type
            constant = next((place for place in (0, 1) if graph.is_constant(node, place)), None)
            if power or op not in ("Conv", "AveragePool", "Mul", "Add", "Pow", "Pad", *_CHANGES_NOTHING):
                raise graph.odd(node)
            if op == "Conv" and not size:
                kind = "across-maps"
                size, towers = self._band(node)
            elif op == "AveragePool" and not size:
                window = [side for side in _ints(node, "kernel_shape", []) if side != 1]
                kind, size = ("across-maps", "within-map")[len(window) == 2], (window or [1])[0]
                alpha /= prod(window)
                inside = kind == "within-map"
                if set(window) - {size} or len(window) > 2 or (inside and set(_ints(node, "pads", [])) != {size // 2}):
                    raise graph.odd(node)
                if set(_ints(node, "strides", [1])) != {1} or (inside and not _int(node, "count_include_pad", 0)):
                    raise graph.odd(node)
            elif op == "Mul" and constant is not None:
                alpha *= graph.number(node, constant)
            elif op == "Add" and constant is not None:
                k += graph.number(node, constant)
            elif op == "Pow" and constant == 1:
                power = graph.number(node, 1)
            elif op not in ("Pad", *_CHANGES_NOTHING):
                raise graph.odd(node)
        beta = -power if end.op_type == "Mul" else power
        if not size or not power or (end.op_type == "Div" and end.input[0] != name):
            raise graph.odd(end)
        return _Lrn(kind, size, alpha, beta, k, towers), str(end.output[0])

    def _band(self, node: Any) -> tuple[int, int]:
        """How many neighbours, and how many towers, a 1×1 convolution of ones sums over."""
        band = self.graph.array(node, 1)
        count = len(band)
        position = np.arange(count)
        if band.shape != (count, count, 1, 1) or not 0 < count <= 65_536:
            raise self.graph.odd(node)
        near = band[:, :, 0, 0]
        size = int(near.sum(axis=1).max())
        for towers in range(1, 9):
            tower = position * towers // count
            expected = (abs(position[:, None] - position) <= size // 2) & (tower[:, None] == tower)
            if count % towers == 0 and np.array_equal(near, expected):
                return size, towers
        raise self.graph.odd(node)

    def _pool(self, node: Any) -> _Pool:
        sides, strides = set(_ints(node, "kernel_shape", [])), set(_ints(node, "strides", [1]))
        pads = _ints(node, "pads", [0, 0, 0, 0])
        average = node.op_type == "AveragePool"
        plain = _text(node, "auto_pad") in ("", "NOTSET", "VALID") and set(_ints(node, "dilations", [1])) == {1}
        counts_padding = average and any(pads) and _int(node, "count_include_pad", 0)
        if len(sides) != 1 or strides != {2} or len(pads) != 4 or pads[:2] != [0, 0] or pads[2] != pads[3]:
            raise self.graph.odd(node)
        if not plain or counts_padding or not sides <= {2, 3}:
            raise self.graph.odd(node)
        return _Pool(_POOLS[node.op_type], sides.pop(), pads[2], bool(_int(node, "ceil_mode", 0)))

    def _gemm(self, node: Any) -> _Fc:
        weight = self.graph.array(node, 1)
        factors = {_float(node, "alpha", 1.0), _float(node, "beta", 1.0)}
        if weight.ndim != 2 or factors != {1.0} or _int(node, "transA", 0):
            raise self.graph.odd(node)
        weight = weight if _int(node, "transB", 0) else weight.T
        has_bias = len(node.input) > 2 and node.input[2]
        return _Fc(weight, self.graph.array(node, 2).reshape(-1) if has_bias else _zeros(len(weight)))

    def _matmul(self, node: Any) -> tuple[_Fc, str]:
        """A fully connected layer in two nodes, or without a bias."""
        weight = self.graph.array(node, 1)
        if weight.ndim != 2:
            raise self.graph.odd(node)
        output = node.output[0]
        after = self.graph.followers(output)
        if len(after) == 1 and after[0].op_type == "Add":
            place = 1 - list(after[0].input).index(output)
            return _Fc(weight.T, self.graph.array(after[0], place).reshape(-1)), str(after[0].output[0])
        return _Fc(weight.T, _zeros(weight.shape[1])), output

    def _scale(self, node: Any) -> _Scale:
        """What brings a picture to what the first convolution takes in."""
        place = 1 if self.graph.is_constant(node, 1) else 0
        if node.op_type in ("Sub", "Div") and place == 0:
            raise self.graph.odd(node)
        values = self.graph.array(node, place).astype(np.float32)
        values = values[0] if values.ndim == 4 and len(values) == 1 else values
        one, zero = np.ones((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
        if node.op_type in ("Mul", "Div"):
            with np.errstate(divide="ignore"):  # what is not finite is said later
                return _Scale(values if node.op_type == "Mul" else np.reciprocal(values), zero)
        return _Scale(one, values if node.op_type == "Add" else -values)


@dataclass
class _Assembly:
    """Builds a `ModelConfig` of steps, and names their tensors."""

    shown: str
    declared: int | None
    convs: list[_Conv | None] = field(default_factory=list)  # None: a pooling without a convolution before it
    fcs: list[_Fc] = field(default_factory=list)
    pools: dict[int, _Pool] = field(default_factory=dict)
    lrns: dict[int, _Lrn] = field(default_factory=dict)
    lrn_places: set[str] = field(default_factory=set)
    activations: set[str] = field(default_factory=set)

    def build(self, steps: Sequence[_Step]) -> tuple[ModelConfig, dict[str, Array]]:
        """Raises WeightsError where the steps do not come in an order that a `ModelConfig` has."""
        bare = False  # whether the last convolution, or fully connected layer, still lacks its activation
        for place, step in enumerate(steps):
            if self.convs and bare is not isinstance(step, _Activation):
                raise self._misfit("an activation after each layer with weights but the last, and nowhere else")
            if not self.convs and isinstance(step, _Scale):
                continue
            if not self.convs and not isinstance(step, _Conv):
                raise self._misfit("a convolution before anything else")
            if isinstance(step, _Scale) or (self.fcs and not isinstance(step, _Activation | _Fc)):
                raise self._misfit("convolutions with LRN and pooling, then fully connected layers")
            self._take(step)
            bare = isinstance(step, _Conv | _Fc) and place < len(steps) - 1
        if not self.fcs or not isinstance(steps[-1], _Fc):
            raise self._misfit("a fully connected layer at its end")
        return self._config(), self._tensors()

    def _take(self, step: _Step) -> None:
        number = len(self.convs)
        if isinstance(step, _Conv):
            self.convs.append(step)
        elif isinstance(step, _Fc):
            self.fcs.append(step)
        elif isinstance(step, _Activation):
            self.activations.add(step.kind)
        elif isinstance(step, _Pool):
            if number in self.pools:
                self.convs.append(None)
                number += 1
            elif number in self.lrns:
                self.lrn_places.add("before-pool")
            self.pools[number] = step
        elif isinstance(step, _Lrn):
            if number in self.lrns or self.convs[-1] is None:
                raise self._misfit("at most one LRN after a convolution")
            self.lrns[number] = step
            if number in self.pools:
                self.lrn_places.add("after-pool")

    def _config(self) -> ModelConfig:
        kept = [conv for conv in self.convs if conv is not None]
        alike: dict[str, set[Any]] = {
            "one activation throughout": self.activations,
            "LRN of one kind, always before or always after pooling": {*self.lrns.values()},
            "LRN always before or always after pooling": self.lrn_places,
            "poolings with windows of one size": {pool.side for pool in self.pools.values()},
            "as many groups in all grouped convolutions": {conv.groups for conv in kept if conv.groups != 1},
        }
        for what, values in alike.items():
            if len(values) > 1:
                raise self._misfit(what)
        found: dict[str, Any] = {
            "in_channels": kept[0].weight.shape[1] * kept[0].groups,
            "num_classes": len(self.fcs[-1].weight),
            "widths": self._each(lambda conv: len(conv.weight)),
            "kernels": self._each(lambda conv: conv.weight.shape[2]),
            "strides": self._each(lambda conv: conv.stride),
            "paddings": self._each(lambda conv: conv.padding),
            "convolutions": tuple(number for number, conv in enumerate(self.convs, 1) if conv),
            "fc_widths": tuple(len(fc.weight) for fc in self.fcs[:-1]),
            "pool_after": tuple(self.pools),
            "pool_kinds": tuple(pool.kind for pool in self.pools.values()),
            "lrn": bool(self.lrns),
            **self._paths(),
        }
        for activation in self.activations:
            found["activation"] = activation
        for pool in self.pools.values():
            found["pooling"] = "overlapping" if pool.side == 3 else "non-overlapping"
        if not self.lrns:
            found["lrn_after"] = ()
        for lrn in self.lrns.values():
            found |= {"lrn_after": tuple(self.lrns), "lrn_kind": lrn.kind, "lrn_size": lrn.size}
            found |= {"lrn_alpha": lrn.alpha, "lrn_beta": lrn.beta, "lrn_k": lrn.k}
        for where in self.lrn_places:
            found["lrn_place"] = where
        nearest = min(
            MODEL_PRESETS.values(), key=lambda preset: sum(getattr(preset, name) != found[name] for name in found)
        )
        found["input_size"] = self._input_size(nearest)
        try:
            return ModelConfig.model_validate(nearest.model_dump() | found)
        except ValidationError as error:
            raise WeightsError(f"{self.shown} fits no network here ({explain(error):.160}): choose the ONNX file of an "
                               "AlexNet.") from None  # fmt: skip

    def _each(self, read: Callable[[_Conv], int]) -> tuple[int, ...]:
        """Of every convolution; one that is not there has what changes nothing of the others."""
        return tuple(1 if conv is None else read(conv) for conv in self.convs)

    def _paths(self) -> dict[str, Any]:
        """Groups of convolutions and towers of LRN: the paper's go together, Caffe's LRN spans all maps."""
        grouped = {number: conv.groups for number, conv in enumerate(self.convs, 1) if conv and conv.groups != 1}
        groups = next(iter(grouped.values()), 1)
        towers = {lrn.towers for lrn in self.lrns.values() if lrn.kind == "across-maps"} or {groups}
        if len(towers) > 1:
            raise self._misfit("LRN over as many towers everywhere")
        found: dict[str, Any] = {"towers": towers.pop(), "groups": 0}
        if grouped:
            found["grouped"] = tuple(grouped)
        elif found["towers"] > 1:
            found["grouped"] = ()
        if groups != found["towers"] and grouped:
            found["groups"] = groups
        return found

    def _input_size(self, nearest: ModelConfig) -> int:
        """The side of the pictures at which the file's own sizes are ours: the one it declares, else the nearest.

        Caffe's AlexNet was trained on 227×227 pixels; the ONNX model zoo's copy says 224×224, where its windows lie
        elsewhere and the last pooling is padded to make up for it.
        """
        wanted = self.declared or nearest.input_size
        sizes = [size for size in range(8, _LARGEST_INPUT + 1) if self._fits(size)]
        if not sizes:
            raise self._misfit("pooling whose windows reach the border as here, for pictures of some size")
        return min(sizes, key=lambda size: (abs(size - wanted), size))

    def _fits(self, side: int) -> bool:
        width = 0
        for number, conv in enumerate(self.convs, 1):
            if conv is not None:
                side = (side + 2 * conv.padding - conv.weight.shape[2]) // conv.stride + 1 if conv.stride > 0 else 0
                width = len(conv.weight)
            if side < 1:
                return False
            if number in self.pools:
                if side < 2 or self.pools[number].output(side) != side // 2:
                    return False
                side //= 2
        return bool(width * side**2 == self.fcs[0].weight.shape[1])

    def _tensors(self) -> dict[str, Array]:
        layers: dict[str, _Conv | _Fc] = {f"conv{number}": conv for number, conv in enumerate(self.convs, 1) if conv}
        layers |= {f"fc{number}": fc for number, fc in enumerate(self.fcs, len(self.convs) + 1)}
        return {f"{name}.weight": layer.weight for name, layer in layers.items()} | {
            f"{name}.bias": layer.bias for name, layer in layers.items()
        }

    def _misfit(self, wanted: str) -> WeightsError:
        return WeightsError(f"{self.shown} is put together in another way than the networks here, which have {wanted}: "
                            "choose the ONNX file of an AlexNet.")  # fmt: skip


def _scaling(steps: Sequence[_Step], model: ModelConfig, shown: str) -> tuple[Array | None, Array | None]:
    """Mean and deviation of x → (x − mean) / std, where the graph begins with such a thing."""
    factor, offset = np.ones((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    scales = [step for step in steps if isinstance(step, _Scale)]
    if not scales:
        return None, None
    channel, image = (model.in_channels, 1, 1), (model.in_channels, model.input_size, model.input_size)
    damaged = f"{shown} subtracts or divides by numbers that do not fit its pictures: take another copy of it."
    try:
        with np.errstate(all="ignore"):
            for scale in scales:
                factor, offset = factor * scale.factor, offset * scale.factor + scale.offset
            std = np.broadcast_to(np.reciprocal(factor), channel)
            mean = np.broadcast_to(-offset / factor, channel if offset.shape[1:] == (1, 1) else image)
    except ValueError:
        raise WeightsError(damaged) from None
    mean, std = mean.astype(np.float32), std.astype(np.float32)
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise WeightsError(damaged)
    return mean, std


def _is_window_of_one(node: Any) -> bool:
    """What is left of an adaptive pooling whose input has the wanted size already."""
    one = set(_ints(node, "kernel_shape", [])) == {1} and set(_ints(node, "strides", [1])) == {1}
    return node.op_type in _POOLS and one and not any(_ints(node, "pads", []))


def _zeros(count: int) -> Array:
    return np.zeros(count, np.float32)


def _attribute(node: Any, name: str) -> Any:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)


def _int(node: Any, name: str, usual: int) -> int:
    found = _attribute(node, name)
    return usual if found is None else int(found.i)


def _float(node: Any, name: str, usual: float) -> float:
    found = _attribute(node, name)
    return usual if found is None else float(np.format_float_positional(np.float32(found.f)))


def _ints(node: Any, name: str, usual: list[int]) -> list[int]:
    found = _attribute(node, name)
    return usual if found is None else list(found.ints)


def _text(node: Any, name: str) -> str:
    found = _attribute(node, name)
    return "" if found is None else found.s.decode(errors="replace")
