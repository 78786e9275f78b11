"""Neighbours: which pictures of a set a network takes for the most alike."""

from alexnet_explorer.ui import frame, neighbour_views, page

here = page.head(
    "neighbours",
    "Which pictures are alike? To a computer two photographs of a cat share hardly a pixel. The paper's figure 4 asks "
    "the network: it looks for the pictures whose numbers in the last hidden layer (fc7) are nearest to yours. Click "
    "on a neighbour to go on from it.",
)
frame.choose_place(here)
neighbour_views.show(here)
page.foot(
    "**Notice** that neighbours in pixels share colours and brightness, and neighbours in the last hidden layer what "
    "is seen, in whatever place, pose or light. Choose an early layer, and the two rows become alike.",
    """from PIL import Image
from alexnet_explorer.data.packed import find_set
from alexnet_explorer.inspection import neighbours
from alexnet_explorer.inspection.picture_sets import of_packed
from alexnet_explorer.weights import load_weights
import numpy as np

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
pictures = of_packed(find_set("digits"))                # once packed: python -m alexnet_explorer data prepare digits
layer = neighbours.last_hidden(network)                 # relu7
rows = np.concatenate(list(neighbours.feature_rows(network, pictures, layer)))
row = neighbours.features(network, Image.open("photograph.jpg").convert("RGB"), layer)
found = neighbours.nearest(neighbours.distances(rows, row), 6)
print([(pictures.label(n), f"{d:.1f}") for n, d in zip(found.numbers, found.distances)])""",
)
