"""What is laid over a picture, as colour-blind visitors see it.

The matrices are those of Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision
Deficiency, 2009, doi:10.1109/TVCG.2009.113, for severity 1.0, on linear RGB. Distances are those of CIELAB, of which
2.3 can just be noticed.
"""

import numpy as np
import pytest
from skimage.color import rgb2lab

from alexnet_explorer.inspection.mosaic import overlay

SIGHT = {
    "all colours": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
GREYS = np.arange(0, 256, 5, dtype=np.uint8)  # of the picture
PLAIN = 20  # a difference that nobody overlooks


def seen(value, sight, signed):
    """A value over each grey, 1 being the limit, as lightness and two colours: (greys, 3)."""
    picture = np.repeat(GREYS[None, :, None], 3, axis=2)
    pixels = overlay(picture, np.full((1, len(GREYS)), value, np.float32), signed, limit=1.0)[0] / 255
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    simulated = np.clip(linear @ np.transpose(SIGHT[sight]), 0, 1)
    encoded = np.where(simulated <= 0.0031308, 12.92 * simulated, 1.055 * simulated ** (1 / 2.4) - 0.055)
    return rgb2lab(encoded[None])[0]


def apart(one, other):
    return np.linalg.norm(one - other, axis=-1)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("strength", [0.5, 0.75, 1.0, 9.0])
def test_for_and_against_are_told_apart_whatever_the_picture_beneath(sight, strength):
    positive, negative = (seen(sign * strength, sight, True) for sign in (1, -1))
    assert apart(positive[:, None, 1:], negative[None, :, 1:]).min() > PLAIN  # by the colour alone


@pytest.mark.parametrize("sight", SIGHT)
def test_both_are_told_from_nothing_at_all(sight):
    nothing = seen(0, sight, True)
    for sign in (1, -1):
        distances = [apart(seen(sign * strength, sight, True), nothing).min() for strength in (0.25, 0.5, 0.75, 1)]
        assert distances == sorted(distances) and distances[0] > 5 and distances[-1] > PLAIN


@pytest.mark.parametrize("sight", SIGHT)
def test_the_stronger_the_lighter(sight):
    lightness = np.stack([seen(strength, sight, False)[:, 0] for strength in np.linspace(0, 1, 33)])
    assert (np.diff(lightness, axis=0) > 0.3).all()
    assert (lightness[-1] - lightness[0] > 2 * PLAIN).all()
