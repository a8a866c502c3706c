"""Tuning and calibration as users start them, and what communicators make of it."""

import json
import sys

import pytest
from launcher import ROOT, embedded

TELL = """
from collectives import Communicator
comm = Communicator()
if comm.rank == 0:
    say(comm.explain(4096))
    say(comm.explain(1 << 40))
comm.allreduce(np.ones(1024, np.float32))
comm.close()
"""


@pytest.fixture
def module(launch):
    """Return the function that runs ``python -m`` something on two ranks."""
    launcher = embedded()

    def run(*words, cache, ranks=2):
        command = [*launcher.command, "-n", ranks, launcher.python, "-m", *words]
        return launch(
            command,
            timeout_s=90,
            OMP_NUM_THREADS="1",
            PYTHONPATH=str(ROOT),
            XDG_CACHE_HOME=str(cache),
            COLLECTIVES_TUNED="",
        )

    return run


def test_a_communicator_goes_by_the_table_that_tune_has_written(module, tmp_path):
    code, text = module("bench.tune", "--quick", "--max", "64K", cache=tmp_path)
    assert code == 0, text
    (path,) = (tmp_path / "collectives" / "tuned").iterdir()
    assert text.splitlines()[-1] == f"# written: {path}"
    table = json.loads(path.read_text("utf-8"))
    assert table["version"] == 1
    assert table["layout"] == "1x2"
    kinds = {(line["dtype"], line["registered"]) for line in table["lines"]}
    assert len(kinds) == 4
    places = {"XDG_CACHE_HOME": str(tmp_path), "COLLECTIVES_TUNED": ""}
    outcome = embedded().run(2, TELL, **places)
    assert outcome.status == 0, outcome.text
    assert f"tuned table {path}" in outcome.text
    assert "measured at 1024 bytes" in outcome.text
    assert "nothing measured for this; predicted as on host" in outcome.text


def test_calibrate_writes_the_machine_that_explain_reads(module, launch, tmp_path):
    path = tmp_path / "machine.json"
    code, text = module("bench.calibrate", path, "--max", "4K", cache=tmp_path)
    assert code == 0, text
    assert "# inside nodes: alpha" in text
    assert "# group calls: alpha" in text
    assert text.splitlines()[-1] == f"# written: {path}"
    explain = [sys.executable, "-m", "collectives.explain", "4096"]
    code, text = launch([*explain, "--machine", path], PYTHONPATH=str(ROOT))
    assert code == 0, text
    assert "us predicted" in text


def test_one_rank_has_nothing_to_calibrate(module, tmp_path):
    code, text = module("bench.calibrate", cache=tmp_path, ranks=1)
    assert code == 2
    assert "one rank has no links" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", ["bench.tune", "bench.calibrate"])
def test_wrong_usage_is_told_once(module, tmp_path, command):
    code, text = module(command, "--max", "much", cache=tmp_path)
    assert code == 2
    assert text.count("suffix K, M or G") == 1


def test_a_table_that_cannot_be_written_is_told_before_measuring(module, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, text = module("bench.tune", "-o", blocked / "table.json", cache=tmp_path)
    assert code == 2
    assert text.count("cannot write") == 1
    assert "float32" not in text


def test_pretended_nodes_do_not_get_into_the_cache(module, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLECTIVES_NODES", "2x1")
    code, text = module("bench.tune", "--max", "4", cache=tmp_path)
    assert code == 2
    assert text.count("name a file with --output") == 1


def test_one_rank_has_nothing_to_tune(module, tmp_path):
    code, text = module("bench.tune", "--quick", cache=tmp_path, ranks=1)
    assert code == 2
    assert "one rank has nothing to choose" in text
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_user_is_not_made_for_him(module, tmp_path):
    path = tmp_path / "no" / "table.json"
    code, text = module("bench.tune", "--quick", "-o", str(path), cache=tmp_path)
    assert code == 2
    assert str(path) in text
    assert not path.parent.exists()
