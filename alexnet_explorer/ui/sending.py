"""Pictures for a component, as the bytes that they are: in JSON they would be a third larger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def pack(data: Mapping[str, object], pictures: Sequence[bytes]) -> bytes:
    """What `UNPACK` takes apart in the browser: `data` as JSON, and the files of pictures, PNG or JPEG."""
    header = json.dumps({**data, "sizes": [len(picture) for picture in pictures]}).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *pictures])


UNPACK = """
const unpack = (bytes) => {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const data = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  return { ...data, pictures: data.sizes.map((size) => new Blob([bytes.subarray(at, at += size)])) };
};
const show = (image, picture) => {
  image.onload = () => URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(picture);
};
"""
