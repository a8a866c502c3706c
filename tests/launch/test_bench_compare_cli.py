"""The comparison of trainers as users start it."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = str(Path(__file__).parents[2])
COMPARE = [sys.executable, "-m", "bench.compare"]
SMALL = "--model tiny --image-size 8 --batch 2 --steps 2 --warmup 1".split()


@pytest.fixture
def start(launch, mpiexec):
    def run(*command):
        command = [mpiexec, "-n", 2, *command]
        return launch(command, timeout_s=90, OMP_NUM_THREADS="1", PYTHONPATH=ROOT)

    return run


def test_two_ranks_print_one_table_and_write_the_file(start, tmp_path):
    path = tmp_path / "out.json"
    code, output = start(*COMPARE, *SMALL, "--json", path)
    assert code == 0, output
    lines = output.splitlines()
    shown = [line.split()[0] for line in lines if not line.startswith("#")]
    assert shown == ["ours", "ddp-gloo", "none"]
    assert lines[-1] == "# losses: OK, the first 10 within 0.0001 of ddp-gloo's"
    content = json.loads(path.read_text("utf-8"))
    assert [row["trainer"] for row in content["rows"]] == shown
    assert content["meta"]["options"]["model"] == "tiny"


def test_another_training_than_ddps_exits_1(start):
    program = (
        "import sys\n"
        "from bench import compare\n"
        "from trainer.reducer import Reducer\n"
        "Reducer._on_gradient = Reducer.finish = lambda *_: None\n"
        f"sys.exit(compare.main({SMALL}))\n"
    )
    code, output = start(sys.executable, "-c", program)
    assert code == 1
    assert output.count("# losses: FAILED: ours beyond 0.0001") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--trainer", "ours,horovod"], "unknown 'horovod'; choose from trainer, "),
        (["--steps", "0"], "--steps 0: expected at least 1"),
        (["--json", "/absent/out.json"], "'/absent' is no writable directory"),
        (["--trainer", "ours", "--bucket-bytes", "4B"], "size '4B': expected bytes"),
    ],
)
def test_what_cannot_be_obeyed_exits_2_with_one_message(start, flags, message):
    code, output = start(*COMPARE, *SMALL, *flags)
    assert code == 2
    assert output.count("python -m bench.compare: ") == output.count(message) == 1
    assert "Traceback" not in output


def test_help_needs_neither_mpi_nor_torch(launch):
    program = (
        "import sys; sys.modules['mpi4py'] = sys.modules['torch'] = None\n"
        "from bench import compare; compare.main(['--help'])\n"
    )
    code, output = launch([sys.executable, "-c", program], PYTHONPATH=ROOT)
    assert code == 0, output
    assert "ours:ALGORITHM" in output
