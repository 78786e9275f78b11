"""The ledger: each claim of the paper as a study that ships with the project, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..config import ConfigError
from ..runs import Run, RunError
from .results import Results, results, unreadable
from .statistics import StatisticsError
from .study import Study, read
from .survey import Shelf, Survey, survey

LEDGER = "ledger"
SHIPPED = Path(__file__).parent / "ledger"


def own_folder(root: Path) -> Path:
    """Where a visitor's studies are kept: a hidden folder of the runs folder."""
    return root / ".studies"


def shipped() -> dict[str, Study]:
    """The ledger's studies by id, in the order of the paper's sections."""
    studies = [read(file) for file in sorted(SHIPPED.glob("*.yaml"))]
    return {study.id: study for study in sorted(studies, key=lambda study: study.claim.section if study.claim else "")}


def own(root: Path) -> tuple[dict[str, Study], list[str]]:
    """A visitor's studies by id, and what is wrong with files that are none."""
    found, faults = {}, []
    for file in sorted(own_folder(root).glob("*.yaml")):
        try:
            study = read(file)
        except ConfigError as error:
            faults.append(str(error))
        else:
            found[study.id] = study
    return found, faults


def find_study(name: str, root: Path) -> Study:
    """A study file, or the name of one of the ledger or of the runs folder. Raises ConfigError."""
    path = Path(name)
    with suppress(OSError):
        if path.is_file():
            return read(path)
    studies = own(root)[0] | shipped()
    if name not in studies:
        raise ConfigError(f"there is no study {name!r}: write a file, or one of {', '.join(studies)}")
    return studies[name]


def results_of(studies: Sequence[Study], root: Path, shelf: Shelf | None = None) -> list[Results]:
    """What the runs that are there say, whoever computed them on whichever copy of the data.

    A study whose runs cannot be evaluated says why, and hides no other. `shelf`: of this root; with one that is kept,
    runs are read once only.
    """
    shelf = shelf or Shelf(root)
    there = shelf.runs()
    return [_result(study, there, shelf) for study in studies]


def _result(study: Study, there: dict[str, list[Run]], shelf: Shelf) -> Results:
    try:
        found = survey(study, there)
    except ConfigError as fault:  # of another version, which knew other fields
        return unreadable(Survey(study), fault)
    try:
        return results(found, shelf.outcomes)
    except (RunError, StatisticsError) as fault:
        return unreadable(found, fault)
