"""Home: what this is, and the ways in."""

import streamlit as st

from alexnet_explorer.data.samples import SAMPLES
from alexnet_explorer.ui import frame, lens, page, pictures

page.head(
    "home",
    "In 2012 networks of eight layers named photographs with a top-5 error of 15.3 %, where the next best had 26.2 %, "
    "and neural networks have been everywhere since. Take one apart: look at what each layer sees in a picture of "
    "yours, switch its ideas on and off, train both ways, and see what each idea was worth.",
    title="AlexNet Explorer",
)

st.subheader("Start with a picture")
row = st.container(horizontal=True)  # which breaks where the window is narrow
for name, sample in SAMPLES.items():
    with row.container(width=148):
        st.image(pictures.square_thumbnail(name), alt=sample.description, width="stretch")
        if st.button(sample.title, key=f"sample_{name}", width="stretch", help=sample.description):
            lens.change(picture=name, target=None)
            st.switch_page(frame.file_of("predict"))
st.caption("Or bring your own: the page Predict takes a photograph from your disk. It stays on this computer.")

st.subheader("What you can do here")
WAYS = (
    ("predict", "See what a network says", "The five best guesses for a photograph, and the few pixels they rest on."),
    (
        "filters",
        "Look at what it learned",
        "The kernels as pictures: edges and colours that nobody programmed, epoch by epoch.",
    ),
    ("activations", "Follow a picture through", "Every layer's maps, from pixels to meaning."),
    ("arithmetic", "Check its sums", "Any number of any layer, term by term, back to the pixels."),
    ("neighbours", "Find what it takes for alike", "The pictures nearest in its last hidden layer, and in pixels."),
    ("saliency", "Ask it why", "Which pixels the answer hangs on, and whether the map that says so can be believed."),
    (
        "train",
        "Train your own",
        "ReLU or tanh, dropout, pooling, LRN, augmentation: with live curves, in the background.",
    ),
    ("compare", "Compare runs", "What differs in the settings, in the curves, and on the same picture."),
    ("studies", "Ask whether it holds", "The paper's claims, by paired runs: an interval and a verdict for each."),
)
for ways in (WAYS[:3], WAYS[3:6], WAYS[6:]):
    for column, (name, title, text) in zip(st.columns(len(ways)), ways, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.page_link(frame.file_of(name), label=f"**{title}**")
            st.caption(text)

st.caption(
    "Everything runs on this computer, offline. The network that answers at first was trained for it on Tiny ImageNet: "
    "200 kinds of things at 64×64 pixels; its first guess is wrong more often than right. Two small ones beside it, of "
    "CIFAR-10 (JPEG copy), know aeroplanes, cars, birds, cats, deer, dogs, frogs, horses, ships and lorries."
)
