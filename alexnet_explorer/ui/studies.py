"""Studies on the page: the ledger, one study with its verdict, its runs, and the process that trains them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from alexnet_explorer.launch.cluster import PlaceName
from alexnet_explorer.report import each_run, intervals
from alexnet_explorer.runs import RunError
from alexnet_explorer.studies import process
from alexnet_explorer.studies.ledger import own, shipped
from alexnet_explorer.studies.results import Results, Row, Word
from alexnet_explorer.studies.study import Study, write
from alexnet_explorer.ui import (
    forecasting,
    ledger_table,
    lens,
    live,
    placing,
    queueing,
    reporting,
    study_builder,
    surveying,
)
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


def all_studies() -> dict[str, Study]:
    """The ledger's, then the visitor's own; files that are none are told."""
    mine, faults = own(runs_folder())
    for fault in faults:
        st.warning(plain(fault), icon=":material/warning:")
    ledger = shipped()
    return ledger | {name: study for name, study in mine.items() if name not in ledger}


def table(studies: Sequence[Study]) -> None:
    """A row for each comparison; a click on one opens its study."""
    ledger_table.show(surveying.found(studies), choose_by_id)


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


def choose_by_id(study_id: str) -> None:
    """Look at this study from the next drawing on."""
    st.query_params["study"] = study_id


def show(study: Study) -> None:
    """One study: its claim, its verdict, its runs. It redraws itself while it is being trained."""
    if study.claim:
        st.markdown(f"**The claim [{plain(study.claim.section)}].** {plain(study.claim.says)}")
    if study.notes:
        st.caption(plain(study.notes))
    at_work = process.process_of(study.id, runs_folder()) > 0
    st.fragment(_draw, run_every=REFRESH_SECONDS if at_work else None)(study, at_work)


def _draw(study: Study, at_work: bool) -> None:
    (results,) = surveying.found([study])
    _verdicts(results)
    _progress(results, at_work)
    _seeds(results)
    _more(results)
    if (process.process_of(study.id, runs_folder()) > 0) != at_work:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


def show_verdict(line: Row) -> None:
    """One comparison: its verdict as a coloured label, and why."""
    icon, colour = BADGES[line.verdict.word]
    st.markdown(f":{colour}-badge[{icon} {line.verdict.word}] {plain(line.name)}: {plain(line.told)}")


def _verdicts(results: Results) -> None:
    for line in results.rows:
        show_verdict(line)
    for warning in results.warnings:
        st.warning(plain(warning), icon=":material/warning:")
    if chart := intervals(results):
        st.plotly_chart(chart.figure, key="studies_chart", config={"displayModeBar": False}, alt=chart.alt)


def _progress(results: Results, at_work: bool) -> None:
    """How far the study is, and the button that trains the others; runs of older code count where one wants them to."""
    everything, study = results.survey, results.study
    todays = surveying.countable(study)
    done, older = everything.count("done"), everything.count("done") - todays.count("done")
    any_code = bool(older) and st.session_state.get(f"studies_any_code_{study.id}", False)
    survey = surveying.countable(study, any_code=True) if any_code else todays
    left = survey.time_left(queueing.queue().at_once())
    text = f"{done} of {study.count()} runs are done"
    if older:
        text += f", {older} of them by older code or on other images"
    if survey.count("failed"):
        text += f", {survey.count('failed')} failed"
    if left:
        text += f"; {left}"
    st.progress(min(done / study.count(), 1.0), text)
    if message := st.session_state.pop(_ERROR, ""):
        st.error(plain(message), icon=":material/error:")
    missing = not survey.finished or bool(survey.unread)
    where = placing.choose("studies_where") if missing and not at_work else "here"
    with st.container(horizontal=True, vertical_alignment="center"):
        if at_work:
            st.button("Stop", icon=":material/stop:", key="studies_stop", on_click=process.end,
                      args=(study.id, runs_folder()), help="Its runs keep their checkpoints")  # fmt: skip
        elif missing:
            anew = older > 0 and not any_code
            st.button("Train with today's code" if anew else "Train what is missing", icon=":material/play_arrow:",
                      key="studies_start", type="secondary" if everything.finished else "primary",
                      on_click=start, args=(study.id, any_code, where))  # fmt: skip
        if older:
            st.toggle("Runs of older code count, too", key=f"studies_any_code_{study.id}", disabled=at_work,
                      help="As `study run --any-code`: they are not trained anew")  # fmt: skip
    if not at_work and missing:
        if not left:
            forecasting.show(survey, "study", by_itself=False)
        if words := process.last_words(study.id, runs_folder()):
            with st.expander("What its last process said", icon=":material/article:"):
                st.code(words, language=None, wrap_lines=True)


def start(study_id: str, any_code: bool = False, where: PlaceName = "here") -> None:
    """Have a study trained; what stands against it is shown with the next drawing."""
    try:
        process.begin(study_id, runs_folder(), where, any_code)
    except RunError as error:
        st.session_state[_ERROR] = str(error)


def _seeds(results: Results) -> None:
    """What each run came to: a row an arm, a column a seed."""
    if results.outcomes:
        runs = each_run(results)
        st.markdown(f"**{plain(runs.title)}**")
        columns = [column.title for column in runs.columns]
        rows = [dict(zip(columns, row, strict=True)) for row in runs.rows]
        st.dataframe(rows, hide_index=True, key="studies_seeds", placeholder="", alt=runs.title)


def _more(results: Results) -> None:
    study = results.study
    ids = list(dict.fromkeys(name for line in results.rows for name in line.runs))
    some = f" (the first {lens.MOST_COMPARED} of {len(ids)})" if len(ids) > lens.MOST_COMPARED else ""
    with st.container(horizontal=True):
        if st.button(f"Compare its runs{some}", icon=":material/compare_arrows:", key="studies_compare",
                     disabled=len(ids) < 2):  # fmt: skip
            live.open_page("compare", ids[: lens.MOST_COMPARED], **surveying.compare_query(study))
        reporting.show_study(results)
        st.download_button("Study file", write(study), f"{study.id}.yaml", "application/yaml",
                           icon=":material/download:", key="studies_file")  # fmt: skip
        if study.id not in shipped():
            study_builder.remove(study)
    if len(ids) > lens.MOST_COMPARED:
        st.caption(f"Of its {len(ids)} runs the first {lens.MOST_COMPARED} are compared. {lens.TOO_MANY}")
    with st.expander("The study file, and the command that runs it", icon=":material/terminal:"):
        st.code(ledger_table.command(study), language="bash")
        st.code(write(study), language="yaml")
    queueing.show_fault()
