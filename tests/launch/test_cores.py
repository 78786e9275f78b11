"""How many cores a training may take."""

import os

import psutil
import pytest

from alexnet_explorer.launch import cores
from alexnet_explorer.launch.cores import usable_cores


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 8 cores, and what limits this process there."""

    def limit(bound=range(16), group="0::/\n", **quotas):
        monkeypatch.setattr(psutil, "cpu_count", lambda logical: 8)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(bound), raising=False)
        monkeypatch.setattr(cores, "_GROUPS", tmp_path / "groups")
        monkeypatch.setattr(cores, "_OWN_GROUP", tmp_path / "own")
        (tmp_path / "own").write_text(group)
        for name, quota in quotas.items():
            folder = tmp_path / "groups" / name.replace("root", "").replace("_", "/")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cpu.max").write_text(quota)

    return limit


def test_without_limits_all_cores_count_and_no_hyperthread(machine):
    machine(root="max 100000\n")
    assert usable_cores() == 8


def test_a_process_that_is_bound_to_some_has_these(machine):
    machine(bound={2, 5, 7})
    assert usable_cores() == 3


@pytest.mark.parametrize(("quota", "left"), [("350000 100000\n", 3), ("50000 100000\n", 1), ("1600000 100000\n", 8)])
def test_a_container_has_what_its_quota_grants(machine, quota, left):
    machine(root=quota)
    assert usable_cores() == left


def test_a_group_is_bound_by_those_around_it(machine):
    machine(group="1:cpu:/other\n0::/user/job\n", user_job="max 100000\n", user="200000 100000\n", root="damaged\n")
    assert usable_cores() == 2


def test_where_there_are_no_control_groups_the_others_count(machine, tmp_path):
    machine(bound=range(4))
    (tmp_path / "own").unlink()
    assert usable_cores() == 4
