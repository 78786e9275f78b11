"""Jobs of Slurm, through submitit: one for each run. Runs folder and packed data lie where every node sees them.

    runs/.slurm/  settings.json  what submitit writes of each job: its script, its log, its function

A job trains its run as `train --resume` would. Where Slurm takes its machine away, or its time runs out, the job keeps
a checkpoint after the batch under way and goes back into Slurm's queue.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..config import ConfigError, explain
from ..files import slug, write_json
from ..runs import Run, RunError
from .local import PROJECT

WARNING_SECONDS = 120  # before a job's time is over
ANSWER_SECONDS = 30.0  # for which a command of Slurm is waited for
NOTED_SECONDS = 60.0  # until a job reads in the run's status that it was submitted: file systems of clusters lag
ASK_AGAIN_SECONDS = 2.0  # after a command to which Slurm gave no answer
KILLED_SECONDS = 120.0  # until Slurm ends a job that asked to go back into the queue

_JOB = re.compile(r"\d+(_\d+)?")  # a status may be a stranger's, and scancel has options

# It becomes a line of the job's script: nothing that could begin another line.
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.,:@-]*$", max_length=100)]


class SlurmSettings(BaseModel):
    """What a job asks Slurm for; an empty name leaves it to the cluster."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: _Name = ""
    account: _Name = ""
    qos: _Name = ""
    constraint: _Name = Field("", description="features that a node must have")
    minutes: int = Field(240, ge=3, le=43_200, description="after which a job goes back into the queue")
    cpus: int = Field(2, ge=1, le=1024)
    gpus: int = Field(0, ge=0, le=1, description="one process trains a run")
    memory_gb: int = Field(0, ge=0, le=4096, description="0: what the cluster gives")
    at_once: int = Field(16, ge=1, le=1000, description="jobs of this folder that wait or run at once")

    def to_submitit(self) -> dict[str, Any]:
        """The parameters of submitit's SlurmExecutor."""
        names = {"partition": self.partition, "account": self.account, "qos": self.qos, "constraint": self.constraint}
        return {
            **{name: value for name, value in names.items() if value},
            **({"gpus_per_node": self.gpus} if self.gpus else {}),
            **({"mem": f"{self.memory_gb}GB"} if self.memory_gb else {}),
            "cpus_per_task": self.cpus,
            "time": self.minutes,
            "signal_delay_s": WARNING_SECONDS,
            "setup": [
                f"export PYTHONPATH={shlex.quote(str(PROJECT))}${{PYTHONPATH:+:$PYTHONPATH}}",
                "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK",
            ],
        }


def folder(root: Path) -> Path:
    """Where a runs folder keeps what belongs to Slurm."""
    return root / ".slurm"


def read_settings(root: Path) -> SlurmSettings:
    """The settings of a runs folder. Raises RunError where their file is damaged."""
    file = folder(root) / "settings.json"
    try:
        return SlurmSettings.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return SlurmSettings()
    except (OSError, ValidationError):
        raise RunError(f"{file} cannot be read: delete it, and set what jobs ask for again") from None


def write_settings(root: Path, changes: Mapping[str, Any]) -> SlurmSettings:
    """Change some of the settings. Raises ConfigError, naming the field, and RunError."""
    try:
        settings = SlurmSettings.model_validate({**read_settings(root).model_dump(), **changes})
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    try:
        folder(root).mkdir(parents=True, exist_ok=True)
        write_json(folder(root) / "settings.json", settings.model_dump())
    except OSError as error:
        raise RunError(f"{folder(root)} cannot be written: {error.strerror}") from error
    return settings


def unavailable() -> str:
    """Why no run can be handed to Slurm from here; empty where it can."""
    if missing := [name for name in ("sbatch", "srun", "squeue", "scancel", "scontrol") if not shutil.which(name)]:
        return f"this machine has no Slurm ({missing[0]} is not there): run it on a node of a cluster"
    if importlib.util.find_spec("submitit") is None:
        return "submitit is not installed: pip install -r requirements-slurm.txt"
    return ""


def answers() -> bool:
    """Whether a controller of Slurm is up: its programs may be there without one."""
    try:
        return " is UP" in _say(["scontrol", "ping"])
    except RunError:
        return False


