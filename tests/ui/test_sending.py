import json

from alexnet_explorer.ui.sending import pack


def test_what_is_packed_can_be_taken_apart():
    packed = pack({"title": "größer", "chosen": None}, [b"\x89PNG one", b"", b"\xff\xd8 another"])
    end = 4 + int.from_bytes(packed[:4], "little")
    header = json.loads(packed[4:end].decode())
    assert header == {"title": "größer", "chosen": None, "sizes": [8, 0, 10]}
    assert packed[end:] == b"\x89PNG one\xff\xd8 another"
