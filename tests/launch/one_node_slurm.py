"""A real Slurm of one node, from Debian's packages, in a folder of its own.

    python tests/launch/one_node_slurm.py FOLDER      # prints the SLURM_CONF to use, and runs until Ctrl-C

Needs root, as Slurm's daemons do; installs slurm-wlm and munge where they are missing. Two partitions share the node:
a job of `urgent` puts jobs of `main` back into the queue.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "munged", "mungekey")
INSTALL = (
    "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends slurm-wlm munge"
)
START_SECONDS = 30.0

# proctrack/linuxproc and task/none need no cgroups, which a container may lack.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PriorityType=priority/basic
KillWait=20
MinJobAge=10
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


class Unavailable(RuntimeError):
    """There can be no Slurm here; the message says why."""


def install() -> None:
    """See that Slurm's programs are there. Raises Unavailable."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise Unavailable("Slurm's daemons need root")
    if all(map(shutil.which, PROGRAMS)):
        return
    if not shutil.which("apt-get"):
        raise Unavailable("Slurm is not installed, and there is no apt-get to install slurm-wlm and munge")
    done = subprocess.run(["bash", "-c", INSTALL], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode or not all(map(shutil.which, PROGRAMS)):
        raise Unavailable(f"slurm-wlm and munge cannot be installed: {done.stderr.strip()[-300:]}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Slurm runs meanwhile; yields the environment variables that its commands need. Raises Unavailable."""
    install()
    folder = folder.resolve()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    for path in (folder, *folder.parents):  # munged wants no folder above its socket that others may write to
        if path.stat().st_mode & 0o022 and not path.stat().st_mode & 0o1000:
            raise Unavailable(f"munged refuses {path}, which others may write to")
    key, configuration = folder / "munge.key", folder / "slurm.conf"
    subprocess.run(["mungekey", "--create", f"--keyfile={key}"], check=True)
    host = socket.gethostname().split(".")[0]
    configuration.write_text(CONFIGURATION.format(
        host=host, folder=folder, controller_port=_free_port(), node_port=_free_port(), cores=os.cpu_count() or 1
    ))  # fmt: skip
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    daemons = {
        "munged": [
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
        ],
        "slurmctld": ["slurmctld", "-D", "-c"],
        "slurmd": ["slurmd", "-D"],
    }  # fmt: skip
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in daemons.items():
            log = (folder / f"{name}.out").open("wb")
            processes.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=subprocess.STDOUT, start_new_session=True))  # fmt: skip
            log.close()
            if name == "munged":
                _wait(folder, lambda: (folder / "munge.socket").exists())
        _wait(folder, lambda: b"idle" in _said(["sinfo", "--noheader", "--format=%T"], environment))
        yield {"SLURM_CONF": str(configuration)}
    finally:
        with_jobs = _said(["squeue", "--noheader", "--format=%i"], environment).split()
        if with_jobs:
            _said(["scancel", "--signal=KILL", *(job.decode() for job in with_jobs)], environment)
            _said(["scancel", *(job.decode() for job in with_jobs)], environment)
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(processes):
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _said(command: list[str], environment: dict[str, str]) -> bytes:
    return subprocess.run(command, env=environment, capture_output=True, timeout=20).stdout


def _wait(folder: Path, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > end:
            logs = "\n".join(path.read_text(errors="replace")[-600:] for path in folder.glob("*.out"))
            raise Unavailable(f"Slurm does not start here: {logs}")
        time.sleep(0.1)


if __name__ == "__main__":
    with running(Path(sys.argv[1])) as variables:
        print(*(f"export {name}={value}" for name, value in variables.items()), flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()
