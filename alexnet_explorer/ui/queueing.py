"""The queue on the page: its list, the buttons of a run, and the question before anything is deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from alexnet_explorer.launch.cluster import Cluster
from alexnet_explorer.launch.local import Standby
from alexnet_explorer.launch.queue import MOST_AT_ONCE, Action, Entry, Queue, allowed
from alexnet_explorer.runs import Run, RunError, State, Status, find_run
from alexnet_explorer.trash import find_deleted, restore
from alexnet_explorer.ui.settings import runs_folder
from alexnet_explorer.ui.text import plain

REFRESH_SECONDS = 2.0
SLURM_SECONDS = 5.0  # Slurm's controller serves a whole cluster: all visitors share one answer

_ERROR = "queue_error"
_ASKED = "queue_asked"  # the ids of the runs that may be deleted, if the visitor says so
_DELETED = "queue_deleted"  # the ids of those that were deleted last, as they lie in the trash
_AT_ONCE = "queue_at_once"

BADGES: dict[State, tuple[str, str]] = {
    "queued": (":material/hourglass_top:", "gray"),
    "running": (":material/play_arrow:", "blue"),
    "paused": (":material/pause:", "gray"),
    "stopped": (":material/stop:", "orange"),
    "failed": (":material/error:", "red"),
    "interrupted": (":material/power_off:", "orange"),
    "done": (":material/check:", "green"),
}

LABELS: dict[Action, tuple[str, str]] = {
    "start": ("Start", "play_arrow"),
    "resume": ("Resume", "resume"),
    "pause": ("Pause", "pause"),
    "stop": ("Stop", "stop"),
    "cancel": ("Cancel", "close"),
}

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def queue() -> Queue:
    """The queue of this app's runs."""
    return Queue(runs_folder(), standby())


@st.cache_resource(show_spinner=False)
def standby() -> Standby:
    """For the run that a visitor of this server starts next."""
    return Standby()


def prepare() -> None:
    """Have a process load PyTorch while a visitor still chooses what to train."""
    queue().prepare()


@st.cache_data(ttl=SLURM_SECONDS, max_entries=4, show_spinner=False)
def _in_slurm(root: str) -> list[Entry]:
    return Cluster(runs_folder()).entries()


def entries() -> list[Entry]:
    """The runs of the queue, then those that are in Slurm, as it saw them some seconds ago."""
    here = queue().entries()
    known = {entry.run for entry in here}
    return here + [entry for entry in _in_slurm(str(runs_folder())) if entry.run not in known]


def place_text(place: int) -> str:
    """'third in the queue'."""
    return f"{ORDINALS[place - 1] if place <= len(ORDINALS) else f'number {place}'} in the queue"


def places() -> dict[str, int]:
    """The place of each run of the queue; 0 where it is at work."""
    return {entry.run.id: entry.place for entry in queue().entries()}


def state_text(status: Status, asked: State | None = None, place: int | None = None) -> str:
    """The state in a few words; `asked`: what its process was asked to become, `place`: its place in the queue."""
    if status.at_work:
        return {"paused": "pausing …", "stopped": "stopping …"}.get(
            asked or "", "starting …" if status.state == "queued" else "running"
        )
    if status.state == "queued" and status.job:
        return f"job {status.job} of Slurm waits"
    if status.state == "queued":
        return place_text(place) if place else "not started"
    return status.state


def badge(status: Status, asked: State | None, place: int | None) -> None:
    """The state as a coloured label."""
    icon, colour = BADGES[status.state]
    st.badge(state_text(status, asked, place), icon=icon, color=colour)  # type: ignore[arg-type]


def can(run: Run, status: Status, queued: bool) -> frozenset[Action]:
    """What can be done with a run now; nothing, for the moment, with one that was asked to stop."""
    if run.in_gallery or (status.at_work and run.stop_requested()):
        return frozenset()
    return allowed(status, queued)


def do(action: Action, runs: Sequence[Run]) -> None:
    """Do it to each of the runs, and draw the page anew; what stands against it is shown then."""
    add = partial(queue().add, quick=True)
    acts: dict[Action, Callable[[Run], object]] = {
        "start": add,
        "resume": add,
        "pause": queue().pause,
        "stop": queue().stop,
        "cancel": queue().cancel,
        "delete": _delete,
    }
    if action == "delete":
        st.session_state[_DELETED] = []
    done = [run for run in runs if attempt(partial(acts[action], run))]
    if action == "cancel" and done:
        ask_to_delete(done)
    st.rerun()


def attempt(act: Callable[[], object]) -> bool:
    """Do it, and say whether it was done; what stands against it is shown with the next drawing."""
    try:
        act()
    except RunError as error:
        st.session_state[_ERROR] = str(error)
        return False
    return True


def show_fault() -> None:
    """Why the last click did not work, once."""
    if message := st.session_state.pop(_ERROR, ""):
        st.error(plain(message), icon=":material/error:")


