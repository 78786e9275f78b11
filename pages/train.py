"""Train: choose a network, train it in the background, watch its curves."""

import streamlit as st

from alexnet_explorer.ui import live, page, planning, queueing, training

page.head(
    "train",
    "Each idea of 2012 is a switch here: train the same network with and without it, and see what the idea is worth. "
    "A run is a process of its own, which goes on when you leave the page or close the browser.",
)
controls, result = st.columns([1, 2], gap="large")
with controls:
    chosen = training.choose()
with result:
    run = live.watched()
    if run:
        live.show(run)
    else:
        st.info("Press **Start training**: the curves of loss and error appear here within seconds.")
    queueing.show(run.id if run else "")
    if chosen and chosen.config:
        with st.expander("These settings as layers, command, script", icon=":material/layers:", expanded=run is None):
            planning.show(chosen, chosen.config)
queueing.prepare()
page.foot(
    "**Notice** when the two curves part: where training still falls and validation does not, the network learns its "
    "images by heart. Then change one switch, start again, and compare the two runs.",
    """from pathlib import Path
from alexnet_explorer.config import preset_config
from alexnet_explorer.data.sources import prepare
from alexnet_explorer.runs import new_run
from alexnet_explorer.training.loop import train

config = preset_config("alexnet-32", "digits").with_settings({"model.activation": "tanh"})
status = train(new_run(config, prepare("digits"), Path("runs")))
print(status.summary["test/top1_error"])""",
)
