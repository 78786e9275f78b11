"""Studies on the page: the ledger, one study with its verdict, its runs, and the process that trains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from alexnet_explorer.report import each_run, intervals
from alexnet_explorer.runs import RunError
from alexnet_explorer.studies import process
from alexnet_explorer.studies.ledger import own, results_of, shipped
from alexnet_explorer.studies.results import Results, Word
from alexnet_explorer.studies.study import Study, write
from alexnet_explorer.studies.survey import Shelf, Survey
from alexnet_explorer.ui import lens, live, probing, queueing, reporting, study_builder
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

REFRESH_SECONDS = 2.0

_CHOSEN = "studies_chosen"
_ERROR = "studies_error"

BADGES: dict[Word, tuple[str, str]] = {
    "held": (":material/check_circle:", "green"),
    "contradicted": (":material/cancel:", "red"),
    "difference": (":material/difference:", "blue"),
    "open": (":material/help:", "orange"),
    "not run yet": (":material/hourglass_empty:", "gray"),
    "not testable here": (":material/block:", "gray"),
    "cannot be evaluated": (":material/error:", "red"),
}


@st.cache_resource(show_spinner=False)
def _shelf(root: str) -> Shelf:
    """The runs of this server's folder by what they compute, read once for all visitors."""
    return Shelf(runs_folder())


def found(studies: Sequence[Study]) -> list[Results]:
    """What the runs that are there say of studies."""
    return results_of(studies, runs_folder(), _shelf(str(runs_folder())))


def all_studies() -> dict[str, Study]:
    """The ledger's, then the visitor's own; files that are none are told."""
    mine, faults = own(runs_folder())
    for fault in faults:
        st.warning(plain(fault), icon=":material/warning:")
    ledger = shipped()
    return ledger | {name: study for name, study in mine.items() if name not in ledger}


def table(studies: Sequence[Study]) -> None:
    """A row for each claim: what the paper says, what was measured here, the verdict."""
    rows = [row(results) for results in found(studies)]
    st.dataframe(
        rows, key="studies_table", hide_index=True, placeholder="", alt="Studies",
        column_config={
            "study": st.column_config.TextColumn("Study", width="medium"),
            "section": st.column_config.TextColumn("Section", width="small"),
            "verdict": st.column_config.TextColumn("Verdict", width="small"),
            "measured": st.column_config.TextColumn("Measured here", width="large"),
            "runs": st.column_config.TextColumn("Runs", width="small"),
        },
    )  # fmt: skip


def row(results: Results) -> dict[str, Any]:
    """A study in one line, by its first comparison."""
    study, first = results.study, results.rows[0]
    return {
        "study": study.title or study.id,
        "section": study.claim.section if study.claim else "",
        "verdict": first.verdict.word,
        "measured": first.verdict.reason,
        "runs": f"{results.survey.count('done')} of {study.count()}",
    }


def choose(studies: dict[str, Study]) -> Study:
    """The study that is looked at; it is in the link."""
    wanted = st.query_params.get("study", st.session_state.get(_CHOSEN, ""))
    st.session_state[_CHOSEN] = wanted if wanted in studies else next(iter(studies))
    st.selectbox("Study", list(studies), key=_CHOSEN, format_func=lambda name: studies[name].title or name,
                 on_change=_take)  # fmt: skip
    st.query_params["study"] = st.session_state[_CHOSEN]
    return studies[st.session_state[_CHOSEN]]


def _take() -> None:
    st.query_params["study"] = st.session_state[_CHOSEN]


def show(study: Study) -> None:
    """One study: its claim, its verdict, its runs. It redraws itself while it is being trained."""
    if study.claim:
        st.markdown(f"**The claim [{plain(study.claim.section)}].** {plain(study.claim.says)}")
    if study.notes:
        st.caption(plain(study.notes))
    at_work = process.process_of(study.id, runs_folder()) > 0
    st.fragment(_draw, run_every=REFRESH_SECONDS if at_work else None)(study, at_work)


def _draw(study: Study, at_work: bool) -> None:
    (results,) = found([study])
    _verdicts(results)
    _progress(results.survey, at_work)
    _seeds(results)
    _more(results)
    if (process.process_of(study.id, runs_folder()) > 0) != at_work:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


def _verdicts(results: Results) -> None:
    for line in results.rows:
        icon, colour = BADGES[line.verdict.word]
        st.markdown(f":{colour}-badge[{icon} {line.verdict.word}] {plain(line.name)}: {plain(line.told)}")
    for warning in results.warnings:
        st.warning(plain(warning), icon=":material/warning:")
    if chart := intervals(results):
        st.plotly_chart(chart.figure, key="studies_chart", config={"displayModeBar": False}, alt=chart.alt)


def _progress(survey: Survey, at_work: bool) -> None:
    study, done = survey.study, survey.count("done")
    left = survey.time_left(queueing.queue().at_once())
    text = f"{done} of {study.count()} runs are done"
    if survey.count("failed"):
        text += f", {survey.count('failed')} failed"
    if left:
        text += f"; {left}"
    st.progress(min(done / study.count(), 1.0), text)
    if message := st.session_state.pop(_ERROR, ""):
        st.error(plain(message), icon=":material/error:")
    with st.container(horizontal=True):
        if at_work:
            st.button("Stop", icon=":material/stop:", key="studies_stop", on_click=process.end,
                      args=(study.id, runs_folder()), help="Its runs keep their checkpoints")  # fmt: skip
        elif not survey.finished or survey.unread:
            st.button("Train what is missing", icon=":material/play_arrow:", key="studies_start", type="primary",
                      on_click=_start, args=(study.id,))  # fmt: skip
    if not at_work and not survey.finished:
        if not left:
            config = study.config(study.arms()[0], study.seeds[0])
            probing.show_estimate(config, survey.epochs_ahead())
        if words := process.last_words(study.id, runs_folder()):
            with st.expander("What its last process said", icon=":material/article:"):
                st.code(words, language=None, wrap_lines=True)


def _start(study_id: str) -> None:
    try:
        process.begin(study_id, runs_folder())
    except RunError as error:
        st.session_state[_ERROR] = str(error)


def _seeds(results: Results) -> None:
    """What each run came to: a row a seed, a column an arm."""
    if results.outcomes:
        runs = each_run(results)
        st.markdown(f"**{plain(runs.title)}**")
        columns = [column.title for column in runs.columns]
        rows = [dict(zip(columns, row, strict=True)) for row in runs.rows]
        st.dataframe(rows, hide_index=True, key="studies_seeds", placeholder="", alt=runs.title)


def _more(results: Results) -> None:
    study = results.study
    ids = list(dict.fromkeys(name for line in results.rows for name in line.runs))
    with st.container(horizontal=True):
        if st.button(
            "Compare its runs", icon=":material/compare_arrows:", key="studies_compare", disabled=len(ids) < 2
        ):
            live.open_page("compare", ids[: lens.MOST_COMPARED])
        reporting.show_study(results)
        st.download_button("Study file", write(study), f"{study.id}.yaml", "application/yaml",
                           icon=":material/download:", key="studies_file")  # fmt: skip
        if study.id not in shipped():
            study_builder.remove(study)
    if len(ids) > lens.MOST_COMPARED:
        st.caption(f"Of its {len(ids)} runs the first {lens.MOST_COMPARED} are compared. {lens.TOO_MANY}")
    with st.expander("The study file, and the command that runs it", icon=":material/terminal:"):
        st.code(f"python -m alexnet_explorer study run {study.id}", language="bash")
        st.code(write(study), language="yaml")
    queueing.show_fault()
