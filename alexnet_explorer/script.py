"""A run's config as a plain PyTorch script: to read, to change, and to run without this project.

The script draws the same random numbers in the same order as `training.loop`, so that its losses are the same;
it holds nothing that its config does not use. Section numbers in brackets are those of the 2012 paper.
"""

from __future__ import annotations

import json
import textwrap
from itertools import pairwise
from string import Template

from .config import MODEL_PRESETS, Layer, ModelConfig, RunConfig, TrainConfig

PACKED_FOLDER = "packed-set"


def plain_script(config: RunConfig, packed_folder: str = PACKED_FOLDER) -> str:
    """The source of a script that trains `config` by torch and numpy alone (and safetensors, if it fine-tunes).

    It reads a packed set (see `data.packed`) from the folder that is its first argument, `packed_folder` without
    one, and prints `train/loss` at the steps at which a run logs it. `train.precision=auto` becomes fp32.
    """
    blocks = [
        *_head(config, packed_folder),
        *_data(config),
        *_augmentation(config),
        *_network(config.model),
        *_first_weights(config),
        *_update(config),
        _rate(config.train),
        *_loop(config),
    ]
    blocks = [block.strip("\n") for block in blocks]
    text = blocks[0]
    for before, block in pairwise(blocks):
        # As PEP 8 has it: functions and classes stand apart.
        after_function = "def " in before and before.rpartition("\n")[2].startswith(" ")
        text += ("\n\n\n" if after_function or block.startswith(("def ", "class ", "@")) else "\n\n") + block
    return text + "\n"


def _head(config: RunConfig, packed_folder: str) -> list[str]:
    model, train = config.model, config.train
    device = '"cuda" if torch.cuda.is_available() else "cpu"' if train.device == "auto" else f'"{train.device}"'
    title = model.preset if model.preset in MODEL_PRESETS else "A network"  # a label may be any text
    docstring = [
        f'"""{title} in plain PyTorch, with the losses of AlexNet Explorer\'s own training.',
        "",
        f"    python script.py [FOLDER{' WEIGHTS' if train.init else ''}]",
        "",
        "FOLDER holds a packed data set; `python -m alexnet_explorer data list` says where one lies.",
        *(["WEIGHTS is the file checkpoints/init.safetensors of the fine-tuned run."] if train.init else []),
        "Numbers in brackets are sections of the paper: Krizhevsky, Sutskever, Hinton, NIPS 2012.",
        '"""',
    ]
    imports = [
        *(["import json"] if _reads_statistics(config) else []),
        "import math",
        "import sys",
        "from collections import OrderedDict",
        "from pathlib import Path",
        "",
        "import numpy as np",
        "import torch",
        "import torch.nn.functional as F",
        *(["from safetensors import safe_open"] if train.init else []),
        "from torch import nn",
    ]
    note = {"constant": "", "one-cycle": "  # the highest"}.get(train.schedule, "  # the first")
    settings = [
        *(
            [f"# The run ends with the epoch in which {train.until_metric} falls to {train.until}, this script later."]
            if train.until
            else []
        ),
        f"EPOCHS, BATCH, SEED = {train.epochs}, {train.batch_size}, {train.seed}",
        f"RATE = {train.learning_rate}{note}",
        f"SIZE = {model.input_size}  # of the network's input, in pixels",
        "",
        f"folder = Path(sys.argv[1] if len(sys.argv) > 1 else {json.dumps(packed_folder, ensure_ascii=False)})",
        f"device = {device}",
        *([f"torch.set_num_threads({train.threads})"] if train.threads else []),
    ]
    return ["\n".join(lines) for lines in (docstring, imports, settings)]


def _reads_statistics(config: RunConfig) -> bool:
    return config.data.scaling == "standard" or "pca-colour" in config.data.augmentation or bool(config.train.init)


# The data


_SEEDS = '''
def seed_of(*key):
    """A seed for each key, such as (seed, epoch, what it is for); near keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def generator(*key):
    return torch.Generator().manual_seed(seed_of(*key))
'''

