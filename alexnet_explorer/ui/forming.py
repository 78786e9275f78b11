"""The first layer's filters as they form: those of each epoch that was kept, and a slider over the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from alexnet_explorer.inspection.mosaic import as_colours, mosaic
from alexnet_explorer.runs import Run
from alexnet_explorer.ui import networks, views
from alexnet_explorer.ui.text import plain
from alexnet_explorer.weights_file import WeightsError, read_layer

LAYER = "conv1"
SPACE = 760  # pixels that the live view is wide in a window of 1400
_EPOCH = "forming_epoch"
_CHOSEN = "forming_chosen"  # (run, epoch); without one, the last epoch is shown, also when there is a newer one


def show(run: Run) -> None:
    """The mosaic of the chosen epoch, on the scale of all of them. Needs no PyTorch."""
    kept = kernels(networks.epochs_with(run, LAYER))
    if not kept:
        st.info("No filters of this run were kept so far.")
        return
    epochs = list(kept)
    chosen = st.session_state.get(_CHOSEN, ("", 0))
    epoch = chosen[1] if chosen[0] == run.id and chosen[1] in epochs else epochs[-1]
    if len(epochs) > 1:
        st.session_state[_EPOCH] = epoch
        st.select_slider("Epoch", epochs, key=_EPOCH, on_change=_take, args=(run.id, epochs[-1]))
    largest = max(float(np.abs(weights).max()) for weights in kept.values())
    tiles = as_colours(kept[epoch], largest)
    count, height, width, _ = tiles.shape
    views.show(
        mosaic(tiles, **views.layout(tiles, SPACE)),
        f"{LAYER} after epoch {epoch}: {count} filters of {height}×{width} pixels. Grey is a weight of 0, full colour "
        f"one of ±{largest:.3g}, at every epoch.",
        f"Mosaic of the {count} filters of {LAYER} after epoch {epoch} in colour",
    )
    st.caption(
        "**How to read it:** a training from new weights begins with noise. Edges of several directions, waves, and "
        "blobs of colour appear as the network learns, as in figure 3 of the paper; what stays noise learned nothing."
    )


def _take(run_id: str, last: int) -> None:
    epoch = st.session_state[_EPOCH]
    st.session_state[_CHOSEN] = (run_id, epoch) if epoch != last else ("", 0)


def kernels(files: Mapping[int, Path]) -> dict[int, NDArray[np.float32]]:
    """The first layer's weights (K, 3 or 1, kh, kw) by epoch; a file that cannot be read is told, and left out."""
    found = {}
    for epoch, path in files.items():
        try:
            key = (LAYER, str(path), path.stat().st_mtime_ns)
            weights = networks.results().get(key, lambda path=path: read_layer(path, f"{LAYER}.weight"))  # type: ignore[misc]
        except (OSError, WeightsError) as error:
            st.warning(plain(str(error)))
            continue
        if weights.ndim == 4 and weights.shape[1] in (1, 3):
            found[epoch] = weights
    return found
