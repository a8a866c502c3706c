import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import SIZES, layouts

from collectives import Topology, UnsupportedTopology
from collectives.topology import parse_grid

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=9)


@given(sizes)
def test_blocks_of_the_given_sizes_in_rank_order(sizes):
    topology = Topology.sized(sizes)
    assert [len(node) for node in topology.nodes] == sizes
    assert topology.order == tuple(range(sum(sizes)))
    assert topology.size == sum(sizes)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=20))
def test_ranks_on_one_host_share_a_node(hosts):
    topology = Topology.from_hosts(hosts)
    assert sorted(topology.order) == list(range(len(hosts)))
    for rank, host in enumerate(hosts):
        assert {hosts[peer] for peer in topology.node(rank)} == {host}
        assert rank in topology.node(rank)
        assert topology.nodes[topology.node_of[rank]] == topology.node(rank)


@pytest.mark.parametrize("size", SIZES)
def test_the_rows_of_every_grid_hold_every_rank_once(size):
    for topology in layouts(size):
        ranks = [rank for row in topology.rows for rank in row]
        assert sorted(ranks) == list(range(size))
        assert all(topology.rows)


@pytest.mark.parametrize("size", SIZES)
def test_a_row_of_the_default_grid_is_made_of_whole_nodes(size):
    for topology in layouts(size):
        if len(topology.nodes) > 1:
            for row in topology.rows:
                assert all(set(topology.node(rank)) <= set(row) for rank in row)


@pytest.mark.parametrize(
    ("nodes", "local", "x", "y"),
    [(1, 1, 1, 1), (1, 12, 4, 3), (256, 4, 32, 32), (544, 4, 64, 34), (4, 8, 8, 4)],
)
def test_the_default_grid_is_as_square_as_whole_nodes_allow(nodes, local, x, y):
    rows = Topology.uniform(nodes, local).rows
    assert [len(row) for row in rows] == [x] * y


def test_a_prime_number_of_ranks_gets_rows_of_nearly_equal_length():
    assert [len(row) for row in Topology.uniform(local=11).rows] == [4, 4, 3]
    assert [len(row) for row in Topology.uniform(local=7).rows] == [7]


def test_unequal_nodes_are_one_row_each():
    topology = Topology.sized([3, 2, 1])
    assert topology.rows == topology.nodes


def test_a_declared_grid_follows_the_nodes():
    topology = Topology.from_hosts(list("abab"), grid=(2, 2))
    assert topology.rows == ((0, 2), (1, 3))


@pytest.mark.parametrize("grid", [(5, 3), (0, 0), (-3, -4), (12, 0)])
def test_a_grid_that_does_not_fit_is_refused_with_those_that_do(grid):
    with pytest.raises(UnsupportedTopology, match="1x12, 2x6, 3x4, 4x3, 6x2, 12x1"):
        Topology.uniform(local=12).with_grid(grid)


@pytest.mark.parametrize("text", ["", "4", "4x", "ax2", "4x2x2", "4,2"])
def test_a_grid_that_cannot_be_read_is_refused(text):
    with pytest.raises(UnsupportedTopology, match="expected XxY like 64x34"):
        parse_grid(text)


def test_a_grid_is_read_as_ranks_a_row_and_rows():
    assert parse_grid("64x34") == (64, 34)


@pytest.mark.parametrize(
    "nodes", [(), ((),), ((0,), ()), ((0, 0),), ((1, 2),), ((0,), (0,)), ((0, 2),)]
)
def test_nodes_must_hold_every_rank_once(nodes):
    with pytest.raises(UnsupportedTopology, match="once each, without empty nodes"):
        Topology(nodes)


@pytest.mark.parametrize("rows", [((0,),), ((0, 1), (1,)), ((0, 1), ())])
def test_rows_must_hold_every_rank_once(rows):
    with pytest.raises(UnsupportedTopology, match="the rows of the grid must hold"):
        Topology(((0, 1),), rows)


@pytest.mark.parametrize("make", [Topology.sized, Topology.from_hosts])
def test_no_rank_at_all_is_refused(make):
    with pytest.raises(UnsupportedTopology):
        make([])


@pytest.mark.parametrize(
    ("text", "nodes"),
    [("1x1", [1]), ("4x2", [2] * 4), ("3,2,1", [3, 2, 1]), ("8", [8])],
)
def test_a_layout_is_read_from_text(text, nodes):
    assert Topology.parse(text, sum(nodes)) == Topology.sized(nodes)


@pytest.mark.parametrize(
    "text", ["", "x", "2x", "2x2x2", "3,2", "0x6", "-2x-3", "7,-1", "six", "3;3", "6.0"]
)
def test_a_layout_that_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(UnsupportedTopology, match="4x2.*3,2,1.*6 ranks"):
        Topology.parse(text, 6)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ([1], "1 rank on 1 node, grid 1x1"),
        ([4, 4], "8 ranks on 2 nodes of 4, grid 4x2"),
        ([3, 2, 1], "6 ranks on 3 nodes of 3,2,1, grid of rows 3,2,1"),
        ([8] * 12 + [4], "100 ranks on 13 nodes of 8x12,4, grid of rows 8x12,4"),
    ],
)
def test_a_description_names_nodes_and_grid(sizes, text):
    assert Topology.sized(sizes).describe() == text


def test_a_long_list_is_shortened_in_a_message():
    with pytest.raises(UnsupportedTopology) as refusal:
        Topology((tuple(range(1, 5000)),))
    assert len(str(refusal.value)) < 300


def test_equal_layouts_are_one_key():
    assert len({Topology.sized([2, 2]), Topology.uniform(nodes=2, local=2)}) == 1


@pytest.mark.parametrize("text", ["1x4", "4x1", "2x3", "3,2,1"])
def test_a_layout_is_written_as_it_is_read(text):
    assert Topology.parse(text, None).layout == text
