"""Activations: what each layer makes of the picture."""

import streamlit as st

from alexnet_explorer.ui import page, views

here = page.head(
    "activations",
    "Each layer turns the picture into maps, one a unit: light where the unit found what it looks for. Follow your "
    "picture from conv1, whose maps still look like it, to the last layers, which have forgotten where things are "
    "and keep what they are.",
)
order = st.segmented_control(
    "Order of the maps",
    ["strongest first", "as numbered"],
    default="strongest first",
    key="order",
    required=True,
    persist_state="session",
)
views.side_by_side(views.activations_view(order == "strongest first"), views.looks(here))
page.foot(
    "**Notice** what ReLU does: compare conv1 with relu1, where everything below zero is gone. Pooling keeps the "
    "strongest answer of each neighbourhood, so the maps shrink but stay recognisable.",
    """from PIL import Image
from alexnet_explorer.inspection.activations import activations
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
maps = activations(network, Image.open("photograph.jpg").convert("RGB"), "relu1")     # (32, 32, 32)""",
)
