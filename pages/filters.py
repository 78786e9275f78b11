"""Filters: the weights of the convolutions as pictures."""

from alexnet_explorer.ui import page, views

here = page.head(
    "filters",
    "A convolution slides small kernels over its input; each answers where the input looks like the kernel. Nobody "
    "designed them: edges, blobs and colours appear in conv1 because they help, in every network trained on "
    "photographs. Deeper kernels see the maps of the layer before: choose a layer and a unit in the sidebar.",
)
views.side_by_side(views.filters_view, views.looks(here))
page.foot(
    "**Notice** that some kernels of conv1 are grey edges and some are coloured blobs. In the paper's two towers, one "
    "tower's were largely grey and the other's coloured, in every run (section 6.1). Kernels that look like noise, or "
    "have a small norm, have learned little.",
    """from alexnet_explorer.inspection.filters import filters
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
kernels = filters(network.model, "conv1")     # (32, 5, 5, 3), 0.5 is a weight of zero""",
)
