"""Saliency: which pixels speak for a class, and whether to believe it."""

from alexnet_explorer.ui import page, saliency_views

here = page.head(
    "saliency",
    "A saliency map asks which pixels the answer hangs on. The methods ask it differently and do not always agree: "
    "look at more than one, and at the figures under the map, before you believe it.",
)
method = saliency_views.show(here)
page.foot(
    "**Notice** whether the map lies on the object or on its surroundings: a network that looks at the water, not at "
    "the boat, has learned something else than you think. Explain another class in the sidebar: the map should change.",
    f"""from PIL import Image
from alexnet_explorer.inspection.attribution import attribute
from alexnet_explorer.inspection.trust import trust
from alexnet_explorer.weights import load_weights

network = load_weights("alexnet_explorer/gallery/alexnet-32-relu/checkpoints/epoch-00030.safetensors")
picture = Image.open("photograph.jpg").convert("RGB")
found = attribute(network, picture, "{method}")
print(network.classes[found.target], found.map.shape)     # through Captum
for figure in trust(network, picture, found).figures.values():
    print(figure.title, figure.verdict, figure.reading)""",
)