_READ = """
# Images (N, S, S, 3), uint8, mapped from the disk; labels (N,).
train_images, test_images = (np.load(folder / f"{split}-images.npy", mmap_mode="r") for split in ("train", "test"))
train_labels, test_labels = (torch.from_numpy(np.load(folder / f"{split}-labels.npy")) for split in ("train", "test"))
"""

_ABOUT = """
about = json.loads((folder / "set.json").read_text(encoding="utf-8"))  # names and statistics of the set
""".lstrip()

_SPLIT = """
# A share of the training images is kept for validation.
shuffled = torch.randperm(len(train_images), generator=generator($split_seed, 0))
held_out = max(1, round(len(shuffled) * $val_fraction))
train_index, val_index = shuffled[held_out:].sort().values, shuffled[:held_out].sort().values
"""

_CANVAS = """
# Larger images are cut from; far larger ones shrink to the paper's proportion first, 256 for 227 [4.1].
native = train_images.shape[1]
canvas = SIZE if native <= SIZE else native if native <= $most else $shrunk
edge = (canvas - SIZE) // 2
"""

_MEAN_IMAGE = """
# The mean image is subtracted, nothing else [2].
mean = torch.from_numpy(np.load(folder / "mean-image.npy"))
if canvas != native:
    larger = mean.permute(2, 0, 1)[None]
    mean = F.interpolate(larger, (canvas, canvas), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
mean, std = mean[edge : edge + SIZE, edge : edge + SIZE], torch.ones(3)
"""

_MEAN = """
mean, std = torch.tensor(about["mean"]), torch.tensor(about["std"]).clamp(min=1)  # of R, G, B, in grey levels
"""

_LUMA = "LUMA = torch.tensor([0.299, 0.587, 0.114])  # of R, G, B in a grey pixel\n"
_GREY = """
mean, std = (mean * LUMA).sum(-1, keepdim=True), (std * LUMA).sum(-1, keepdim=True)
"""

_SOURCE = """
# Fine-tuning: pictures are prepared as they were for the network that this one begins from.
with safe_open(sys.argv[2], "pt") as file:
    source = {name: file.get_tensor(name) for name in file.keys()}
    source_about = file.metadata()
native, canvas = train_images.shape[1], int(source_about["canvas"])
mean, std = source["input.mean"], source["input.std"].permute(1, 2, 0)
its_size = json.loads(source_about["config"])["model"]["input_size"]
if its_size != SIZE:  # pictures grow or shrink with the input, so that it shows as much of them
    canvas = round(canvas * SIZE / its_size)
    if mean.shape[-1] > 1:  # the mean image
        mean = F.interpolate(mean[None], (SIZE, SIZE), mode="bilinear", antialias=True)[0]
mean = mean.permute(1, 2, 0)
edge = (canvas - SIZE) // 2
"""

_LOAD = '''
def load(images, index):
    """The images `index` as (B, canvas, canvas, 3), uint8."""
    pixels = torch.from_numpy(images[index.numpy()])
    if canvas != native:
        pixels = pixels.permute(0, 3, 1, 2)
        pixels = F.interpolate(pixels, (canvas, canvas), mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    return pixels


def to_input(pixels):
    """(B, SIZE, SIZE, 3) in grey levels → what the network takes in, (B, $channels, SIZE, SIZE)."""
$grey    return ((pixels - mean) / std).permute(0, 3, 1, 2)
'''


