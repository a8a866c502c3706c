"""The parts of ``make gpu-check``, without a GPU."""

import re
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
MOST_S = 10 * 60  # as the Makefile says


def parts():
    """Return each target's parts, as (seconds, ranks, what is run)."""
    text = MAKEFILE.read_text("utf-8").replace("\\\n", " ")
    found = {}
    for target, recipe in re.findall(r"^(gpu-\w+):\n\t(.*)$", text, re.M):
        commands = re.findall(r"\bpart (\d+) (\d+) ([^;]*);", recipe)
        found[target] = [(int(s), int(n), what.split()) for s, n, what in commands]
    return found


def test_all_targets_are_part_of_the_check():
    (named,) = re.findall(
        r"^gpu-check: ; \$\(MAKE\) -k (.*)$", MAKEFILE.read_text(), re.M
    )
    assert named.split() == list(parts()) == ["gpu-tests", "gpu-nccl", "gpu-bench"]


@pytest.mark.parametrize("target", parts())
def test_the_limits_of_a_target_leave_time_to_end_its_parts(target):
    limits = [seconds + 5 for seconds, _, _ in parts()[target]]  # timeout -k 5
    assert limits and sum(limits) < MOST_S


def test_the_doctor_tries_device_memory_first():
    seconds, ranks, what = parts()["gpu-tests"][0]
    assert (ranks, what[:2]) == (2, ["-m", "collectives.doctor"])
    each = float(what[what.index("--timeout-s") + 1])
    assert 3 * each < seconds  # host memory, device memory, and the links


def test_the_trainer_is_compared_with_a_plain_loop():
    *_, (_, ranks, what) = parts()["gpu-bench"]
    assert (ranks, what[:2]) == (1, ["-m", "bench.compare"])
    assert what[what.index("--trainer") + 1] == "trainer,ours,none"
