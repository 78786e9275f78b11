"""How many cores this process may keep busy, which in a container, or a job of a cluster, are not the machine's."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The cores of the machine, or as few as this process is bound to, or as its control groups leave it in time."""
    known = [psutil.cpu_count(logical=False) or os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        known.append(len(os.sched_getaffinity(0)))
    return max(1, min([*known, *_quotas()]))


def _quotas() -> list[int]:
    """What each control group (version 2) from this process's own up to the root grants, in cores, rounded down."""
    try:
        lines = _OWN_GROUP.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return []
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    quotas = []
    for group in [_GROUPS / own, *(_GROUPS / own).parents]:
        try:
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()  # "150000 100000", "max 100000"
            quotas.append(math.floor(int(quota) / int(period)))
        except (OSError, ValueError, ZeroDivisionError):
            pass
        if group == _GROUPS:
            break
    return quotas
