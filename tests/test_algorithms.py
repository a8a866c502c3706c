import importlib
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import SIZES, counts, halving, layouts

from collectives import (
    InvalidArgument,
    Machine,
    Topology,
    UnsupportedTopology,
    algorithms,
    world,
)
from collectives.verify import calls_groups, verify

NAMES = algorithms.names()
OPERATIONS = ("reduce_scatter", "allgather", "reduce", "broadcast")
HUGE = 3 * 2**31 + 1
every_algorithm = pytest.mark.parametrize("name", NAMES)


def offered(*operations):
    """Return pairs of operation and algorithm."""
    return [(kind, name) for kind in operations for name in algorithms.names(kind)]


def forms(name, topology):
    """Return whether to lower: both ways if there are group calls to lower."""
    return (False, True) if calls_groups(name, topology) else (False,)


def cases(name, size):
    """Yield layout, count and lowering; fewer counts for many ranks."""
    for topology in layouts(size):
        for count in counts(size) if size < 10 else (size - 1, 3 * size + 1):
            for lowered in forms(name, topology):
                yield topology, count, lowered


@every_algorithm
@pytest.mark.parametrize("size", SIZES)
def test_the_sum_is_exact_on_every_rank(name, size):
    # Sums stay below 2048, so float16 is exact in any order; no contribution is zero.
    for topology, count, lowered in cases(name, size):
        cycle = np.arange(count, dtype=np.float16) % 7 + 1
        inputs = [cycle + rank for rank in range(size)]
        outputs = world.allreduce(name, topology, inputs, lowered=lowered)
        assert len(outputs) == size
        for output in outputs:
            np.testing.assert_array_equal(output, sum(inputs), strict=True)


@every_algorithm
@pytest.mark.parametrize("size", SIZES)
def test_every_contribution_is_proved_to_count_once(name, size):
    for topology, count, lowered in cases(name, size):
        verify(name, topology, count, lowered=lowered)


@given(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=13),
    st.integers(0, 50),
    st.booleans(),
)
def test_any_placement_and_count_is_proved(name, hosts, count, lowered):
    verify(name, Topology.from_hosts(hosts), count, lowered=lowered)


@given(st.sampled_from(NAMES), st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_any_node_sizes_are_proved(name, sizes):
    verify(name, Topology.sized(sizes))


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 60))
def test_a_grid_of_any_rows_is_proved(lengths, count):
    rows = Topology.sized(lengths).nodes
    verify("torus2d", Topology((tuple(range(sum(lengths))),), rows), count)


@every_algorithm
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7])
def test_more_elements_than_an_int_holds_are_proved(name, size):
    for topology in layouts(size):
        for lowered in forms(name, topology):
            verify(name, topology, HUGE, lowered=lowered)


@every_algorithm
def test_no_algorithm_is_refused_everywhere(name):
    refused = []
    for size in (2, 3, 4, 6, 8, 9):
        for topology in layouts(size):
            try:
                list(world.schedules(name, topology, size)[0])
                return
            except UnsupportedTopology as refusal:
                refused.append(str(refusal))
    pytest.fail(f"{name} runs nowhere: {refused}")


@every_algorithm
@pytest.mark.parametrize("sizes", [[5], [2, 2, 2], halving(6)], ids=str)
def test_real_numbers_end_bitwise_equal_on_all_ranks(name, sizes):
    topology = Topology.sized(sizes)
    random = np.random.default_rng(1)
    inputs = [
        random.standard_normal(41).astype(np.float32) for _ in range(topology.size)
    ]
    for lowered in forms(name, topology):
        outputs = world.allreduce(name, topology, inputs, lowered=lowered)
        assert {output.tobytes() for output in outputs} == {outputs[0].tobytes()}
        np.testing.assert_allclose(outputs[0], sum(inputs), rtol=1e-4, atol=1e-5)


def test_rank_order_adds_in_rank_order_whatever_the_layout():
    random = np.random.default_rng(2)
    for size in range(1, 10):
        inputs = list(random.standard_normal((size, 23)).astype(np.float32))
        for topology in layouts(size):
            for output in world.allreduce("rank_order", topology, inputs):
                assert output.tobytes() == sum(inputs[1:], inputs[0]).tobytes()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_an_algorithm(operation):
    assert algorithms.names(operation)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (o, name)
        for o in ("reduce_scatter", "allgather")
        for name in algorithms.names(o)
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_scattered_pieces_belong_to_their_ranks(operation, name, size):
    for topology in layouts(size):
        for count in counts(size):
            verify(name, topology, count, operation=operation)


@pytest.mark.parametrize(("operation", "name"), offered("reduce", "broadcast"))
@pytest.mark.parametrize("size", SIZES)
def test_any_rank_can_be_the_root(operation, name, size):
    for topology in layouts(size):
        for root in range(size) if size < 10 else (0, 1, size // 2, size - 1):
            for count in (0, 1, 3 * size + 1):
                verify(name, topology, count, operation=operation, root=root)


@every_algorithm
def test_the_contract_of_a_module(name):
    module = algorithms.load(name)
    taken = {
        "schedule": ["topology", "rank", "chunk"],
        "cost": ["topology", "nbytes", "machine"],
        "reduce_scatter": ["topology", "rank", "chunk"],
        "allgather": ["topology", "rank", "chunk"],
        "reduce": ["topology", "rank", "chunk", "root"],
        "broadcast": ["topology", "rank", "chunk", "root"],
    }
    for function, parameters in taken.items():
        if function in ("schedule", "cost") or hasattr(module, function):
            found = inspect.signature(getattr(module, function)).parameters
            assert list(found) == parameters


@every_algorithm
def test_the_docstring_gives_steps_cost_and_source(name):
    text = algorithms.load(name).__doc__
    assert "\n    steps " in text
    assert "\n    cost " in text
    assert "https://" in text or "Standard" in text
    if name != "native":
        assert "bytes sent per rank" in text


@every_algorithm
def test_one_rank_alone_has_nothing_to_do(name):
    topology = Topology.uniform()
    assert [list(steps) for steps in world.schedules(name, topology, 9)] == [[]]
    assert algorithms.load(name).cost(topology, 9, Machine.uniform(1, 1, 1)) == 0


@every_algorithm
def test_more_bytes_never_cost_less(name):
    for machine in ("bigbasin", "mn1", "abci", "host"):
        for topology in layouts(12):
            costs = [
                algorithms.load(name).cost(topology, nbytes, Machine.load(machine))
                for nbytes in (4, 4096, 2**20, 2**26, 2**33)
            ]
            assert costs == sorted(costs)
            assert costs[0] > 0


def test_an_unknown_name_is_refused_with_the_known_ones():
    for name in ("rings", "", "ring.py", "..ring", "__init__"):
        with pytest.raises(InvalidArgument, match=", ".join(NAMES)):
            algorithms.load(name)


def test_a_module_that_lacks_a_function_is_told(monkeypatch):
    algorithms.load.cache_clear()
    monkeypatch.delattr(importlib.import_module("collectives.algorithms.tree"), "cost")
    with pytest.raises(InvalidArgument, match=r"tree.py: .* has no cost\(\)"):
        algorithms.load("tree")
    algorithms.load.cache_clear()