def require() -> None:
    """Raises RunError where no run can be handed to Slurm from here."""
    if reason := unavailable():
        raise RunError(reason)


def submit(run: Run, settings: SlurmSettings) -> str:
    """Hand a run over; returns the job's id. Raises RunError with what Slurm said."""
    require()
    import submitit

    root = run.path.parent.resolve()
    executor = submitit.SlurmExecutor(folder=folder(root))
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):  # submitit prints what sbatch says
            executor.update_parameters(job_name=slug(run.id)[:100], **settings.to_submitit())
            return str(executor.submit(TrainJob(str(root / run.id))).job_id)
    except (submitit.core.utils.FailedJobError, subprocess.SubprocessError, OSError) as error:
        said = errors.getvalue().strip().splitlines() or [str(error)]
        raise RunError(f"Slurm did not take run {run.id}: {said[0].removeprefix('sbatch: error: ')}") from error


class Job(NamedTuple):
    """A job in Slurm's words."""

    state: str  # PENDING, RUNNING, COMPLETING …
    reason: str  # why it waits: Resources, PartitionTimeLimit …


def jobs() -> dict[str, Job] | None:
    """Each job that waits or is at work, by its id; None where Slurm does not answer.

    Of all users: others may look at the same runs folder, and would take this one's runs for lost.
    """
    try:
        lines = _say(["squeue", "--noheader", "--format=%i|%T|%r"]).splitlines()
    except RunError:
        return None
    parts = [line.split("|") for line in lines]
    return {part[0]: Job(part[1], part[2]) for part in parts if len(part) == 3}


def cancel(job: str) -> None:
    """End a job; one that is gone is well. Raises RunError where Slurm does not answer, or that is no job's id."""
    if not _JOB.fullmatch(job):
        raise RunError(f"{job!r} is not the id of a job: the run's status.json is damaged")
    _say(["scancel", job])


def log(run_path: Path, job: str) -> Path:
    """Where a job of a run writes what goes wrong before the training speaks for itself."""
    return folder(run_path.parent) / f"{job}_0_log.err"


def _say(command: Sequence[str]) -> str:
    try:
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=ANSWER_SECONDS, stdin=subprocess.DEVNULL
        ).stdout
    except subprocess.CalledProcessError as error:
        raise RunError(f"{command[0]}: {error.stderr.strip() or error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{command[0]} does not answer: {error}") from error


@dataclass(frozen=True)
class TrainJob:
    """What a job does on its node: train the run of this directory, and go back into the queue if it is broken off."""

    path: str

    def __call__(self) -> str:
        from ..training.loop import train

        run, job = Run(Path(self.path)), os.environ["SLURM_JOB_ID"]
        _wait_for(run, job)
        before = run.status().step
        # Slurm sends it when the time is nearly over; the training ends after its batch, as at SIGTERM.
        signal.signal(signal.SIGUSR2, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
        status = train(run, at_signal="interrupted")
        if status.state == "interrupted" and _still_running(job):
            if status.step == before:
                run.settle("failed", "its time in Slurm is too short for a single batch: give it more minutes")
            else:
                run.settle("queued", job=job)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                _say(["scontrol", "requeue", job])
                time.sleep(KILLED_SECONDS)  # Slurm ends this process, to start it again when there is room
        return status.state


def _still_running(job: str) -> bool:
    """Whether Slurm sees a job as running: not one that was cancelled, but one whose machine is wanted by others.

    A controller that is silent is asked three times: it has much to do when many jobs lose their machines at once.
    """
    for _ in range(3):
        if (there := jobs()) is not None:
            return job in there and there[job].state == "RUNNING"
        time.sleep(ASK_AGAIN_SECONDS)
    return False


def _wait_for(run: Run, job: str) -> None:
    """Until the run's status names this job. Raises RunError where it does not within a minute."""
    end = time.monotonic() + NOTED_SECONDS
    while run.status().job != job:
        if time.monotonic() > end:
            raise RunError(f"run {run.id} does not say that job {job} trains it: it was handed elsewhere meanwhile")
        time.sleep(0.2)
