"""What a container may use, from trees of files as the kernel shows them."""

from types import SimpleNamespace

import pytest
import torch
from slimfusion.engines.memory import meter
from slimfusion.engines.memory.budget import GIB, MIB, MemoryBudget, allowed_bytes
from slimfusion.engines.memory.cgroup import container_memory

V2 = "30 23 0:26 {top} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "31 23 0:27 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
CPU_ONLY = "32 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
NONE = 9223372036854771712  # version 1's "no limit"


def tree(root, cgroup, mountinfo, at=None):
    """Writes /proc/self and, at paths below /sys/fs/cgroup, the files of groups."""
    contents = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo}
    contents |= {f"sys/fs/cgroup/{name}": text for name, text in (at or {}).items()}
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(text))
    return root


def test_version_2_in_its_own_namespace(tmp_path):
    files = {"memory.max": 4 * GIB, "memory.current": GIB, "memory.stat": f"anon 5\ninactive_file {256 * MIB}\n"}
    assert container_memory(tree(tmp_path, "0::/\n", V2.format(top="/"), at=files)) == (
        4 * GIB, 3 * GIB + 256 * MIB,
    )  # fmt: skip


def test_version_1_as_a_container_sees_it(tmp_path):
    """The group's path is the host's, while the mount shows that group alone."""
    files = {
        "memory/memory.limit_in_bytes": 2 * GIB,
        "memory/memory.usage_in_bytes": GIB,
        "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {MIB}\n",
    }
    groups = "12:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n"
    assert container_memory(tree(tmp_path, groups, V1.format(top="/docker/abc") + CPU_ONLY, at=files)) == (
        2 * GIB, GIB + MIB,
    )  # fmt: skip


def test_a_parents_limit_counts_with_the_parents_use(tmp_path):
    files = {
        "a/memory.max": GIB, "a/memory.current": 900 * MIB,
        "a/b/memory.max": 2 * GIB, "a/b/memory.current": 100 * MIB,
        "a/b/c/memory.max": "max\n", "a/b/c/memory.current": 50 * MIB,
    }  # fmt: skip
    assert container_memory(tree(tmp_path, "0::/a/b/c\n", V2.format(top="/"), at=files)) == (GIB, 124 * MIB)


def test_memory_high_is_a_limit_too(tmp_path):
    files = {"memory.max": 4 * GIB, "memory.high": 3 * GIB, "memory.current": 0}
    assert container_memory(tree(tmp_path, "0::/\n", V2.format(top="/"), at=files)) == (3 * GIB, 3 * GIB)


def test_both_versions_at_once(tmp_path):
    files = {"memory/x/memory.limit_in_bytes": GIB, "unified/x/memory.max": "max"}
    unified = "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    groups = "4:memory:/x\n0::/x\n"
    assert container_memory(tree(tmp_path, groups, unified + V1.format(top="/"), at=files)) == (GIB, GIB)


def test_a_path_outside_of_the_namespace_ends_at_the_mount(tmp_path):
    files = {"memory.max": GIB}
    assert container_memory(tree(tmp_path, "0::/../../other\n", V2.format(top="/"), at=files)) == (GIB, GIB)


@pytest.mark.parametrize("limit", ["max", "", "-5", "0", "lots", "9" * 40, "1e9", str(NONE)])
def test_what_is_no_limit_is_none(tmp_path, limit):
    files = {"memory.max": limit, "memory/memory.limit_in_bytes": limit}
    mounts = V2.format(top="/") + V1.format(top="/")
    assert container_memory(tree(tmp_path, "0::/\n2:memory:/\n", mounts, at=files)) is None


@pytest.mark.parametrize("cgroup", ["", "\n:::\n", "0::", "0::relative/x", "no colons at all"])
@pytest.mark.parametrize("mountinfo", ["", "a - \n", " - cgroup2", "1 2 3 / /sys - cgroup\n"])
def test_nonsense_is_passed_over(tmp_path, cgroup, mountinfo):
    assert container_memory(tree(tmp_path, cgroup, mountinfo)) is None


def test_no_proc_at_all(tmp_path):
    assert container_memory(tmp_path) is None


def test_files_that_cannot_be_read_are_passed_over(tmp_path):
    root = tree(tmp_path, "0::/a\n", V2.format(top="/"), at={"memory.max": GIB})
    (root / "sys/fs/cgroup/a/memory.max").mkdir(parents=True)
    assert container_memory(root) == (GIB, GIB)


def test_more_use_than_the_limit_leaves_nothing(tmp_path):
    files = {"memory.max": GIB, "memory.current": 2 * GIB}
    assert container_memory(tree(tmp_path, "0::/\n", V2.format(top="/"), at=files)) == (GIB, 0)


def test_the_automatic_budget_comes_from_the_container(monkeypatch):
    machine = SimpleNamespace(total=64 * GIB, available=60 * GIB)
    monkeypatch.setattr(meter.psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(meter, "container_memory", lambda: (4 * GIB, 3 * GIB))
    total, free = meter.total_and_free(torch.device("cpu"))
    assert (total, free) == (4 * GIB, 3 * GIB)
    assert allowed_bytes(MemoryBudget(), total, free, 0) == int(4 * GIB * 0.85) - GIB
    monkeypatch.setattr(meter, "container_memory", lambda: None)
    assert meter.total_and_free(torch.device("cpu")) == (64 * GIB, 60 * GIB)
