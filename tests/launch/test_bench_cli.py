"""The benchmark as users start it."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = [sys.executable, "-m", "bench.allreduce"]


def launcher():
    """Return the launcher of the MPI installed beside this Python, or on the PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")


@pytest.fixture
def start(launch):
    """Return the function that runs a command, under the launcher for some ranks."""

    def run(command, ranks=None):
        if ranks is not None:
            if launcher() is None:
                pytest.skip("no mpiexec beside this Python nor on the PATH")
            command = [launcher(), "-n", str(ranks), *command]
        return launch(
            command,
            timeout_s=90,
            OMP_NUM_THREADS="1",
            PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe",
            PYTHONPATH=str(ROOT),
        )

    return run


def test_two_ranks_print_one_table_and_write_both_files(start, tmp_path):
    files = tmp_path / "out.json", tmp_path / "out.csv"
    code, output = start(
        [*BENCH, "--algorithms", "ring,torus2d,native", "--min", "4", "--max", "64K"]
        + ["--factor", "1024", "--iters", "2", "--warmup", "1", "--check"]
        + ["--json", str(files[0]), "--csv", str(files[1])],
        ranks=2,
    )
    assert code == 0, output
    lines = output.splitlines()
    assert sum("# algorithm" in line for line in lines) == 1
    assert "# Out of bounds values : 0 OK" in lines
    rows = json.loads(files[0].read_text("utf-8"))["rows"]
    with files[1].open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(rows) == 3 * 2 * 2
    shown = [line.split()[:2] for line in lines if not line.startswith("#")]
    out_of_place = [row for row in rows if not row["in_place"]]
    assert shown == [[row["algorithm"], str(row["size"])] for row in out_of_place]


def test_an_unknown_algorithm_exits_2_with_one_message(start):
    code, output = start([*BENCH, "--algorithms", "rong"], ranks=2)
    assert code == 2
    assert "# algorithm" not in output
    assert output.count("unknown algorithm 'rong'; choose from all, ") == 1
    assert "Traceback" not in output


def test_a_file_that_cannot_be_written_is_told_before_measuring(start, tmp_path):
    path = tmp_path / "absent" / "out.json"
    code, output = start([*BENCH, "--json", str(path)], ranks=2)
    assert code == 2
    assert "# algorithm" not in output
    assert output.count("is no writable directory") == 1


def test_a_run_is_compared_with_an_earlier_one_and_exits_0(start, tmp_path):
    path = tmp_path / "old.json"
    quick = [*BENCH, "--iters", "1", "--warmup", "0", "--registered", "--sizes", "4,1K"]
    command = [*quick, "--algorithms", "ring,native", "--json", str(path)]
    code, output = start(command, ranks=2)
    assert code == 0, output
    assert "# buffers: registered" in output
    found = json.loads(path.read_text("utf-8"))
    for row in found["rows"]:
        row["ratio"] *= 1000
    path.write_text(json.dumps(found), "utf-8")
    command = [*quick, "--algorithms", "ring,tree,native", "--compare", str(path)]
    code, output = start(command, ranks=2)
    assert code == 0, output
    assert output.count("# Regressions          : 4 of 4 below 0.90") == 1
    assert output.count("# only in this run: tree float32 sum, in-place: 4, 1024") == 1


@pytest.mark.parametrize("text", ["{", '{"meta": {}, "rows": []}'])
def test_a_file_that_cannot_be_compared_is_told_before_measuring(start, tmp_path, text):
    path = tmp_path / "old.json"
    path.write_text(text, "utf-8")
    code, output = start([*BENCH, "--compare", str(path)], ranks=2)
    assert code == 2
    (line,) = output.splitlines()
    assert str(path) in line


def test_a_plot_without_matplotlib_is_told_before_measuring(start, tmp_path):
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from bench import allreduce\n"
        f"sys.exit(allreduce.main(['--plot', {str(tmp_path / 'out.svg')!r}]))\n"
    )
    code, output = start([sys.executable, "-c", program], ranks=2)
    assert code == 2
    assert output.count("pip install '.[plot]'") == len(output.splitlines()) == 1


def test_one_failing_rank_ends_the_job_with_its_traceback(start):
    program = (
        "import sys, numpy as np\n"
        "from mpi4py import MPI\n"
        "from bench import allreduce, inputs\n"
        "def fill(self, data, rank):\n"
        "    if rank == 1: raise OSError('the dog ate it')\n"
        "inputs.Inputs.fill = fill\n"
        "sys.exit(allreduce.main(['--algorithms', 'native', '--max', '4']))\n"
    )
    code, output = start([sys.executable, "-c", program], ranks=2)
    assert code not in (0, 2)
    assert output.count("OSError: the dog ate it") == 1


def test_help_needs_no_mpi(start):
    program = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from bench import allreduce; allreduce.main(['--help'])\n"
    )
    code, output = start([sys.executable, "-c", program])
    assert code == 0, output
    assert "--algorithms" in output
    assert "torus2d" in output


def test_wrong_usage_is_told_without_mpi_too(start):
    program = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from bench import allreduce; sys.exit(allreduce.main(['--iters', '0']))\n"
    )
    code, output = start([sys.executable, "-c", program])
    assert code == 2
    assert "--iters 0: expected at least 1" in output


@pytest.mark.parametrize(
    ("module", "words"), [("allreduce", ["--device", "cuda"]), ("device", [])]
)
def test_without_cupy_the_cure_is_told_before_measuring(start, module, words):
    program = (
        "import sys; sys.modules['cupy'] = None\n"
        f"from bench import {module}; sys.exit({module}.main({words!r}))\n"
    )
    code, output = start([sys.executable, "-c", program], ranks=2)
    assert code == 2
    assert output.count("pip install") == len(output.splitlines()) == 1


def test_help_of_the_device_command_needs_neither_mpi_nor_cupy(start):
    program = (
        "import sys; sys.modules['mpi4py'] = sys.modules['cupy'] = None\n"
        "from bench import device; device.main(['--help'])\n"
    )
    code, output = start([sys.executable, "-c", program])
    assert code == 0, output
    assert "--path-sizes" in output
