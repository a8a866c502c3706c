import csv
import json
import sys

import pytest

from bench import lanes
from collectives import host

FAKE = """
import json, os, sys
behaviour, ranks, *rest = sys.argv[1:]
log = os.environ["FAKE_LOG"]
with open(log, "a") as file:
    file.write(json.dumps([behaviour, ranks, rest]) + chr(10))
turn = sum(1 for line in open(log) if json.loads(line)[0] == behaviour)
if behaviour == "slow":
    import time
    time.sleep(60)
if behaviour == "broken":
    print("a word", "before the end", sep=chr(10))
    sys.exit(3)
if behaviour == "silent":
    sys.exit(0)
def row(algorithm, in_place, time_us, ratio):
    return dict(algorithm=algorithm, size=8, count=2, dtype="float32", op="sum",
        in_place=in_place, time_us=time_us, ratio=ratio, unheard_of=1)
native = {"fast": 10.0, "steady": 20.0}[behaviour] * turn
rows = [row("native", p, native, 1.0) for p in (False, True)]
rows += [row("ring", p, native / r, r) for p, r in ((False, 4.0 / turn), (True, 2.0))]
rows += [row("gloo", False, 7.0, None)] if behaviour == "fast" else []
about = dict(hardware={"cpu": "abacus"}, options={"min": 8}, left_out={},
    versions={"mpi": behaviour.upper()})
if behaviour == "steady":
    about["left_out"] = {"gloo": "torch is not installed"}
json.dump({"meta": about, "rows": rows}, open(rest[rest.index("--json") + 1], "w"))
"""


@pytest.fixture
def lane(tmp_path, monkeypatch):
    """Return the function that makes a lane whose launcher only pretends."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE, "utf-8")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return lambda kind: f"--lane={kind}={sys.executable} {script} {kind} {{np}}"


@pytest.fixture
def started(tmp_path):
    """Return the function that lists what the launchers were given."""

    def read():
        lines = (tmp_path / "log").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return read


def test_lanes_take_turns_and_another_one_starts_each_round(lane, started, capfd):
    arguments = [lane("fast"), lane("steady"), "--np", "2,4", "--rounds", "2"]
    assert lanes.main(arguments) == 0
    assert [(kind, ranks) for kind, ranks, _ in started()] == [
        *[("fast", "2"), ("steady", "2"), ("fast", "4"), ("steady", "4")],
        *[("steady", "2"), ("fast", "2"), ("steady", "4"), ("fast", "4")],
    ]


def test_options_behind_the_dashes_pass_through_unread(lane, started, capfd):
    options = ["--what", "ever", "--", "-x"]
    assert lanes.main([lane("fast"), "--rounds", "1", "--", *options]) == 0
    ((_, _, given),) = started()
    assert given[:-1] == ["-m", "bench.allreduce", *options, "--json"]


def test_numbers_are_medians_over_the_rounds(lane, tmp_path, capfd):
    files = tmp_path / "out.json", tmp_path / "out.csv"
    arguments = [lane("fast"), lane("steady"), "--rounds", "3"]
    arguments += ["--json", str(files[0]), "--csv", str(files[1])]
    assert lanes.main(arguments) == 0
    found = json.loads(files[0].read_text("utf-8"))
    rows = {(r["lane"], r["algorithm"], r["in_place"]): r for r in found["rows"]}
    assert len(rows) == len(found["rows"]) == 9
    assert rows["steady", "native", True]["time_us"] == 40.0
    ring = rows["fast", "ring", False]
    assert ring["ratio"] == 2.0
    assert (ring["ratio_least"], ring["ratio_most"]) == (pytest.approx(4 / 3), 4.0)
    assert rows["fast", "gloo", False]["ratio"] is None
    with files[1].open(newline="", encoding="utf-8") as file:
        flat = list(csv.DictReader(file))
    assert [row["lane"] for row in flat] == [row["lane"] for row in found["rows"]]
    assert flat[0].keys() == found["rows"][0].keys()


def test_the_file_tells_command_hardware_date_and_versions(lane, tmp_path, capfd):
    path = tmp_path / "out.json"
    arguments = [lane("fast"), lane("steady"), "--rounds", "1", "--json", str(path)]
    assert lanes.main([*arguments, "--", "--min", "8"]) == 0
    about = json.loads(path.read_text("utf-8"))["meta"]
    assert about["command"].startswith("python -m bench.lanes ")
    assert about["command"].endswith("-- --min 8")
    assert about["date"].startswith("20")
    assert about["hardware"] == {"cpu": "abacus"}
    assert about["options"] == {"min": 8}
    assert about["lanes"]["steady"] == {
        "versions": {"mpi": "STEADY"},
        "left_out": {"gloo": "torch is not installed"},
    }


def test_the_table_has_a_line_for_each_size_and_place(lane, capfd):
    assert lanes.main([lane("fast"), lane("steady"), "--rounds", "1"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split() for line in lines if not line.startswith("#")] == [
        "8 out of 10.00 4.00 N/A 20.00 4.00 N/A".split(),
        "8 in 10.00 2.00 N/A 20.00 2.00 N/A".split(),
    ]
    heads = next(line for line in lines if "size (B)" in line)
    assert heads.split("place")[1].split() == "native us ring gloo".split() * 2
    assert len(heads) == len(lines[lines.index(heads) + 1])
    assert "# lowest ratio: 2.00 ring, fast, 2 ranks, 8 B in place" in lines
    assert "# steady: left out: gloo: torch is not installed" in lines


@pytest.mark.parametrize(
    ("kind", "options", "what"),
    [
        ("broken", [], "ended with exit code 3"),
        ("silent", [], "ended with exit code 0, but left no results"),
        ("slow", ["--timeout-s", "1"], "did not end within 1 s"),
    ],
)
def test_a_failing_lane_is_told_with_its_output(kind, options, what, lane, capfd):
    assert lanes.main([lane(kind), *options]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    head = f"python -m bench.lanes: lane {kind}, 2 ranks, {what}: {sys.executable} "
    assert err.startswith(head)
    end = "a word\n  before the end\n" if kind == "broken" else "(nothing)\n"
    assert err.endswith(f"its last output:\n  {end}")
    assert "Traceback" not in err


GOOD = ["--lane", f"x={sys.executable} {{np}}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--lane"),
        (["--lane", "mpich"], "'mpich=mpiexec -n {np} python'"),
        (["--lane", f"a={sys.executable}"], "with {np} for the number of ranks"),
        (["--lane", "a='{np}"], "No closing quotation"),
        (["--lane", "a=no-such-launcher {np}"], "no program 'no-such-launcher'"),
        ([*GOOD, "--np", "2,0"], "'2,0': expected ranks like 2,4"),
        ([*GOOD, "--rounds", "0"], "--rounds 0: expected at least 1"),
        ([*GOOD, "--json", "no/such/folder/x.json"], "no writable directory"),
        ([*GOOD, *GOOD], "a name twice in x, x"),
    ],
)
def test_what_cannot_be_obeyed_is_told_before_anything_starts(
    arguments, message, capfd
):
    assert lanes.main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert err.count("python -m bench.lanes: ") == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MPICH Version:      5.0.2\nMPICH Release date: ...\0", "MPICH 5.0.2"),
        ("Open MPI v5.0.11, package: Open MPI root@host\0", "Open MPI v5.0.11"),
        ("Intel(R) MPI Library 2021.18.1 for Linux* OS\n", "Intel MPI 2021.18.1"),
    ],
)
def test_a_library_is_called_by_its_name_and_version(text, name):
    assert host.library_name(text) == name
