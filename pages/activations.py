"""Activations: what each layer makes of the picture."""

import streamlit as st

from alexnet_explorer.ui import activation_views, layer_views, page, response_views, unit_views, views

here = page.head(
    "activations",
    "Each layer turns the picture into maps, one a unit: light where the unit found what it looks for. Follow your "
    "picture from conv1, whose maps still look like it, to the last layers, which have forgotten where things are "
    "and keep what they are.",
)
st.subheader("All layers")
st.caption(
    "Each layer's four strongest maps, or each of its units a dot, on its own scale: the lighter, the stronger; "
    "where there are values below zero, red above and blue below. Click a layer to look at all of it."
)


def body(row: list[views.Look]) -> None:
    activation_views.show_walk(row)
    st.subheader("One layer")
    layer_views.show_layer(row)
    st.subheader("One unit")
    response_views.show_unit(row)
    unit_views.show_unit_views(row)


views.live(here, body)
page.foot(
    "**Notice** what ReLU does: under *Before and after* everything below zero is gone. Pooling keeps the strongest "
    "answer of each neighbourhood, so the maps shrink but stay recognisable. A unit of conv1 sees a few pixels, one of "
    "conv5 most of the picture; the deconvnet shows which of them it answers to. Its strongest patches have something "
    "in common, which the picture formed for it shows alone.",
    """from PIL import Image
from alexnet_explorer.inspection.activations import activations
from alexnet_explorer.inspection.deconvnet import deconvnet
from alexnet_explorer.inspection.optimise import Ascent, optimise
from alexnet_explorer.inspection.receptive import window
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
picture = Image.open("photograph.jpg").convert("RGB")
maps = activations(network, picture, "relu2")                                        # (64, 16, 16)
unit = int(maps.max(axis=(1, 2)).argmax())                                           # the strongest
back = deconvnet(network, picture, "relu2", unit)                                    # .pixels: (3, 32, 32)
print(window(network.config.model, "relu2", back.row, back.column))                  # what it sees from there
formed = optimise(network, "relu2", unit, Ascent(steps=64))                          # .picture: (32, 32, 3)""",
)
