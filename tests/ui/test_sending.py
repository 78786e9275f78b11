import json

from alexnet_explorer.ui.sending import pack


def test_what_is_packed_can_be_taken_apart():
    packed = pack({"title": "größer", "chosen": None}, [b"\x89PNG one", b"", b"\xff\xd8 another"])
    end = 4 + int.from_bytes(packed[:4], "little")
    header = json.loads(packed[4:end].decode())
    assert [one["size"] for one in header["files"]] == [8, 0, 10]
    assert {**header, "files": []} == {"title": "größer", "chosen": None, "files": []}
    assert packed[end:] == b"\x89PNG one\xff\xd8 another"


def test_a_picture_is_known_by_its_sum():
    def sums(*pictures):
        packed = pack({}, pictures)
        header = json.loads(packed[4 : 4 + int.from_bytes(packed[:4], "little")].decode())
        return [one["sum"] for one in header["files"]]

    assert sums(b"one", b"two") == sums(b"one", b"two") != sums(b"one", b"too")
