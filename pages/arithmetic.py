"""Arithmetic: one number of a network, and what it is made of."""

from alexnet_explorer.ui import arithmetic_views, page, views

here = page.head(
    "arithmetic",
    "Every number in a network is a sum, a maximum or a simple function of a few numbers before it. Pick any number of "
    "any layer and see it computed on your picture; click on one of its terms to see that one computed, and so on down "
    "to the pixels.",
)
views.live(here, arithmetic_views.explained)
page.foot(
    "**Notice** how few terms matter: a handful of input maps make most of a sum, and a pooling window keeps one "
    "number of nine. And the bias is there whatever the picture shows.",
    """from PIL import Image
from alexnet_explorer.inspection.arithmetic import explain, see
from alexnet_explorer.inspection.steps import Place
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
outputs = see(network, Image.open("photograph.jpg").convert("RGB"))
step = explain(network, outputs, Place("conv1", unit=17, row=3, column=9))
print(step.products.sum(), "+", step.bias, "=", step.total)     # the network's own: step.value""",
)
