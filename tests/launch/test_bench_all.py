"""The benchmark under two MPIs, as ``make bench-all`` starts it."""

import json
import shlex
import sys

from launcher import ROOT, embedded, openmpi


def lane(launcher):
    """Return the words that start Python under a launcher."""
    return shlex.join([*launcher.command, "-n", "{np}", launcher.python])


def test_two_mpis_make_one_table(launch, tmp_path):
    path = tmp_path / "out.json"
    code, output = launch(
        [sys.executable, "-m", "bench.lanes", "--np", "2", "--rounds", "1"]
        + ["--lane", f"here={lane(embedded())}", "--lane", f"openmpi={lane(openmpi())}"]
        + ["--json", path, "--", "--algorithms", "ring,native", "--max", "4"]
        + ["--iters", "1", "--warmup", "0"],
        timeout_s=100,
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS="1",
    )
    assert code == 0, output
    found = json.loads(path.read_text("utf-8"))
    versions = found["meta"]["lanes"]["openmpi"]["versions"]
    assert versions["mpi"].startswith("Open MPI v5")
    rows = {(r["lane"], r["algorithm"], r["in_place"]): r for r in found["rows"]}
    assert len(rows) == len(found["rows"]) == 2 * 2 * 2
    assert all(row["ratio"] is not None for row in rows.values())
    shown = [line.split() for line in output.splitlines() if line[0] != "#"]
    assert [line[:2] for line in shown] == [["4", "out"], ["4", "in"]]


def test_the_error_of_a_lane_is_shown_once(launch):
    code, output = launch(
        [sys.executable, "-m", "bench.lanes", "--lane", f"here={lane(embedded())}"]
        + ["--", "--algorithms", "rong"],
        PYTHONPATH=str(ROOT),
    )
    assert code == 1
    assert output.startswith("python -m bench.lanes: lane here, 2 ranks, ended with ")
    assert output.count("unknown algorithm 'rong'") == 1
