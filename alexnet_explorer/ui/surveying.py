"""What the page Studies reads off the runs folder: the results of studies, what today's code has done, a link."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlencode

import streamlit as st

from alexnet_explorer.comparing import factor_of
from alexnet_explorer.data.packed import DataError, find_set
from alexnet_explorer.studies.ledger import results_of
from alexnet_explorer.studies.results import Results
from alexnet_explorer.studies.study import Study
from alexnet_explorer.studies.survey import Shelf, Survey, survey
from alexnet_explorer.training.code import code_digest
from alexnet_explorer.ui import lens
from alexnet_explorer.ui.overlays import BUT_SEED
from alexnet_explorer.ui.settings import runs_folder


@st.cache_resource(show_spinner=False)
def _shelf(root: str) -> Shelf:
    """The runs of this server's folder by what they compute, read once for all visitors."""
    return Shelf(runs_folder())


def found(studies: Sequence[Study]) -> list[Results]:
    """What the runs that are there say of studies, whichever code computed them."""
    return results_of(studies, runs_folder(), _shelf(str(runs_folder())))


def countable(study: Study, any_code: bool = False) -> Survey:
    """Where a study stands for `study run`: runs of today's code (or of any) on the data set of this machine."""
    digest = ""
    with suppress(DataError):  # it comes to this machine with the first run
        digest = find_set(study.base.data).digest
    return survey(study, _shelf(str(runs_folder())).runs(), digest, "" if any_code else code_digest())


def compare_query(study: Study) -> dict[str, str]:
    """How the page Compare shows a study's runs: its own metric, the arms as groups, the error that ends a run."""
    measure = study.measure
    # A test error is no curve: the validation error is how a run came there.
    query = {"metric": measure.metric.replace("test/", "val/")}
    if len(study.seeds) > 1:
        query["group"] = BUT_SEED
    if measure.along != "epoch":
        query["axis"] = measure.along
    if measure.to_reach is not None:
        query["reach"] = f"{factor_of(measure.metric) * measure.to_reach:g}"
    return query


def compare_link(study: Study, ids: Sequence[str]) -> str:
    """The address of the page Compare with these runs, beside that of the page Studies."""
    return "compare?" + urlencode({"compared": ",".join(ids[: lens.MOST_COMPARED]), **compare_query(study)})
