"""Photographs that come with scikit-image and scikit-learn: a picture to look at without a network or an upload."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from alexnet_explorer.data.images import ImageError, read_image


class Sample(NamedTuple):
    """A sample photograph; whom it is by, as the package that ships it says."""

    title: str
    description: str
    package: str  # as it is installed
    file: str


SAMPLES: dict[str, Sample] = {
    "cat": Sample(
        "Cat",
        "Chelsea the cat; by Stéfan van der Walt (CC0), from scikit-image.",
        "scikit-image",
        "skimage/data/chelsea.png",
    ),
    "coffee": Sample(
        "Coffee",
        "A cup of coffee at Pikolo Espresso Bar; by Rachel Michetti (CC0), from scikit-image.",
        "scikit-image",
        "skimage/data/coffee.png",
    ),
    "astronaut": Sample(
        "Astronaut",
        "The astronaut Eileen Collins; by NASA (public domain), from scikit-image.",
        "scikit-image",
        "skimage/data/astronaut.png",
    ),
    "rocket": Sample(
        "Rocket",
        "A Falcon 9 carrying the satellite DSCOVR; by SpaceX (public domain), from scikit-image.",
        "scikit-image",
        "skimage/data/rocket.jpg",
    ),
    "motorcycle": Sample(
        "Motorcycle",
        "The left half of a stereo pair; by N. Nesic and others, Middlebury stereo benchmark 2014, from scikit-image.",
        "scikit-image",
        "skimage/data/motorcycle_left.png",
    ),
    "china": Sample(
        "Temple",
        "A temple in China; by danielbuechele (CC BY 2.0), from scikit-learn.",
        "scikit-learn",
        "sklearn/datasets/images/china.jpg",
    ),
    "flower": Sample(
        "Flower",
        "A dahlia; by vultilion (CC BY 2.0), from scikit-learn.",
        "scikit-learn",
        "sklearn/datasets/images/flower.jpg",
    ),
}


def sample_names() -> list[str]:
    """The names that `load_sample` takes."""
    return list(SAMPLES)


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