def buttons(run: Run, status: Status, queued: bool, key: str) -> None:
    """What can be done with a run at work, waiting or put aside; what was asked of it already is off."""
    possible = can(run, status, queued)
    shown = possible or (allowed(status, queued) if not run.in_gallery else frozenset())
    for action, (label, icon) in LABELS.items():
        if action in shown and st.button(
            label, icon=f":material/{icon}:", key=f"{key}_{action}", disabled=action not in possible
        ):
            do(action, [run])


# Deleting


def ask_to_delete(runs: Sequence[Run]) -> None:
    """Ask, with the next drawing, whether these runs shall be deleted."""
    st.session_state[_ASKED] = [run.id for run in runs]
    st.session_state.pop(_DELETED, None)


def _delete(run: Run) -> None:
    st.session_state[_DELETED].append(queue().delete(run).id)


def _undo() -> None:
    """Bring back what was deleted last."""
    for name in st.session_state.pop(_DELETED, []):
        attempt(partial(_restore, name))


def _restore(name: str) -> None:
    restore(find_deleted(name, runs_folder()), runs_folder())


def forget_undo() -> None:
    """There is no way back any more."""
    st.session_state.pop(_DELETED, None)


def undo() -> None:
    """The way back from the last deletion, until something else is asked."""
    if names := st.session_state.get(_DELETED):
        with st.container(horizontal=True, vertical_alignment="center"):
            what = plain(names[0]) if len(names) == 1 else f"{len(names)} runs"
            st.caption(f"Moved to the trash: {what}.", width="content")
            if st.button("Undo", icon=":material/undo:", key="queue_undo"):
                _undo()
                st.rerun()  # of the whole page, where the trash is listed, too


def question() -> None:
    """The question, until it is answered."""
    undo()
    asked = []
    for name in st.session_state.get(_ASKED, []):
        try:
            asked.append(find_run(name, runs_folder()))
        except RunError:  # deleted meanwhile
            continue
    if not asked:
        return
    with st.container(border=True):
        what = f"run {plain(asked[0].id)}" if len(asked) == 1 else f"{len(asked)} runs"
        st.warning(f"Delete {what}? Until the trash is emptied, on the page Runs, it can be brought back.")
        with st.container(horizontal=True):
            if st.button("Move to the trash", icon=":material/delete:", key="queue_delete"):
                del st.session_state[_ASKED]
                do("delete", asked)
            if st.button("Keep", key="queue_keep"):
                del st.session_state[_ASKED]
                st.rerun()


# The list


def show(watched: str) -> None:
    """The queue, where there is more in it than the run that is looked at. It redraws itself while it moves."""
    show_fault()
    question()
    interval = _interval(entries(), watched)
    if interval is not None:
        st.subheader("The queue", anchor=False)
    st.fragment(_draw, run_every=interval or None)(watched, interval)


def _interval(shown: Sequence[Entry], watched: str) -> float | None:
    """Seconds between two drawings: 0 where nothing moves, None where there is nothing to show."""
    if all(entry.run.id == watched for entry in shown):
        return None
    return REFRESH_SECONDS if any(e.status.at_work or e.status.state == "queued" for e in shown) else 0.0


def _draw(watched: str, interval: float | None) -> None:
    shown = entries()
    if interval is not None:
        for entry in shown:
            _row(entry, watched, sum(other.place > 0 and not other.status.job for other in shown))
        st.session_state[_AT_ONCE] = queue().at_once()
        st.number_input("Runs at once", 1, MOST_AT_ONCE, key=_AT_ONCE, on_change=_take_at_once, width=180)
    if _interval(shown, watched) != interval or _ERROR in st.session_state:
        st.rerun()  # after the buttons: a click that came with this drawing would be lost


def _take_at_once() -> None:
    attempt(partial(queue().set_at_once, st.session_state[_AT_ONCE]))


def _row(entry: Entry, watched: str, last: int) -> None:
    run, status = entry.run, entry.status
    place = 0 if status.job else entry.place  # Slurm has an order of its own
    try:
        title = run.title
    except RunError:
        title = "(damaged)"
    left, right = st.columns([5, 8], vertical_alignment="center")
    with left.container(horizontal=True, vertical_alignment="center"):
        badge(status, run.stop_requested(), place)
        if st.button(f"{plain(title)} #{run.id[-4:]}", key=f"queue_watch_{run.id}", type="tertiary",
                     help=f"Watch this run. {status.message}".strip(), disabled=run.id == watched):  # fmt: skip
            st.query_params["run"] = run.id
            st.rerun()
    with right.container(horizontal=True, horizontal_alignment="right", gap="xsmall"):
        ways = [("First", "vertical_align_top", 1), ("Up", "arrow_upward", place - 1),
                ("Down", "arrow_downward", place + 1)]  # fmt: skip
        for label, icon, to in ways if place else ():
            key = f"queue_{label.lower()}_{run.id}"
            if st.button(label, icon=f":material/{icon}:", key=key, disabled=not 1 <= to <= last or to == place):
                attempt(partial(queue().move, run, to))
                st.rerun()
        buttons(run, status, not status.job, f"queue_{run.id}")
