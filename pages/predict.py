"""Predict: the five most probable classes of the visitor's picture."""

import streamlit as st

from alexnet_explorer.ui import page, views, weights_controls

here = page.head(
    "predict",
    "A photograph goes in, a probability for each class comes out: that is all a classifier does. It can only name the "
    "classes that it was trained on, and it always names one, even for something that it has never seen.",
)
views.side_by_side(views.predictions, views.looks(here))
page.foot(
    "**Notice** how small the picture is that decides: these networks see 56×56 pixels or 32×32, where a face is a few "
    "dots. Choose two networks in the sidebar to see where they disagree.",
    """from PIL import Image
from alexnet_explorer.inspection.predict import predict
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
for p in predict(network, Image.open("photograph.jpg").convert("RGB"), top=5):
    print(f"{p.probability:6.1%}  {p.label}")""",
)
st.divider()
weights_controls.more_networks()