def _data(config: RunConfig) -> list[str]:
    size, data = config.model.input_size, config.data
    grey = config.model.in_channels == 1
    if config.train.init:
        preparation = [_SOURCE, *([_LUMA] if grey else [])]
    else:
        preparation = [
            Template(_CANVAS).substitute(most=size * 5 // 4, shrunk=round(size * 8 / 7)),
            _MEAN_IMAGE if data.scaling == "2012" else _MEAN,
            *([_LUMA + _GREY.lstrip()] if grey else []),
        ]
    to_grey = "    pixels = (pixels * LUMA).sum(-1, keepdim=True)\n" if grey else ""
    return [
        _SEEDS,
        _READ + (_ABOUT if _reads_statistics(config) else ""),
        Template(_SPLIT).substitute(split_seed=data.split_seed, val_fraction=data.val_fraction),
        *preparation,
        Template(_LOAD).substitute(channels=config.model.in_channels, grey=to_grey),
    ]


# Augmentation


_DRAWS = {
    "crop": (
        '"top": torch.randint(low, high + 1, (count,), generator=generator(SEED, epoch, 1)),  # in pixels',
        '"left": torch.randint(low, high + 1, (count,), generator=generator(SEED, epoch, 2)),',
    ),
    "flip": ('"flip": torch.rand(count, generator=generator(SEED, epoch, 3)) < 0.5,',),
    "pca-colour": ('"alpha": torch.randn(count, 3, generator=generator(SEED, epoch, 4)) * 0.1,',),
    "rotation": (
        '"angle": (torch.rand(count, generator=generator(SEED, epoch, 5)) * 2 - 1) * math.radians($rotation),',
    ),
    "shift": (
        '"shift": (torch.rand(count, 2, generator=generator(SEED, epoch, 6)) * 2 - 1) * $shift * canvas,  # pixels',
    ),
    "blur": ('"blur": (torch.rand(count, generator=generator(SEED, epoch, 8)) * 2 - 1).clamp(min=0),  # share',),
    "zoom": ('"zoom": torch.rand(count, 3, generator=generator(SEED, epoch, 9)),',),
}

_CROP = '''
# Offsets of a random crop: inside the canvas if there is room, else with an eighth of the size around it.
around = 0 if canvas - SIZE >= SIZE // 8 else SIZE // 8
low, high = -around, canvas - SIZE + around


def crop(pixels, top, left):
    """Windows of SIZE×SIZE; beyond its border an image is mirrored."""
    rows, columns = (mirrored(offset[:, None] + torch.arange(SIZE)) for offset in (top, left))
    return pixels[torch.arange(len(pixels))[:, None, None], rows[:, :, None], columns[:, None, :]]


def mirrored(position):
    position = position.abs()
    return torch.where(position >= canvas, 2 * (canvas - 1) - position, position)
'''

_COLOUR = """
# The principal components of the set's RGB pixels in 0–1, by which all pixels of an image move together [4.1].
values, vectors = (torch.from_numpy(part).float() for part in np.linalg.eigh(np.array(about["colour_covariance"])))
"""

_MOVE = '''
def move(pixels, $arguments):
    """$does; what comes in from outside is the image mirrored at its border."""
$moves
    pixels = pixels.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(torch.stack(back, 1).view(-1, 2, 3), list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return moved.round().clamp(0, 255).permute(0, 2, 3, 1)
'''

_TURN = "    cos, sin = angle.cos(), angle.sin()"
_STEP = "    down, right = shift.T * 2 / canvas  # grid_sample's units: the image spans −1 … 1"
# By (rotation, shift): what is said of it, and the map from a place of the result to its source, two rows of a matrix.
_MOVES = {
    (True, False): (
        "Turn images counter-clockwise",
        "    zero = torch.zeros_like(angle)\n    back = [cos, -sin, zero, sin, cos, zero]",
    ),
    (False, True): (
        "Move images",
        "    one, zero = torch.ones_like(down), torch.zeros_like(down)\n"
        "    back = [one, zero, -right, zero, one, -down]",
    ),
    (True, True): (
        "Turn images counter-clockwise and move them",
        "    back = [cos, -sin, down * sin - right * cos, sin, cos, -right * sin - down * cos]",
    ),
}

_ZOOM = '''
def zoom_in(pixels, drawn):
    """Enlarge a square part of each image to the whole size."""
    share, (down, right) = 1 - (1 - $zoom) * drawn[:, 0], drawn[:, 1:].T
    zero, room = torch.zeros_like(share), 1 - share
    places = [share, zero, (2 * right - 1) * room, zero, share, (2 * down - 1) * room]
    pixels = pixels.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(torch.stack(places, 1).view(-1, 2, 3), list(pixels.shape), align_corners=False)
    found = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return found.round().clamp(0, 255).permute(0, 2, 3, 1)
'''

_SOFTEN = '''
def soften(x, share):
    """Mix in a copy softened by the weights 1-2-1 down and across."""
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    softened = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 16
    return torch.lerp(x, softened, share.to(x).view(-1, 1, 1, 1))
'''


_DRAW = '''
def draw(epoch):
    """What changes in each training image in this epoch: each kind has a random stream of its own."""
    count = len(train_images)
    return {
$draws
    }
'''

_PLAIN_BATCH = '''
def training_batch(index):
    """Images as the network sees them in training, none changed."""
    return to_input(load(train_images, index)[:, edge : edge + SIZE, edge : edge + SIZE])
'''

_BATCH = '''
def training_batch(index, draws):
    """Images as the network sees them in training, changed at random [4.1]."""
    drawn = {name: draw[index] for name, draw in draws.items()}
    pixels = load(train_images, index)
'''

_CROPPED = 'crop(pixels, drawn["top"], drawn["left"])'
_CENTRED = "pixels[:, edge : edge + SIZE, edge : edge + SIZE]"
_FLIPPED = 'torch.where(drawn["flip"].view(-1, 1, 1, 1), pixels.flip(2), pixels)'
_COLOURED = 'pixels + 255 * ((drawn["alpha"] * values) @ vectors.T)[:, None, None, :]'
_SOFTENED = 'soften(to_input(pixels)$type, drawn["blur"])'


def _augmentation(config: RunConfig) -> list[str]:
    wanted = config.data.augmentation
    if not wanted:
        return [_PLAIN_BATCH]
    moves = "rotation" in wanted, "shift" in wanted
    arguments = ["angle"] * moves[0] + ["shift"] * moves[1]
    blocks = [_CROP] * ("crop" in wanted) + [_COLOUR] * ("pca-colour" in wanted) + [_SOFTEN] * ("blur" in wanted)
    if arguments:
        does, back = _MOVES[moves]
        body = "\n".join([_TURN] * moves[0] + [_STEP] * moves[1] + [back])
        blocks.append(Template(_MOVE).substitute(arguments=", ".join(arguments), does=does, moves=body))
    if "zoom" in wanted:
        blocks.append(Template(_ZOOM).substitute(zoom=config.data.zoom))
    draws = textwrap.indent("\n".join(line for name in wanted for line in _DRAWS[name]), " " * 8)
    numbers = {"rotation": config.data.rotation, "shift": config.data.shift}
    blocks.append(Template(_DRAW.replace("$draws", draws)).substitute(numbers))

    given = ", ".join(f'drawn["{name}"]' for name in arguments)
    changes = [f"move(pixels, {given})"] * bool(arguments) + ['zoom_in(pixels, drawn["zoom"])'] * ("zoom" in wanted)
    changes += [_CROPPED if "crop" in wanted else _CENTRED]
    changes += [_FLIPPED] * ("flip" in wanted) + [_COLOURED] * ("pca-colour" in wanted)
    lines = [f"    pixels = {change}" for change in changes]
    # The loop keeps images as the network takes them in.
    softened = Template(_SOFTENED).substitute(type=".bfloat16()" if config.train.precision == "bf16" else "")
    end = f"    return {softened if 'blur' in wanted else 'to_input(pixels)'}"
    return [*blocks, _BATCH + "\n".join([*lines, end])]


# The network


_LRN_ACROSS = '''
class LRN(nn.Module):
    """b = a / (k + α Σ a²)^β over $size neighbouring maps$tower [3.3]; PyTorch divides its α by $size."""

    def forward(self, a):
$body
'''

_LRN_WITHIN = '''
class LRN(nn.Module):
    """b = a / (k + α Σ a²)^β over $size×$size positions of the same map, as in cuda-convnet."""

    def forward(self, a):
        a = a.float()
        total = F.avg_pool2d(a.square(), $size, 1, $half, divisor_override=1)
        return a / ($k + $alpha * total) ** $beta
'''


def _network(model: ModelConfig) -> list[str]:
    layers = model.layers()
    lines = []
    flat = False
    for layer in layers:
        if layer.kind in ("fc", "dropout") and not flat:
            lines.append("flatten=nn.Flatten(),")
            flat = True
        shape = "×".join(map(str, layer.output))
        note = _note(layer, model)
        lines.append(f"{layer.name}={_module(layer, model)},  # {shape}{note}")
    network = "model = nn.Sequential(\n    OrderedDict(\n" + textwrap.indent("\n".join(lines), " " * 8) + "\n    )\n)"
    return [*([_lrn(model)] if any(layer.kind == "lrn" for layer in layers) else []), network]


def _lrn(model: ModelConfig) -> str:
    if model.lrn_kind == "within-map":
        return Template(_LRN_WITHIN).substitute(
            size=model.lrn_size, half=model.lrn_size // 2, k=model.lrn_k, alpha=model.lrn_alpha, beta=model.lrn_beta
        )
    numbers = f"{model.lrn_size}, {model.lrn_size} * {model.lrn_alpha}, {model.lrn_beta}, {model.lrn_k}"
    if model.towers == 1:
        body = [f"return F.local_response_norm(a.float(), {numbers})"]
    else:
        body = [
            f"towers = a.float().reshape({model.towers} * len(a), -1, *a.shape[2:])  # each on its own",
            f"return F.local_response_norm(towers, {numbers}).view(a.shape)",
        ]
    return Template(_LRN_ACROSS).substitute(
        size=model.lrn_size, tower=" of the same tower" if model.towers > 1 else "",
        body=textwrap.indent("\n".join(body), " " * 8),
    )  # fmt: skip


def _module(layer: Layer, model: ModelConfig) -> str:
    if layer.kind == "conv":
        n = layer.number - 1
        given = [str(layer.input[0]), str(layer.output[0]), str(model.kernels[n])]
        given += [f"stride={model.strides[n]}"] if model.strides[n] != 1 else []
        given += [f"padding={model.paddings[n]}"] if model.paddings[n] else []
        given += [f"groups={layer.groups}"] if layer.groups > 1 else []
        return f"nn.Conv2d({', '.join(given)})"
    if layer.kind == "activation":
        return {"relu": "nn.ReLU()", "tanh": "nn.Tanh()", "sigmoid": "nn.Sigmoid()"}[model.activation]
    if layer.kind == "lrn":
        return "LRN()"
    if layer.kind == "pool":
        pool = "MaxPool2d" if model.pool_kinds[model.pool_after.index(layer.number)] == "max" else "AvgPool2d"
        return f"nn.{pool}(3, 2, ceil_mode=True)" if model.pooling == "overlapping" else f"nn.{pool}(2, 2)"
    if layer.kind == "dropout":
        return f"nn.Dropout({model.dropout})"
    return f"nn.Linear({layer.input[0]}, {layer.output[0]})"


def _note(layer: Layer, model: ModelConfig) -> str:
    if layer.kind == "conv" and layer.groups > 1:
        return f", {layer.groups} towers [3.2]"
    if layer.kind == "pool" and model.pooling == "overlapping":
        return ", overlapping [3.4]"
    return {"dropout": ", [4.2]", "lrn": ", [3.3]"}.get(layer.kind, "")


_HE = """
# First weights: He's, with the gain of the activation; the last layer feeds a softmax instead.
first = torch.Generator().manual_seed(SEED)
learned = [layer for layer in model if isinstance(layer, nn.Conv2d | nn.Linear)]
for layer in learned:
    gain = "linear" if layer is learned[-1] else "$activation"
    nn.init.kaiming_normal_(layer.weight, nonlinearity=gain, generator=first)
    nn.init.zeros_(layer.bias)
"""

_BEGIN = """
# Layers that fit begin with the weights of the other network; the last one only where the classes are the same.
for name, layer in model.named_children():
    own = {key: (f"{name}.{key}", value.shape) for key, value in layer.state_dict().items()}
    fits = all(key in source and source[key].shape == shape for key, shape in own.values())
    if fits and (name != "$last" or json.loads(source_about["classes"]) == about["classes"]):
        layer.load_state_dict({key: source[its] for key, (its, _) in own.items()})
"""


def _first_weights(config: RunConfig) -> list[str]:
    model = config.model
    learned = [layer for layer in model.layers() if layer.kind in ("conv", "fc")]
    if model.init == "modern":
        text = Template(_HE).substitute(activation=model.activation)
    else:
        table = [
            f"    (model.{layer.name}, {model.init_std[min(place, len(model.init_std) - 1)]}, "
            f"{int(layer.number in model.bias_one)}),"
            for place, layer in enumerate(learned)
        ]
        text = "\n".join(
            [
                "# First weights [5]: the deviation of the weights, and the biases.",
                "first = torch.Generator().manual_seed(SEED)",
                "for layer, deviation, bias in (",
                *table,
                "):",
                "    nn.init.normal_(layer.weight, 0.0, deviation, generator=first)",
                "    nn.init.constant_(layer.bias, bias)",
            ]
        )
    begin = [Template(_BEGIN).substitute(last=learned[-1].name)] if config.train.init else []
    frozen = [f"model.{layer}.requires_grad_(False)" for layer in config.train.freeze]
    return [text, *begin, "\n".join([*frozen, "model.to(device, memory_format=torch.channels_last)"])]


# The update


_MOMENTUM = '''
@torch.no_grad()
def update(rate):
    """v ← $momentum v − $decay ε w − ε g;  w ← w + v: the rate ε is inside the velocity, as the paper writes it [5]."""
    for w, v in velocity.items():
        v.mul_($momentum).sub_(rate * ($decay * w + w.grad))
        w.add_(v)
        w.grad = None
'''

_INNER = "# Muon (Jordan et al., 2024) moves the inner convolutions; the number is that of their towers.\n"

_MUON = (
    '''
@torch.no_grad()
def update(rate):
    """Inner convolutions move in a direction whose singular values are about 1, the others as in 2012 [5]."""
    for w, v in velocity.items():
        if w in inner:
            v.mul_($momentum).add_(w.grad)
            towards = (w.grad + $momentum * v).reshape(inner[w], len(w) // inner[w], -1)
            scale = math.sqrt(max(1.0, towards.shape[1] / towards.shape[2]))
            w.mul_(1 - $decay * rate).sub_(rate * scale * orthogonalised(towards).reshape(w.shape))
        else:
            v.mul_($momentum).sub_(rate * ($decay * w + w.grad))
            w.add_(v)
        w.grad = None
''',
    '''
def orthogonalised(matrices):
    """Newton and Schulz's iteration: the same singular vectors, singular values between 0.7 and 1.2."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x
''',
)


def _update(config: RunConfig) -> list[str]:
    train = config.train
    learned = [layer for layer in config.model.layers() if layer.kind in ("conv", "fc")]
    inner = ", ".join(
        f"model.{layer.name}.weight: {layer.groups}"
        for layer in learned[1:-1]
        if layer.kind == "conv" and layer.name not in train.freeze
    )
    begin = "velocity = {w: torch.zeros_like(w) for w in model.parameters() if w.requires_grad}"
    numbers = {"momentum": train.momentum, "decay": train.weight_decay}
    if train.optimiser == "muon" and inner:
        return [begin, _INNER + f"inner = {{{inner}}}", *(Template(text).substitute(numbers) for text in _MUON)]
    return [begin, Template(_MOMENTUM).substitute(numbers)]


_RATES = {
    "constant": """
def learning_rate(done):
    return RATE
""",
    "step": '''
def learning_rate(done):
    """A tenth after half, three quarters and nine tenths of the training."""
    return RATE * 0.1 ** sum(done >= share for share in (0.5, 0.75, 0.9))
''',
    "cosine": '''
def learning_rate(done):
    """When a share `done` of the training is done: half a cosine."""
    return RATE * (1 + math.cos(math.pi * done)) / 2
''',
    "one-cycle": '''
def learning_rate(done):
    """When a share `done` of the training is done: rises until $warm_up, then falls to zero."""
    return RATE * max(0.04, min(done / $warm_up, 1.0)) * min((1 - done) / (1 - $warm_up), 1.0)
''',
    "plateau": '''
def learning_rate(done):
    """A tenth each time $patience epochs in a row brought no lower validation loss, three times at most [5]."""
    best, waited, drops = math.inf, 0, 0
    for loss in val_losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == $patience and drops < 3:
            waited, drops = 0, drops + 1
    return RATE * 0.1**drops
''',
}


def _rate(train: TrainConfig) -> str:
    return Template(_RATES[train.schedule]).substitute(warm_up=train.warm_up, patience=train.patience)


_EVALUATE = '''
@torch.inference_mode()
def evaluate(images, labels, index):
    """Mean loss and share of errors, one centre view of each image."""
    model.eval()
    loss = errors = 0.0
    for part in index.split(256):
        x = to_input(load(images, part)[:, edge : edge + SIZE, edge : edge + SIZE]).to(device)
        y = labels[part].to(device)
$forward
        loss += F.cross_entropy(logits, y, reduction="sum").item()
        errors += (logits.argmax(1) != y).sum().item()
    return loss / len(index), errors / len(index)
'''

_MEAN_WEIGHTS = '''
# The mean of the weights after each of the last steps is validated; training goes on from the weights themselves.
weight_mean = {w: torch.zeros_like(w) for w in model.parameters()}
averaged = 0


@torch.no_grad()
def average():
    global averaged
    averaged += 1
    for w, mean_w in weight_mean.items():
        mean_w.lerp_(w, 1 / averaged)


def swap_in_mean():
    """Exchange the weights and their mean, if there is one; once more, and they are back."""
    if averaged:
        for w, mean_w in weight_mean.items():
            w.data, weight_mean[w] = mean_w, w.data
'''

_AVERAGE_STEP = """        if step > round(steps * EPOCHS * (1 - $share)):
            average()
"""

_LOOP = """
steps = math.ceil(len(train_index) / BATCH)
every = max(1, min(steps // 10, 50))  # steps between two lines
step, val_losses = 0, []
for epoch in range(EPOCHS):
    model.train()
    order = torch.randperm(len(train_index), generator=generator(SEED, epoch, 0))
$draws    epoch_loss = loss_since = images_since = 0.0
    for index in train_index[order].split(BATCH):
        rate = learning_rate(step / (steps * EPOCHS))
$dropout        x, y = training_batch($given).to(device), train_labels[index].to(device)
$forward
        loss = F.cross_entropy(logits, y)
        loss.backward()
        update(rate)
        step += 1
$average        epoch_loss += loss.item() * len(index)
        loss_since += loss.item() * len(index)
        images_since += len(index)
        if step % every == 0:
            print(f"step {step}  train/loss {loss_since / images_since:.7f}  learning_rate {rate:.7g}", flush=True)
            loss_since = images_since = 0.0
$swap    val_loss, val_error = evaluate(train_images, train_labels, val_index)
$swap    val_losses.append(val_loss)
    print(f"epoch {epoch + 1}  epoch/train_loss {epoch_loss / len(train_index):.7f}", end="  ")
    print(f"val/loss {val_loss:.7f}  val/top1_error {val_error:.7f}", flush=True)
if len(test_images):
$swap    test_loss, test_error = evaluate(test_images, test_labels, torch.arange(len(test_images)))
    print(f"test/loss {test_loss:.7f}  test/top1_error {test_error:.7f}")
"""


def _loop(config: RunConfig) -> list[str]:
    train = config.train
    forward = ["logits = model(x)"]
    if train.precision == "bf16":
        forward = ["with torch.autocast(device, torch.bfloat16):", "    logits = model(x).float()"]
    lines = textwrap.indent("\n".join(forward), " " * 8)
    augmented = bool(config.data.augmentation)
    drops = any(layer.kind == "dropout" for layer in config.model.layers())
    loop = Template(_LOOP).substitute(
        forward=lines,
        draws="    draws = draw(epoch)\n" if augmented else "",
        given="index, draws" if augmented else "index",
        dropout="        torch.manual_seed(seed_of(SEED, step, 7))  # of dropout\n" if drops else "",
        swap="    swap_in_mean()\n" if train.average else "",
        average=_AVERAGE_STEP.replace("$share", str(train.average)) if train.average else "",
    )
    mean = [_MEAN_WEIGHTS] if train.average else []
    return [Template(_EVALUATE).substitute(forward=lines), *mean, loop]
