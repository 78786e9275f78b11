"""The doctor on the page: what it sees in the curves of a run, and the ways to try another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from alexnet_explorer.runs import Run
from alexnet_explorer.training.doctor import Finding, Kind, Try, diagnose
from alexnet_explorer.ui.history import Kept
from alexnet_explorer.ui.text import plain

ICONS: dict[Kind, str] = {
    "fault": ":red[:material/emergency_home:]",
    "advice": ":orange[:material/lightbulb:]",
    "note": ":gray[:material/info:]",
}
HELP = "Take over the settings of this run with this change, to look at and to start"
_SEEN = "diagnosis"  # what was looked at last, and what was found there


def findings(run: Run, kept: Kept, message: str) -> list[Finding]:
    """What the doctor says of the rows that a session keeps; asked again only where there are new ones.

    It takes 60 ms for 4000 rows: so it is asked at each new row at first, and when one in a hundred is new later on.
    """
    count = len(kept["train"])
    looked = (run.id, count - count % (1 + count // 100), len(kept["val"]), message)
    seen = st.session_state.get(_SEEN)
    if seen is None or seen[0] != looked:
        rows = [*kept["train"], *kept["val"]]
        seen = st.session_state[_SEEN] = (looked, diagnose(run.config, rows, message))
    found: list[Finding] = seen[1]
    return found


def show(found: Sequence[Finding], clone: Callable[[Try], None]) -> None:
    """A box for each finding; `clone` takes over the run's settings with a change."""
    for finding in found:
        with st.container(border=True):
            st.markdown(f"{ICONS[finding.kind]} **{plain(finding.sees)}**")
            st.markdown(f"{plain(finding.means)}  \n*In 2012:* {plain(finding.paper)}")
            if finding.tries:
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.caption("Clone the run, and try", width="content")
                    for change in finding.tries:
                        if st.button(try_text(change), key=f"try_{finding.name}_{change.field}",
                                     icon=":material/content_copy:", help=HELP):  # fmt: skip
                            clone(change)


def try_text(change: Try) -> str:
    """'learning rate 0.003'."""
    value = change.value if isinstance(change.value, str) else f"{change.value:g}"
    return f"{change.field.rpartition('.')[2].replace('_', ' ')} {value.replace(',', ', ')}"
