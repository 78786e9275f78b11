"""The study for newcomers: one click, ten small runs, a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from alexnet_explorer import studies as package
from alexnet_explorer.runs import RunError
from alexnet_explorer.studies import process
from alexnet_explorer.studies.ledger import own
from alexnet_explorer.studies.results import Results
from alexnet_explorer.studies.study import Study, read
from alexnet_explorer.ui import queueing, studies, study_builder, surveying
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

FILE = Path(package.__path__[0]) / "demonstration.yaml"


def show(known: Mapping[str, Study]) -> None:
    """What it is and its button; how far it is, while it is trained; then what came out."""
    study = read(FILE)
    study = known.get(study.id, study)  # as it was kept here, if it was changed since
    at_work = process.process_of(study.id, runs_folder()) > 0
    with st.container(border=True):
        st.fragment(_draw, run_every=studies.REFRESH_SECONDS if at_work else None)(study, at_work)


def _draw(study: Study, at_work: bool) -> None:
    try:
        (results,) = surveying.found([study])
    except RunError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    done = results.survey.count("done")
    if at_work:
        left = results.survey.time_left(queueing.queue().at_once())
        after = f"; {left}" if left else "" if done else "; the first one shows how long they take here"
        st.progress(done / study.count(), f"**{plain(study.title)}**: {done} of {study.count()} runs are done{after}")
    elif results.survey.finished:
        _came_out(results)
    else:
        _offer(study, done)
    if (process.process_of(study.id, runs_folder()) > 0) != at_work:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


def _offer(study: Study, done: int) -> None:
    runs, minutes = study.count(), round(60 * (study.hours or 0.0))
    st.markdown(
        f"**New here?** A small network learns handwritten digits, with dropout and without, {len(study.seeds)} times "
        f"each from the same beginnings: {runs} runs, which take about {minutes} minutes on two cores, and a verdict."
    )
    st.button("Go on with it" if done else plain(study.title), icon=":material/play_arrow:", key="demonstration_start",
              type="primary", on_click=_start, args=(study,))  # fmt: skip


def _came_out(results: Results) -> None:
    st.markdown(f"**{plain(results.study.title)}**")
    for line in results.rows:
        studies.show_verdict(line)
    st.button("Look at its runs", icon=":material/science:", key="demonstration_look", on_click=_look,
              args=(results.study,))  # fmt: skip


def _look(study: Study) -> None:
    if study.id not in own(runs_folder())[0]:  # its file was deleted, and its runs are still there
        study_builder.keep(study)
    studies.choose_by_id(study.id)


def _start(study: Study) -> None:
    study_builder.keep(study)
    if study.id in own(runs_folder())[0]:
        studies.start(study.id)
