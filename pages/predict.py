"""Predict: what networks take the visitor's pictures for, and what they saw of them."""

import streamlit as st

from alexnet_explorer.ui import many_pictures, own_link, page, prediction_views, views, weights_controls

here = page.head(
    "predict",
    "A photograph goes in, a probability for each class comes out: that is all a classifier does. It can only name the "
    "classes that it was trained on, and it always names one, even for something that it has never seen.",
)
ONE, MANY = "one picture", "many pictures"
with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
    view = st.segmented_control(
        "Look at", [ONE, MANY], default=own_link.start("view", ONE, own_link.one_of([MANY]), "predict_view"),
        key="predict_view", required=True, persist_state="session",
    )  # fmt: skip
    top = st.slider(
        "Classes shown", 1, prediction_views.MOST_CLASSES,
        int(own_link.start("top", 5, own_link.number(1, prediction_views.MOST_CLASSES), "predict_top")),
        key="predict_top", persist_state="session", width=260,
    )  # fmt: skip
own_link.write("view", None if view == ONE else view)
own_link.write("top", None if top == 5 else str(top))

row = views.looks(here)
if view == MANY:
    many_pictures.show(row, top)
elif row:
    views.side_by_side(prediction_views.predictions(top), row)
    st.subheader("What it saw")
    views.side_by_side(prediction_views.seen_view, row)
    st.subheader("Ten crops")
    st.markdown(
        "In 2012 the corners, the centre and their mirror images were shown to the network, and the ten answers "
        "averaged (section 4.1): that took 1.5 points off the top-1 error."
    )
    views.side_by_side(prediction_views.ten_crops_view(top), row)
page.foot(
    "**Notice** how small the picture is that decides: these networks see 56×56 pixels or 32×32, where a face is a few "
    "dots; and how the ten crops differ, though they show the same thing. Choose two networks in the sidebar to see "
    "where they disagree.",
    """from PIL import Image
from alexnet_explorer.inspection.predict import predict, predict_ten_crops
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
picture = Image.open("photograph.jpg").convert("RGB")
for p in predict(network, picture, top=5):
    print(f"{p.probability:6.1%}  {p.label}")
votes = predict_ten_crops(network, picture).shares      # (10, 10): crops, classes""",
)
weights_controls.take_along(row)
st.divider()
weights_controls.more_networks()
