"""Photographs that come with scikit-image and scikit-learn: a picture to look at without a network or an upload."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from alexnet_explorer.data.images import ImageError, read_image


class Truth(NamedTuple):
    """What a photograph shows, and what classes of that are called: names, and WordNet ids of class folders."""

    words: str
    classes: frozenset[str]
    kin: frozenset[str] = frozenset()  # near it, and something else: other breeds, another vessel


class Sample(NamedTuple):
    """A sample photograph; whom it is by, as the package that ships it says."""

    title: str
    description: str
    package: str  # as it is installed
    file: str
    truth: Truth


# First what the default network knows and names, so that the first look is at a success; then what it gets wrong.
SAMPLES: dict[str, Sample] = {
    "coffee": Sample(
        "Coffee",
        "A cup of coffee at Pikolo Espresso Bar; by Rachel Michetti (CC0), from scikit-image.",
        "scikit-image",
        "skimage/data/coffee.png",
        Truth(
            "a cup of espresso",
            frozenset({"espresso", "coffee", "cup", "coffee cup", "n07920052", "n07929519", "n07930864"}),
            frozenset({"coffee mug", "n03063599"}),
        ),
    ),
    "cat": Sample(
        "Cat",
        "Chelsea the cat; by Stéfan van der Walt (CC0), from scikit-image.",
        "scikit-image",
        "skimage/data/chelsea.png",
        Truth(
            "a tabby cat",
            frozenset(
                {"cat", "domestic cat", "house cat", "tabby", "tabby cat", "n02121808", "n02121620", "n02123045"}
            ),
            frozenset(
                {
                    "tiger cat",
                    "Egyptian cat",
                    "Persian cat",
                    "Siamese cat",
                    "n02123159",
                    "n02124075",
                    "n02123394",
                    "n02123597",
                }
            ),
        ),
    ),
    "astronaut": Sample(
        "Astronaut",
        "The astronaut Eileen Collins; by NASA (public domain), from scikit-image.",
        "scikit-image",
        "skimage/data/astronaut.png",
        Truth(
            "an astronaut",
            frozenset({"astronaut", "person", "people", "human", "woman", "n09818022", "n00007846"}),
        ),
    ),
    "rocket": Sample(
        "Rocket",
        "A Falcon 9 carrying the satellite DSCOVR; by SpaceX (public domain), from scikit-image.",
        "scikit-image",
        "skimage/data/rocket.jpg",
        Truth("a rocket", frozenset({"rocket", "launch vehicle", "spacecraft", "n04099429"})),
    ),
    "motorcycle": Sample(
        "Motorcycle",
        "The left half of a stereo pair; by N. Nesic and others, Middlebury stereo benchmark 2014, from scikit-image.",
        "scikit-image",
        "skimage/data/motorcycle_left.png",
        Truth(
            "a motorcycle",
            frozenset({"motorcycle", "motorbike", "motor bike", "n03790512"}),
            frozenset({"motor scooter", "moped", "n03791053", "n03785016"}),
        ),
    ),
    "china": Sample(
        "Temple",
        "A temple in China; by danielbuechele (CC BY 2.0), from scikit-learn.",
        "scikit-learn",
        "sklearn/datasets/images/china.jpg",
        Truth("a temple", frozenset({"temple", "building", "n04407435"}), frozenset({"pagoda", "stupa", "palace"})),
    ),
    "flower": Sample(
        "Flower",
        "A dahlia; by vultilion (CC BY 2.0), from scikit-learn.",
        "scikit-learn",
        "sklearn/datasets/images/flower.jpg",
        Truth("a dahlia, a flower", frozenset({"dahlia", "flower", "flowers", "n11960245", "n11669921"})),
    ),
}


def sample_names() -> list[str]:
    """The names that `load_sample` takes."""
    return list(SAMPLES)


def places(names: frozenset[str], classes: Sequence[str], folders: Sequence[str] = ()) -> list[int]:
    """The indices of a network's classes that are among `names`, by their own names or their class folders'.

    A class may have several names, with commas between.
    """
    wanted = {name.lower() for name in names}
    own = [{part.strip().lower().replace("_", " ") for part in label.split(",")} for label in classes]
    return [
        index for index, parts in enumerate(own) if wanted & parts or (folders and folders[index].lower() in wanted)
    ]


def load_sample(name: str) -> Image.Image:
    """A sample photograph, RGB. Raises KeyError for an unknown name, ImageError where its package is not installed.

    The file is read where it lies: importing scikit-image or scikit-learn takes seconds.
    """
    sample = SAMPLES[name]
    try:
        path = Path(str(distribution(sample.package).locate_file(sample.file)))
        data = path.read_bytes()
    except (PackageNotFoundError, OSError):
        raise ImageError(f"The sample {sample.title!r} is not there: pip install {sample.package}.") from None
    return read_image(data, path.name)
