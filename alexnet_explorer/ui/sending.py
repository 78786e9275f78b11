"""Pictures on their way to the browser: written as files once, and for a component sent as the bytes that they are.

In JSON they would be a third larger.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from alexnet_explorer.inspection.mosaic import RGB, to_jpeg, to_png
from alexnet_explorer.ui import networks


def png(picture: RGB) -> bytes:
    """`to_png`, from the store of the server if the same picture was sent before: most of a page is as it was."""
    return _written(picture, to_png)


def jpeg(picture: RGB) -> bytes:
    """`to_jpeg`, in the same way."""
    return _written(picture, to_jpeg)


def _written(picture: RGB, write: Callable[[RGB], bytes]) -> bytes:
    content = hashlib.sha1(np.ascontiguousarray(picture).data, usedforsecurity=False).digest()
    return networks.results().get((write.__name__, picture.shape, content), lambda: write(picture))


def pack(data: Mapping[str, object], pictures: Sequence[bytes]) -> bytes:
    """What `UNPACK` takes apart in the browser: `data` as JSON, and the files of pictures, PNG or JPEG."""
    files = [{"size": len(picture), "sum": zlib.crc32(picture)} for picture in pictures]
    header = json.dumps({**data, "files": files}).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *pictures])


# A picture that an element shows already is left alone: to decode and paint it again is most of what a page costs.
UNPACK = """
const unpack = (bytes) => {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const data = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  return {
    ...data,
    pictures: data.files.map(({ size, sum }) => ({ name: `${size} ${sum}`, bytes: bytes.subarray(at, at += size) })),
  };
};
const show = (image, picture) => {
  if (image.dataset.name === picture.name) return;
  image.dataset.name = picture.name;
  image.onload = () => URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(new Blob([picture.bytes]));
};
"""
