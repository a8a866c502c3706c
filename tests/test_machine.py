import json

import pytest

from collectives import InvalidArgument, Machine, Topology
from collectives.machine import PRESETS, Link
from collectives.step import KINDS

TWO = Topology.sized([3, 2])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_where_its_numbers_come_from(name):
    machine = Machine.load(name)
    assert machine.name == name
    assert machine.source
    assert 0 < machine.intra.alpha <= machine.inter.alpha
    assert 0 < machine.intra.beta


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_saved_is_loaded(name, tmp_path):
    path = str(tmp_path / "machine.json")
    PRESETS[name].save(path)
    assert Machine.load(path) == PRESETS[name]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"intra": [1, 2], "inter": [1, 2]}',
        '{"name": "x", "intra": 1, "inter": [1, 2], "gamma": 1}',
        '{"name": "x", "intra": [1, 2], "inter": [1, 2], "gamma": 1, "speed": 1}',
    ],
)
def test_a_file_that_describes_no_machine_is_refused_with_the_presets(text, tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match="bigbasin, mn1, abci, host"):
        Machine.load(str(path))


@pytest.mark.parametrize("name", ["nowhere", "", "/"])
def test_an_unknown_machine_is_refused_with_the_presets(name):
    with pytest.raises(InvalidArgument, match="bigbasin, mn1, abci, host"):
        Machine.load(name)


def test_a_description_may_leave_out_what_has_a_default(tmp_path):
    path = tmp_path / "machine.json"
    fields = {"name": "x", "intra": [1, 2], "inter": [3, 4], "gamma": 5}
    path.write_text(json.dumps(fields))
    assert Machine.load(str(path)) == Machine("x", Link(1, 2), Link(3, 4), 5)


def test_links_are_told_apart_by_node():
    machine = Machine("x", Link(1, 2), Link(3, 4), 5)
    assert machine.between(TWO, 0, 2) == machine.intra
    assert machine.between(TWO, 2, 3) == machine.inter


def test_ranks_of_a_node_share_its_wire():
    private = Machine("x", Link(1, 2), Link(3, 4), 5)
    shared = Machine("x", Link(1, 2), Link(3, 4), 5, shared=True)
    assert private.wire(3) == Link(3, 4)
    assert shared.wire(3) == Link(3, 12)
    assert shared.flat(TWO) == Link(3, 12)
    assert shared.flat(TWO, crossing=1) == Link(3, 4)
    assert shared.flat(Topology.uniform(local=5)) == shared.intra


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_call_of_one_rank_takes_no_time(kind):
    assert Machine.uniform(1, 1, 1).group_call(kind, 1, 100, Link(1, 1)) == 0


@pytest.mark.parametrize(
    ("kind", "p", "seconds"),
    [
        ("broadcast", 5, 3 * (2 + 60 * 3)),
        ("reduce", 5, 3 * (2 + 60 * 3 + 60 * 7)),
        ("allgather", 5, 4 * (2 + 12 * 3)),
        ("reduce_scatter", 5, 4 * (2 + 12 * 3 + 12 * 7)),
        ("allreduce", 4, 2 * 2 * 2 + 45 * (2 * 3 + 7)),
    ],
)
def test_group_calls_take_the_time_of_their_usual_algorithm(kind, p, seconds):
    found = Machine.uniform(2, 3, 7).group_call(kind, p, 60, Link(2, 3))
    assert found == pytest.approx(seconds, rel=1e-12)
