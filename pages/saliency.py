"""Saliency: which pixels speak for a class."""

import streamlit as st

from alexnet_explorer.inspection.methods import METHODS
from alexnet_explorer.ui import page, saliency_method, views

here = page.head(
    "saliency",
    "A saliency map asks which pixels the answer hangs on. The methods ask it differently and do not always agree, so "
    "look at more than one before you believe a map.",
)
method = METHODS[saliency_method.choose("method", "method", "saliency")]
st.markdown(f"**{method.title}.** {method.explanation} _{method.paper}_")
views.side_by_side(views.saliency_view(method.key), views.looks(here))
page.foot(
    "**Notice** whether the map lies on the object or on its surroundings: a network that looks at the water, not at "
    "the boat, has learned something else than you think. Explain another class in the sidebar: the map should change.",
    f"""from PIL import Image
from alexnet_explorer.inspection.attribution import attribute
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
found = attribute(network, Image.open("photograph.jpg").convert("RGB"), "{method.key}")
print(network.classes[found.target], found.map.shape)     # through Captum""",
)
