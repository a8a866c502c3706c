import re

import pytest
from tables import table

from collectives import Machine, Topology, algorithms
from collectives.explain import explain, main
from collectives.select import Call, choose
from collectives.tuned import Found

HOST = Machine.load("host")
FOUR = Topology.uniform(local=4)


def test_the_explanation_of_a_prediction_names_the_machine_and_all_candidates():
    call = Call(1 << 20, True, engine=True)
    text = explain(FOUR, call, HOST, Found(None, "there is no table"))
    first, why, chosen, *_ = text.splitlines()
    assert first.startswith("allreduce of 1048576 bytes, float32, not registered, 4 r")
    assert why == "   there is no table; predicted as on host"
    expected = choose("auto", FOUR, call, HOST).algorithm
    assert chosen.split()[:2] == ["->", expected]
    assert all(name in text for name in algorithms.names() if name != "rank_order")
    assert text.count("us predicted") == len(algorithms.names()) - 1


def test_the_explanation_of_a_measurement_names_the_table_and_the_runners_up():
    text = explain(FOUR, Call(1 << 17, True), HOST, Found(table(), "the table"))
    assert text.splitlines()[1:] == [
        "   the table: measured at 65536 bytes",
        "-> ring depth=8         60.0 us measured",
        "   tree                 70.0 us measured",
        "   native               90.0 us measured",
    ]


def test_where_the_table_has_nothing_the_explanation_says_so():
    call = Call(1 << 30, True, "half", True)
    text = explain(FOUR, call, HOST, Found(table(), "the table"))
    assert "half types, registered" in text
    assert "the table: nothing measured for this; predicted as on host" in text


def test_the_command_predicts(capsys):
    assert main(["1048576", "--nodes", "2x4", "--machine", "abci"]) == 0
    text = capsys.readouterr().out
    assert "8 ranks on 2 nodes of 4" in text
    assert "no tuned table given; predicted as on abci" in text


def test_the_command_reads_a_table_and_takes_its_layout(capsys, tmp_path):
    path = str(tmp_path / "table.json")
    table(layout="2x2").write(path)
    assert main(["65536", "--tuned", path]) == 0
    text = capsys.readouterr().out
    assert "4 ranks on 2 nodes of 2" in text
    assert f"tuned table {path}, An MPI 1.0, a processor: measured at 65536" in text
    assert main(["65536", "--tuned", path, "--nodes", "1x4"]) == 0
    assert "is for ranks laid out 2x2, not 1x4; predicted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-- -1", "expected 0 or more"),
        ("4 --nodes 2x", "like 4x2, or node sizes like 3,2,1"),
        ("4 --machine nowhere", "bigbasin, mn1, abci, host"),
        ("4 --tuned nowhere", "tuned table 'nowhere': .*No such file"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments, message, capsys):
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(message, err)
    assert err.count("\n") == 1
