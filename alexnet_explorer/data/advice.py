"""What may spoil a training on pictures of a user's own, in words."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..config import DataConfig
from .batches import split_indices
from .packed import PackedSet, Split

FEW = 20  # pictures of a class
UNBALANCED = 3  # times as many pictures of one class as of another
MOST_BYTES = 2**30  # of a set whose pictures are compared with one another
NEAR_BITS = 4  # of the 64 of a hash in which near-duplicates may differ
NEAR_LEVELS = 8.0  # mean difference of their colours, in grey levels
_AT_ONCE = 64


def advice(packed: PackedSet, config: DataConfig) -> list[str]:
    """A sentence for each thing that a visitor should know before a training; none where all is well.

    Told are classes of few pictures, classes of far more pictures than others, classes that no validation image
    shows, and copies of training pictures among those of the validation and the test. Sets above `MOST_BYTES` are
    not searched for copies, which is told, too.
    """
    indices = split_indices(packed, config)
    labels = packed.labels("train")
    counts = np.bincount(labels, minlength=len(packed.classes))
    sentences = _about_counts(packed.classes, counts)
    validated = np.bincount(labels[indices["val"].numpy()], minlength=len(packed.classes))
    if missing := [name for name, count in zip(packed.classes, validated, strict=True) if not count]:
        sentences.append(f"No picture of {_listed(missing)} is among the {validated.sum()} kept for validation: its "
                         "error says nothing of them; add pictures, or raise data.val_fraction.")  # fmt: skip
    if packed.images("train").nbytes + packed.images("test").nbytes > MOST_BYTES:
        sentences.append(f"More than {MOST_BYTES / 1e9:.1f} GB of pictures are not compared with one another: where "
                         "validation or test holds copies of training pictures, its error is too low."
                         )  # fmt: skip
    else:
        own = _Prints.of(packed, "train")
        train = own.at(indices["train"].numpy())
        sentences += _about_copies("validation", own.at(indices["val"].numpy()), train)
        if packed.count("test"):
            sentences += _about_copies("test", _Prints.of(packed, "test"), own)
    return sentences


def _about_counts(classes: tuple[str, ...], counts: NDArray[np.int64]) -> list[str]:
    sentences = []
    few = [f"{classes[place]} ({counts[place]})" for place in np.argsort(counts, kind="stable") if counts[place] < FEW]
    if few:
        sentences.append(f"Fewer than {FEW} pictures of {_listed(few)}: the network may learn them by heart instead of "
                         "what they have in common; give 30 or more of each class.")  # fmt: skip
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] > UNBALANCED * counts[least]:
        sentences.append(f"There are {counts[most]} pictures of {classes[most]}, and {counts[least]} of "
                         f"{classes[least]}: the network will favour what it sees more often; give about as many of "
                         "each class.")  # fmt: skip
    return sentences


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class _Prints:
    """What tells pictures apart: the digest of their pixels, a hash of what they look like, their colours."""

    def __init__(self, digests: NDArray[np.uint64], hashes: NDArray[np.uint64], colours: NDArray[np.float32]) -> None:
        self.digests, self.hashes, self.colours = digests, hashes, colours

    @classmethod
    def of(cls, packed: PackedSet, split: Split) -> _Prints:
        """Of N pictures: digests (N,), hashes (N,), colours (N, 192) of 8×8 fields in grey levels.

        A hash has a bit for each two fields beside each other, of 9×8: whether the right one is brighter.
        """
        images = packed.images(split)
        digests, hashes, colours = [], [], []
        for start in range(0, len(images), _AT_ONCE):
            chunk = np.array(images[start : start + _AT_ONCE])
            digests += [int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), "big") for image in chunk]
            pixels = torch.from_numpy(chunk).permute(0, 3, 1, 2).float()
            fields = F.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), (8, 9))[:, 0]
            bits = (fields[:, :, 1:] > fields[:, :, :-1]).flatten(1).numpy()
            hashes.append(np.packbits(bits, axis=1).view(np.uint64)[:, 0])
            colours.append(F.adaptive_avg_pool2d(pixels, 8).flatten(1).numpy())
        return cls(np.array(digests, np.uint64), np.concatenate(hashes), np.concatenate(colours))

    def at(self, places: NDArray[np.int64]) -> _Prints:
        return _Prints(self.digests[places], self.hashes[places], self.colours[places])


def _about_copies(part: str, held_out: _Prints, train: _Prints) -> list[str]:
    same = np.isin(held_out.digests, train.digests)
    near = 0
    for place in np.flatnonzero(~same):
        alike = np.flatnonzero(np.bitwise_count(train.hashes ^ held_out.hashes[place]) <= NEAR_BITS)
        difference = np.abs(train.colours[alike] - held_out.colours[place]).mean(1)
        near += bool((difference <= NEAR_LEVELS).any())
    if not same.any() and not near:
        return []
    return [f"Of the {len(same)} pictures kept for {part}, {same.sum()} are also among the training pictures, and "
            f"{near} more look nearly the same as one of them: the error on them will be too low; keep one of each."
            ]  # fmt: skip
