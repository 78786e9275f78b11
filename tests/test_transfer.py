"""A run as a zip file: it reopens as it was, and a zip from a stranger leaves nothing behind."""

import io
import json
import os
import stat
import struct
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet_explorer import transfer
from alexnet_explorer.notes import Notes
from alexnet_explorer.runs import EVIDENCE, Run, RunError, create_run, find_run, list_runs, this_process
from alexnet_explorer.transfer import export_run, import_run
from alexnet_explorer.trash import restore
from alexnet_explorer.weights import load_weights

CONFIG, STATUS = "config.json", "status.json"


@pytest.fixture(scope="module")
def zipped(trained, tmp_path_factory):
    """A trained run in a zip file."""
    file = tmp_path_factory.mktemp("zip") / "run.zip"
    export_run(trained.relu, file)
    return file


@pytest.fixture(scope="module")
def parts(zipped):
    """The files of that zip, by their paths in the run's folder."""
    with zipfile.ZipFile(zipped) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def files_of(run):
    return {str(file.relative_to(run.path)): file.read_bytes() for file in run.path.rglob("*") if file.is_file()}


def pack(members, run_id="stranger", compression=zipfile.ZIP_DEFLATED):
    """A zip of these files, as a stranger may make it: names may repeat or lead anywhere."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else f"{run_id}/{name}", content)
    return data


def refused(data, root, match):
    """Nothing of it is left, not even the folder that it was unpacked into."""
    with pytest.raises(RunError, match=match):
        import_run(data, root)
    assert not root.exists() or list(root.iterdir()) == []


def test_a_run_reopens_elsewhere_as_it_was(trained, zipped, tmp_path):
    run = import_run(zipped, tmp_path / "elsewhere")
    sent, come = files_of(trained.relu), files_of(run)
    left_out = {name for name in sent if name not in come}
    assert run.id == trained.relu.id and come == {name: sent[name] for name in come}
    assert left_out <= {".lease", "log.txt"}
    assert {CONFIG, STATUS, "env.json", "metrics.jsonl", "mistakes.json"} < come.keys()
    assert run.state_file.is_file() and any(name.startswith("events") for name in come)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    with torch.no_grad():
        answers = [
            loaded.model(loaded.preprocessing(picture))
            for loaded in (load_weights(one.weights_file()) for one in (trained.relu, run))
        ]
    assert torch.equal(*answers)
    assert [run.metrics(), run.status(), run.config] == [
        trained.relu.metrics(), trained.relu.status(), trained.relu.config
    ]  # fmt: skip


def test_the_same_run_gives_the_same_bytes(trained, zipped, tmp_path):
    export_run(trained.relu, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == zipped.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_notes_go_along(tmp_path, small):
    run = create_run(small(), tmp_path / "here")
    run.write_notes(Notes("A name", ("tag",), "said"))
    export_run(run, tmp_path / "run.zip")
    assert import_run(tmp_path / "run.zip", tmp_path / "there").notes() == run.notes()


def test_a_run_of_the_gallery_comes_beside_it(tmp_path):
    shipped = find_run("alexnet-64", tmp_path)
    export_run(shipped, tmp_path / "run.zip")
    run = import_run(tmp_path / "run.zip", tmp_path / "runs")
    assert run.id == "alexnet-64-2" and files_of(run).keys() == files_of(shipped).keys()


def test_where_an_id_is_taken_both_are_kept(zipped, trained, tmp_path):
    (tmp_path / ".models").mkdir()
    (tmp_path / ".models" / f"{trained.relu.id}-2.safetensors").touch()  # a network that links know by this name
    ids = [import_run(zipped, tmp_path).id for _ in range(3)]
    assert ids == [trained.relu.id, f"{trained.relu.id}-3", f"{trained.relu.id}-4"]
    assert len(list_runs(tmp_path, gallery=False)) == 3


def test_a_run_that_was_at_work_is_interrupted(parts, tmp_path):
    status = json.loads(parts[STATUS]) | this_process() | {"state": "running", "seconds_left": 5.0}
    run = import_run(pack(parts | {STATUS: json.dumps(status)}), tmp_path)
    assert run.status().state == "interrupted" and run.status().pid == 0 and run.status().host == ""
    assert run.status().summary == json.loads(parts[STATUS])["summary"]


def test_no_run_that_is_brought_waits_in_a_slurm(parts, tmp_path):
    """Its job is another cluster's, or no job at all but an option of scancel's."""
    waiting = changed(parts[STATUS], state="queued", pid=0, job="--me")
    run = import_run(pack(parts | {STATUS: waiting}), tmp_path)
    assert (run.status().state, run.status().job) == ("queued", "")


def test_a_stranger_does_not_take_the_place_of_a_run_that_the_ledger_rests_on(parts, tmp_path):
    name = min(path.name for path in EVIDENCE.iterdir())
    run = import_run(pack(parts, run_id=name), tmp_path)
    assert run.id == f"{name}-2" and find_run(name, tmp_path).is_evidence
    deleted = run.delete().path.rename(tmp_path / ".trash" / name)
    assert restore(Run(deleted), tmp_path).id == f"{name}-2"


def test_a_file_that_would_not_be_taken_back_is_not_exported(tmp_path, small, monkeypatch):
    run = create_run(small(), tmp_path)
    monkeypatch.setattr(transfer, "most_bytes", lambda name: 10)
    with pytest.raises(RunError, match="very large: copy its folder"):
        export_run(run, tmp_path / "run.zip")
    assert not (tmp_path / "run.zip").exists()


def test_a_run_at_work_is_not_exported(tmp_path, small):
    run = create_run(small(), tmp_path)
    run.write_status(replace(run.status(), state="running", **this_process()))
    with pytest.raises(RunError, match="pause or stop it first"):
        export_run(run, tmp_path / "run.zip")
    assert not list(tmp_path.glob("*zip*"))


def test_what_cannot_be_written_is_told(trained, tmp_path):
    with pytest.raises(RunError, match=r"cannot be exported to x\.zip"):
        export_run(trained.relu, tmp_path / "no such folder" / "x.zip")
    for folder in (tmp_path, Path()):
        with pytest.raises(RunError, match="is a folder"):
            export_run(trained.relu, folder)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be exported"):
        export_run(trained.relu, tmp_path / "file" / "x.zip")
    with pytest.raises(RunError, match="cannot be imported"):
        import_run(pack({}), tmp_path / "file")


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/etc/passwd", "checkpoints/../../x", "checkpoints/../config.json", "train.py", "log.txt", "stop",
     ".lease", "checkpoints/model.pt", "checkpoints/.safetensors", "checkpoints/deeper/epoch-1.safetensors",
     "config.json/x", "Config.JSON", "C:config.json", "checkpoints\\x.safetensors", "events.out.tfevents.a/b", ""],
)  # fmt: skip
def test_only_the_files_of_a_run_are_taken(parts, tmp_path, name):
    refused(pack([*parts.items(), (name or " ", b"x")]), tmp_path / "runs", "no part of a run|twice")


@pytest.mark.parametrize("run_id", ["", "..", ".git", "a b", "x" * 201, "run.", "a\\b", "a:b"])
def test_a_folder_is_called_as_a_run_may_be(parts, tmp_path, run_id):
    refused(pack(parts, run_id), tmp_path / "runs", "not that of one run|no part of a run")


def test_two_runs_in_one_zip_are_refused(parts, tmp_path):
    members = [*parts.items(), (zipfile.ZipInfo("other/config.json"), parts[CONFIG])]
    refused(pack(members), tmp_path / "runs", "twice|not that of one run")


def test_links_and_repeated_names_are_refused(parts, tmp_path):
    link = zipfile.ZipInfo("stranger/notes.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(pack([*parts.items(), (link, b"/etc/passwd")]), tmp_path / "runs", "no part of a run")
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = pack([*parts.items(), (STATUS, parts[STATUS])])
    refused(twice, tmp_path / "runs", "twice")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(parts, tmp_path, compression):
    refused(pack(parts, compression=compression), tmp_path / "runs", "unusual way")


def test_bombs_are_not_unpacked(parts, tmp_path, monkeypatch):
    unpacked = []
    monkeypatch.setattr(transfer, "_unpack", lambda *arguments: unpacked.append(arguments))
    root = tmp_path / "runs"
    refused(pack(parts | {"metrics.jsonl": b"\0" * 2**24}), root, "more than that file of a run has")
    refused(pack(parts | {"notes.json": b" " * (2**20 + 1)}), root, "more than that file of a run has")
    monkeypatch.setattr(transfer, "MOST_BYTES", 1000)
    refused(pack(parts), root, "no run does")
    many = {f"checkpoints/epoch-{number}.safetensors": b"" for number in range(1001)}
    refused(pack(parts | many), root, "1000 files")
    assert unpacked == []


def test_a_long_list_of_files_is_not_even_read(parts, tmp_path, monkeypatch):
    many = pack({f"checkpoints/epoch-{number}.safetensors": b"" for number in range(3000)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(many, tmp_path / "runs", "more than the 1000 files")


def test_a_file_that_is_longer_than_its_zip_says_is_cut_off_or_refused(parts, tmp_path):
    data = bytearray(pack(parts | {"notes.json": json.dumps({"note": "x" * 5000})}).getvalue())
    at = data.index(b"stranger/notes.json", data.index(b"PK\1\2")) - 46
    data[at + 24 : at + 28] = struct.pack("<I", 10)  # its size, in the directory at the end
    refused(io.BytesIO(bytes(data)), tmp_path / "runs", "damaged")


def changed(data, **values):
    return json.dumps(json.loads(data) | values).encode()


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (CONFIG, b"{", "config.json"),
        (CONFIG, b'{"model": {"widths": [1e9]}}', "config.json"),
        (STATUS, b"[]", "status.json is damaged"),
        (STATUS, {"state": "hacked"}, "status.json is damaged"),
        (STATUS, {"epoch": float("inf")}, "status.json is damaged"),
        (STATUS, {"seconds": -1.0}, "status.json is damaged"),
        (STATUS, {"step": 10**400}, "status.json is damaged"),
        ("env.json", b"[" * 10_000, "damaged"),
        ("env.json", b'{"device": "/bin/sh"}', "env.json"),
        ("notes.json", b'{"name": 3}', "notes"),
        ("mistakes.json", b'{"epoch": 1}', "mistakes.json"),
        ("mistakes.json", b'{"epoch": 1, "confusion": [[0, 3, 1]], "worst": []}', "mistakes.json"),
        ("mistakes.json", b'{"epoch": 1, "confusion": [[0, -1, 1]], "worst": []}', "mistakes.json"),
        ("metrics.jsonl", b'{"step": 1, "epoch": 1}\n', "metrics.jsonl is damaged"),
        ("metrics.jsonl", b'{"step": NaN, "epoch": 1, "seconds": 1}\n', "metrics.jsonl is damaged"),
        ("metrics.jsonl", b'{"step": 1, "epoch": 1, "seconds": 1, "x": "<script>"}\n', "metrics.jsonl is damaged"),
        ("metrics.jsonl", b'{"step": 1, "epoch": 1, "seconds": 1, "val/loss": "0.5"}\n', "metrics.jsonl is damaged"),
        ("metrics.jsonl", b'{"step": 1, "epoch": 1, "seconds": 1, "val/loss": null}\n', "metrics.jsonl is damaged"),
        (
            "metrics.jsonl",
            b'{"step": 1, "epoch": 1, "seconds": 1, "x": 1%s}\n' % (b"0" * 400),
            "metrics.jsonl is damaged",
        ),
        ("metrics.jsonl", b'{"step": 1, "epoch": 1,\r "seconds": 1}\n', "metrics.jsonl is damaged"),
        ("metrics.jsonl", b'{"step": 1, "epoch": 1, "seconds": 1, "<a href=//x>": 1}\n', "metrics.jsonl is damaged"),
        ("metrics.jsonl", b"", "does not fit the other files"),  # the checkpoint has rows before it
        ("CARD.md", b"\xff", "not text"),
        ("events.out.tfevents.1", b"MZ", "not an event file"),
        ("checkpoints/epoch-00002.safetensors", b"", "epoch-00002"),
        ("checkpoints/epoch-00002.safetensors", b"\x80\x04pickle", "epoch-00002"),
        ("checkpoints/epoch-00002.safetensors", b"\xff" * 8 + b"{}", "epoch-00002"),
        ("checkpoints/state.safetensors", b"\x02\0\0\0\0\0\0\0{}", "state"),
    ],
)
def test_every_file_is_read_before_it_is_believed(parts, tmp_path, name, content, match):
    if isinstance(content, dict):
        content = changed(parts[name], **content)
    refused(pack(parts | {name: content}), tmp_path / "runs", match)


def test_weights_are_those_of_the_config(parts, tmp_path, small):
    other = small(model__widths="4,4,4").model_copy(update={"data": json.loads(parts[CONFIG])["data"]})
    weights = {name: data for name, data in parts.items() if not name.endswith("state.safetensors")}
    config = json.loads(parts[CONFIG])
    config["model"] = other.model.model_dump(mode="json")
    refused(pack(weights | {CONFIG: json.dumps(config)}), tmp_path / "runs", "of another network")
    refused(pack(parts | {CONFIG: json.dumps(config)}), tmp_path / "runs", "does not fit|of another network")


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip file at all", b"PK\5\6" + b"\0" * 18, b"PK\5\6" + b"\xff" * 18])
def test_what_is_no_zip_is_told(tmp_path, data):
    refused(io.BytesIO(data), tmp_path / "runs", "zip")


def test_what_a_killed_import_has_left_goes_with_a_later_one(zipped, tmp_path):
    old, new = tmp_path / ".import-killed", tmp_path / ".import-under-way"
    for part in (old, new):
        part.mkdir()
        (part / CONFIG).write_text("{}")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    run = import_run(zipped, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {run.id, new.name}


def test_a_stop_leaves_nothing(zipped, tmp_path):
    def stop(share, text):
        raise RunError("stopped")

    with pytest.raises(RunError, match="stopped"):
        import_run(zipped, tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


NAMES = st.one_of(
    st.sampled_from([CONFIG, STATUS, "env.json", "notes.json", "metrics.jsonl", "mistakes.json", "CARD.md",
                     "checkpoints/epoch-00001.safetensors", "checkpoints/state.safetensors", "../x", "a/../../b"]),
    st.text(max_size=20),
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    extra=st.lists(st.tuples(NAMES, st.binary(max_size=200)), max_size=4),
    run_id=st.one_of(st.just("stranger"), st.text(max_size=8)),
    cut=st.one_of(st.none(), st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4))),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_zip_is_a_whole_run_or_nothing(parts, tmp_path_factory, extra, run_id, cut):
    folder = tmp_path_factory.mktemp("any")
    root = folder / "runs"
    data = bytearray(pack([*parts.items(), *extra], run_id.replace("\0", "")).getvalue())
    if cut:
        share, noise = cut
        at = int(share * len(data))
        data[at : at + len(noise)] = noise
    try:
        run = import_run(io.BytesIO(bytes(data)), root)
    except RunError as error:
        assert str(error) and list(folder.rglob("*")) in ([], [root])
    else:
        assert run.path.parent == root and [path.name for path in root.iterdir()] == [run.id]
        assert all(transfer.most_bytes(name) for name in files_of(run))
        assert run.config and run.metrics() and isinstance(run, Run)
        assert {path.parent for path in folder.rglob("*") if path.is_file()} <= {run.path, run.path / "checkpoints"}


def test_the_command_line_sends_and_takes(trained, tmp_path, monkeypatch, capsys):
    from alexnet_explorer import cli

    file = tmp_path / "run.zip"

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["alexnet_explorer", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return end.value.code or 0, said.out.split(), said.err

    assert call("export", trained.relu.id, file, "--runs", trained.root) == (0, [str(file)], "")
    assert call("import", file, "--runs", tmp_path / "runs") == (0, [trained.relu.id], "")
    assert find_run(trained.relu.id, tmp_path / "runs").exists()
    Path(file).write_bytes(b"no zip")
    code, _, said = call("import", file, "--runs", tmp_path / "runs")
    assert code == 2 and said.count("\n") == 1 and "not a zip file" in said
