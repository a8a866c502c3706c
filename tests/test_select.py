import pytest

from collectives import InvalidArgument, Machine, Topology, algorithms, select

HOST = Machine.load("host")
FOUR = Topology.uniform(local=4)


def test_auto_takes_the_lowest_predicted_cost():
    for nbytes in (4, 1 << 16, 1 << 26):
        chosen = select.choose("auto", FOUR, nbytes, HOST, native=True)
        costs = {
            name: algorithms.load(name).cost(FOUR, nbytes, HOST)
            for name in algorithms.names()
            if name != "rank_order"
        }
        assert costs[chosen] == min(costs.values())


def test_auto_leaves_out_native_where_the_library_cannot_add():
    for nbytes in (4, 1 << 20):
        assert select.choose("auto", FOUR, nbytes, HOST, native=False) != "native"
    with pytest.raises(InvalidArgument, match="the MPI library cannot combine"):
        select.choose("native", FOUR, 4, HOST, native=False)


def test_deterministic_means_rank_order():
    for name in ("auto", "rank_order"):
        chosen = select.choose(name, FOUR, 4, HOST, native=True, deterministic=True)
        assert chosen == "rank_order"
    with pytest.raises(InvalidArgument, match="'ring' with deterministic=True"):
        select.choose("ring", FOUR, 4, HOST, native=True, deterministic=True)


def test_an_unknown_algorithm_lists_the_known_ones():
    with pytest.raises(InvalidArgument, match="'rign'; choose from .*, ring,"):
        select.choose("rign", FOUR, 4, HOST, native=True)


def test_the_explanation_begins_with_the_choice():
    text = select.explain(FOUR, 1 << 20, HOST)
    chosen = select.choose("auto", FOUR, 1 << 20, HOST, native=True)
    assert text.splitlines()[1].split()[:2] == ["->", chosen]
    assert all(name in text for name in algorithms.names() if name != "rank_order")
