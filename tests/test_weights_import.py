"""Weights from elsewhere: a user's files of every kind, and a download that may break at any point."""

import errno
import hashlib
import io
import os
import pickle
import re
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from alexnet_explorer import weights_import
from alexnet_explorer.config import MODEL_PRESETS, ModelConfig, RunConfig
from alexnet_explorer.data.preprocess import Preprocessing
from alexnet_explorer.model import AlexNet
from alexnet_explorer.weights import load_weights, save_weights
from alexnet_explorer.weights_file import WeightsError
from alexnet_explorer.weights_import import TORCHVISION_NAMES, download, download_torchvision, import_weights

SMALL = MODEL_PRESETS["alexnet-32"]


def state_of(config=SMALL):
    return AlexNet(config).state_dict()


def torchvision_names(state):
    theirs = {ours: name for name, ours in TORCHVISION_NAMES.items()}
    return {f"{theirs[name.split('.')[0]]}.{name.split('.')[1]}": tensor for name, tensor in state.items()}


def pth(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def assert_holds(path, state, preset="alexnet-32"):
    loaded = load_weights(path)
    assert loaded.config.model.preset == preset
    assert loaded.model.state_dict().keys() == state.keys()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, state[name].float()), name
    return loaded


def test_torchvisions_alexnet_gives_the_same_logits(tmp_path):
    from torchvision.models import AlexNet_Weights, alexnet

    theirs = alexnet().half()
    path = import_weights(pth(theirs.state_dict()), "alexnet.pth", tmp_path)
    theirs = theirs.float().eval()
    loaded = load_weights(path)
    assert loaded.config.model == MODEL_PRESETS["alexnet-torchvision"]

    weights = AlexNet_Weights.IMAGENET1K_V1
    assert loaded.classes == tuple(weights.meta["categories"])
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((600, 400))
    x = loaded.preprocessing(image)
    assert torch.allclose(x, weights.transforms()(image)[None], atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(loaded.model(x), theirs(x), atol=1e-5)


SMALL_STATE = state_of()


@pytest.mark.parametrize(
    "content",
    [
        SMALL_STATE,
        torchvision_names(SMALL_STATE),
        {"state_dict": SMALL_STATE, "epoch": 3},
        {"model_state_dict": SMALL_STATE, "optimizer": {"lr": 0.1}},
        {"model": {f"module.{name}": tensor for name, tensor in SMALL_STATE.items()}},
        {f"_orig_mod.{name}": tensor for name, tensor in SMALL_STATE.items()},
        # As PyTorch's own ImageNet example wraps AlexNet.
        {name.replace("features.", "features.module."): t for name, t in torchvision_names(SMALL_STATE).items()},
        {name: torch.nn.Parameter(tensor) for name, tensor in SMALL_STATE.items()},
        {name: tensor.double() for name, tensor in SMALL_STATE.items()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_usual_form_of_a_pytorch_file(tmp_path, content, zipped):
    path = import_weights(pth(content, _use_new_zipfile_serialization=zipped), "mine.pth", tmp_path)
    assert path == tmp_path / "mine.safetensors"
    assert_holds(path, SMALL_STATE)


def test_what_a_plain_file_leaves_open_is_filled_in(tmp_path):
    state = state_of(SMALL.model_copy(update={"num_classes": 3}))
    loaded = assert_holds(import_weights(safetensors.torch.save(state), "pets.safetensors", tmp_path), state)
    assert loaded.classes == ("class 0", "class 1", "class 2")
    assert (loaded.title, loaded.trained_on) == ("pets.safetensors", "unknown (user's file)")
    assert (loaded.preprocessing.canvas, loaded.preprocessing.size) == (32, 32)


@pytest.mark.parametrize("preset", ["alexnet-64", "alexnet-32", "convnet-2012"])
@pytest.mark.parametrize("towers", [1, 2])
def test_presets_and_towers_are_told_by_their_shapes(tmp_path, preset, towers):
    config = MODEL_PRESETS[preset].model_copy(update={"towers": towers, "num_classes": 7})
    state = {name: tensor.half() for name, tensor in state_of(config).items()}
    loaded = assert_holds(import_weights(pth(state), "x.pt", tmp_path), state, preset)
    assert loaded.config.model == config


def test_half_precision_stays_half(tmp_path):
    halved = {name: tensor.half() for name, tensor in SMALL_STATE.items()}
    path = import_weights(pth(halved), "half.pth", tmp_path)
    assert path.stat().st_size < 1.1 * 2 * SMALL.parameters()
    assert_holds(path, halved)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.safetensors"
    mean, std = torch.rand(3, 32, 32) * 255, torch.ones(3, 1, 1)
    config = RunConfig(model=ModelConfig(activation="tanh", num_classes=2, lrn=False))
    save_weights(path, AlexNet(config.model), Preprocessing(40, 32, mean, std), ["cat", "dog"], config)
    return path


def test_our_own_files_keep_everything(own, tmp_path):
    path = import_weights(own, "shared by a friend.safetensors", tmp_path / "models")
    assert path == tmp_path / "models" / "shared-by-a-friend.safetensors"
    assert path.read_bytes() == own.read_bytes()
    assert load_weights(path).config.model.activation == "tanh"


def test_names_stay_inside_the_folder_and_nothing_is_overwritten(tmp_path):
    folder = tmp_path / "models"
    a, b = pth(SMALL_STATE), pth(state_of())
    first = import_weights(a, "../../etc/Model (1).PTH", folder)
    assert first == folder / "model-1.safetensors"
    for _ in range(2):  # the same again makes no third file
        assert import_weights(b, "..\\..\\model-1.pth", folder) == folder / "model-1-2.safetensors"
    assert import_weights(a, "…", folder).parent == folder
    assert_holds(first, SMALL_STATE)
    assert sorted(path.name for path in folder.iterdir()) == [
        "model-1-2.safetensors", "model-1.safetensors", "model.safetensors",
    ]  # fmt: skip


def test_two_visitors_with_the_same_file_name(tmp_path):
    files = [pth(state_of()) for _ in range(4)]
    paths = []
    threads = [
        threading.Thread(target=lambda data=data: paths.append(import_weights(data, "model.pth", tmp_path)))
        for data in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 4
    assert len({load_weights(path).digest for path in paths}) == 4


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {**SMALL_STATE, "conv1.weight": evil}])
@pytest.mark.parametrize("write", [pth, lambda o: pth(o, _use_new_zipfile_serialization=False), pickle.dumps])
def test_code_in_a_pickle_is_not_run(tmp_path, wrap, write):
    trap = tmp_path / "trap"
    with pytest.raises(WeightsError, match=r"evil.pth holds more than tensors.* not opened"):
        import_weights(write(wrap(Malicious(trap))), "evil.pth", tmp_path / "models")
    assert not trap.exists()
    assert list((tmp_path / "models").iterdir()) == []


def test_a_whole_pickled_model_is_told_to_save_its_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"torch.save\(model.state_dict\(\)"):
        import_weights(pth(torch.nn.Linear(2, 2)), "model.pth", tmp_path)


def changed(**tensors):
    return {**SMALL_STATE, **{name.replace("_", "."): tensor for name, tensor in tensors.items()}}


def without(*names):
    return {name: tensor for name, tensor in SMALL_STATE.items() if name not in names}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (without("fc7.bias"), r"nearest is alexnet-32, where this differs: 1 missing \(fc7.bias\)"),
        (changed(bn1_weight=torch.ones(4)), r"nearest is alexnet-32, .* 1 not expected \(bn1.weight\)"),
        (changed(conv1_weight=torch.ones(32, 3, 7, 7)), "conv1.weight is 32×3×7×7 instead of 32×3×5×5"),
        (changed(conv1_bias=torch.tensor(float("nan")).expand(32)), "conv1.bias holds values that are not finite"),
        (changed(fc8_bias=torch.full((10,), 1e300, dtype=torch.float64)), "fc8.bias holds values that are not finite"),
        (changed(fc8_bias=torch.ones(10, dtype=torch.int64)), "fc8.bias holds int64 values"),
        (changed(fc8_bias=torch.ones(10).to(torch.float8_e5m2)), "fc8.bias holds float8_e5m2 values"),
        (changed(fc8_bias=torch.ones(10, device="meta")), "not plain floating-point weights"),
        (changed(fc8_bias=torch.ones(10).to_sparse()), "not plain floating-point weights"),
        # Terabytes, were they ever laid out.
        (changed(fc8_bias=torch.ones(1).expand(10**7, 10**7)), "fc8.bias is 10000000×10000000 instead of 10"),
        ({"layer1.0.conv1.weight": torch.ones(4)}, "fits none of the networks here"),
        ({}, "fits none of the networks here"),
        ({"epoch": 3, "net": SMALL_STATE}, "holds no state dict"),
        ([1, 2, 3], "holds no state dict"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_what_does_not_fit_is_named(tmp_path, state, words):
    with pytest.raises(WeightsError, match=words):
        import_weights(pth(state), "mine.pth", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_text_file_an_empty_file_and_other_junk(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("photo.txt", "no weights")
    for name, data, words in [
        ("notes.pth", b"these are my notes", "neither a PyTorch file"),
        ("empty.pth", b"", "neither a PyTorch file"),
        ("empty.safetensors", b"", "neither a PyTorch file"),
        ("photos.pt", archive.getvalue(), "is damaged"),
        ("list.pth", pickle.dumps({"a": 1}, protocol=2), "is damaged"),
        ("long.safetensors", (2**62).to_bytes(8, "little") + b"{" * 99, "its header is damaged"),
        ("deep.safetensors", (2**20).to_bytes(8, "little") + b'{"a":' * 2**18, "not a safetensors file"),
    ]:
        with pytest.raises(WeightsError, match=f"{name} .*{words}"):
            import_weights(data, name, tmp_path)


def test_more_than_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)  # a hole: takes no room
    with pytest.raises(WeightsError, match=r"huge.pth is larger than 1 GB"):
        import_weights(path, "huge.pth", tmp_path)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        entry = zipfile.ZipInfo("archive/data.pkl")
        file.writestr(entry, b"")
    # The directory at the end of the archive says how much the entry unpacks to.
    at = bomb.getvalue().rindex(b"PK\x01\x02") + 24
    data = bomb.getvalue()[:at] + (2**31).to_bytes(4, "little") + bomb.getvalue()[at + 4 :]
    with pytest.raises(WeightsError, match="unpacks to more than 1 GB"):
        import_weights(data, "bomb.pth", tmp_path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "own"])
def test_a_damaged_file_gives_a_sentence_never_a_traceback(tmp_path, own, kind):
    data = {
        "zip": pth(SMALL_STATE),
        "legacy": pth(SMALL_STATE, _use_new_zipfile_serialization=False),
        "safetensors": safetensors.torch.save(SMALL_STATE),
        "own": own.read_bytes(),
    }[kind]
    for end in [*range(1, 60, 7), *np.linspace(100, len(data) - 1, 12, dtype=int)]:
        with pytest.raises(WeightsError):
            import_weights(data[:end], "cut.pth", tmp_path / "models")
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(data)
        damaged[random.integers(0, 1500)] ^= int(random.integers(1, 256))
        try:
            import_weights(bytes(damaged), "flipped.pth", tmp_path / "models")
        except WeightsError:
            refused += 1
    assert refused > 3


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_on_the_disk_for_an_import(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WeightsError, match="could not be stored: No space left"):
        import_weights(pth(SMALL_STATE), "mine.pth", tmp_path)
    assert list(tmp_path.iterdir()) == []


# The download


class Server(ThreadingHTTPServer):
    """Serves `content`; `breaks` are how many bytes the next answers send before the connection breaks."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.breaks, self.ranges, self.status, self.asked = b"", [], True, 0, []

    def url(self, digest=None):
        digest = digest or hashlib.sha256(self.content).hexdigest()[:8]
        return f"http://127.0.0.1:{self.server_port}/models/tiny-{digest}.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.ranges else 0
        body = self.server.content[start:]
        if self.server.status or (wanted and not body):
            self.send_error(self.server.status or 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks.pop(0)] if self.server.breaks else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        server.content = np.random.default_rng(0).bytes(1_000_000)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_download_tells_how_far_it_is(server, tmp_path):
    seen = []
    target = download(server.url(), tmp_path / "new" / "tiny.pth", lambda *numbers: seen.append(numbers))
    assert target.read_bytes() == server.content
    assert seen[-1] == (1_000_000, 1_000_000)
    assert len(seen) > 2 and seen == sorted(seen)
    assert list(target.parent.iterdir()) == [target]
    download(server.url(), target)
    assert len(server.asked) == 1, "what is there is not fetched again"


def test_a_broken_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.breaks = [300_000, 0, 100_000]
    target = download(server.url(), tmp_path / "tiny.pth")
    assert target.read_bytes() == server.content
    assert server.asked == [None, "bytes=300000-", "bytes=300000-", "bytes=400000-"]


def test_one_that_keeps_breaking_goes_on_at_the_next_press(server, tmp_path):
    server.breaks = [100_000] * 5
    with pytest.raises(WeightsError, match="broke off 5 times: what has arrived is kept"):
        download(server.url(), tmp_path / "tiny.pth")
    assert (tmp_path / "tiny.pth.part").stat().st_size == 500_000
    assert download(server.url(), tmp_path / "tiny.pth").read_bytes() == server.content
    assert server.asked[-1] == "bytes=500000-"


def test_cancelling_keeps_what_has_arrived(server, tmp_path):
    class CancelledError(Exception):
        pass

    def cancel(done, total):
        if done > total / 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        download(server.url(), tmp_path / "tiny.pth", cancel)
    arrived = (tmp_path / "tiny.pth.part").stat().st_size
    assert arrived > 500_000
    assert download(server.url(), tmp_path / "tiny.pth").read_bytes() == server.content
    assert server.asked[-1] == f"bytes={arrived}-"


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges, server.breaks = False, [300_000]
    assert download(server.url(), tmp_path / "tiny.pth").read_bytes() == server.content


def test_a_complete_part_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "tiny.pth.part").write_bytes(server.content)
    assert download(server.url(), tmp_path / "tiny.pth").read_bytes() == server.content


@pytest.mark.parametrize("ranges", [True, False])
def test_another_file_is_deleted_and_named(server, tmp_path, ranges):
    server.ranges = ranges
    url = server.url("0123abcd")
    with pytest.raises(WeightsError, match=r"not tiny.pth .* deleted"):
        download(url, tmp_path / "tiny.pth")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "tiny.pth.part").write_bytes(bytes(2_000_000))  # longer than the file, and wrong
    if ranges:
        with pytest.raises(WeightsError, match="deleted"):
            download(server.url(), tmp_path / "tiny.pth")
    assert download(server.url(), tmp_path / "tiny.pth").read_bytes() == server.content


def test_a_refusal_is_passed_on(server, tmp_path):
    server.status = 404
    with pytest.raises(WeightsError, match="answered 404"):
        download(server.url(), tmp_path / "tiny.pth")


def test_without_a_network_it_says_so_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(weights_import, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(WeightsError, match=r"could not be reached.*works without"):
            download(f"http://127.0.0.1:{port}/tiny-01234567.pth", tmp_path / "tiny.pth")
    with pytest.raises(WeightsError, match=r"could not be reached.*works without"):
        download(f"http://127.0.0.1:{port}/tiny-01234567.pth", tmp_path / "tiny.pth")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_no_room_on_the_disk_for_the_download(server, tmp_path):
    (tmp_path / "tiny.pth.part").symlink_to("/dev/full")
    with pytest.raises(WeightsError, match="could not be stored: No space left"):
        download(server.url(), tmp_path / "tiny.pth")


def test_two_downloads_at_a_time_do_not_spoil_each_other(server, tmp_path):
    second = []

    def start_second(done, total):
        if not second and done > total / 2:
            second.append(download(server.url(), tmp_path / "tiny.pth"))

    assert download(server.url(), tmp_path / "tiny.pth", start_second) == second[0]
    assert second[0].read_bytes() == server.content
    assert list(tmp_path.iterdir()) == second


def test_torchvisions_weights_from_the_button_to_the_model(server, tmp_path):
    state = state_of(SMALL.model_copy(update={"num_classes": 1000}))  # a small one under torchvision's names
    server.content = pth(torchvision_names(state))
    path = download_torchvision(tmp_path, url=server.url())
    assert list(tmp_path.iterdir()) == [path], "the .pth is gone"
    loaded = assert_holds(path, state)
    assert (loaded.classes[0], loaded.trained_on) == ("tench", "ImageNet (ILSVRC 2012)")
    assert download_torchvision(tmp_path, url=server.url()) == path
    assert len(server.asked) == 1


def test_a_conversion_that_fails_does_not_cost_the_download(server, tmp_path, monkeypatch):
    server.content = pth(torchvision_names(SMALL_STATE))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(WeightsError, match="No space left"):
            download_torchvision(tmp_path, url=server.url())
    assert_holds(download_torchvision(tmp_path, url=server.url()), SMALL_STATE)
    assert len(server.asked) == 1
