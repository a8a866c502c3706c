import pytest
from tables import LONG, table

from collectives import Choice, InvalidArgument, Machine, Topology, algorithms
from collectives.select import SIMPLEST, Call, choose, ranking

HOST = Machine.load("host")
FOUR = Topology.uniform(local=4)


def auto(call, table=None):
    return choose("auto", FOUR, call, HOST, table=table)


def test_auto_takes_the_lowest_predicted_cost():
    for nbytes in (4, 1 << 16, 1 << 26):
        chosen = auto(Call(nbytes, True, engine=True))
        costs = {
            name: algorithms.load(name).cost(FOUR, nbytes, HOST)
            for name in algorithms.names()
            if name != "rank_order"
        }
        lowest = pytest.approx(min(costs.values()), rel=1e-5)
        assert costs[chosen.algorithm] == lowest


def test_a_tie_goes_to_the_simpler_algorithm():
    free = Machine.uniform(0, 0, 0)
    tied = ranking(FOUR, Call(4, True, engine=True), free).candidates
    names = [choice.algorithm for _, choice in tied]
    assert tuple(names[: len(SIMPLEST)]) == SIMPLEST
    assert names[len(SIMPLEST) :] == sorted(names[len(SIMPLEST) :])
    assert set(SIMPLEST) <= set(algorithms.names())


def test_rounding_breaks_no_tie():
    # On two ranks these have the same formula, written in different ways.
    two, nbytes = Topology.uniform(local=2), 102_228_128
    machine = Machine.uniform(1e-6 / 3, 1e-9 / 7, 1e-9 / 11)
    costs = [
        algorithms.load(name).cost(two, nbytes, machine)
        for name in ("ring", "halving_doubling", "binary_blocks", "torus2d")
    ]
    assert costs == pytest.approx(costs[:1] * 4, rel=1e-12)
    assert choose("auto", two, Call(nbytes, False), machine) == Choice("ring")


def test_the_engine_is_a_candidate_where_there_is_one():
    names = [c.algorithm for _, c in ranking(FOUR, Call(4, True), HOST).candidates]
    assert "shared" not in names
    assert auto(Call(4, True, engine=True)).algorithm == "shared"
    assert choose("shared", FOUR, Call(4, True), HOST).algorithm == "shared"


def test_auto_leaves_out_native_where_the_library_cannot_add():
    for nbytes in (4, 1 << 20):
        assert auto(Call(nbytes, False)).algorithm != "native"
    with pytest.raises(InvalidArgument, match="the MPI library cannot combine"):
        choose("native", FOUR, Call(4, False), HOST)


def test_the_table_goes_before_predictions_where_it_has_a_line():
    assert auto(Call(1 << 16, True), table()) == Choice("ring", depth=8)
    assert auto(Call(4, True, dtype="half"), table()) == Choice("tree")
    assert auto(Call(4, True, registered=True), table()) == Choice("torus2d")
    for call in (Call(1 << 30, True), Call(128, True, registered=True)):
        assert auto(call, table()) == auto(call)


def test_without_native_the_fastest_measured_of_the_others_is_taken():
    assert auto(Call(4, True), table()) == Choice("native")
    assert auto(Call(4, False), table()) == Choice("ring")


def test_where_only_native_was_measured_others_are_predicted():
    lines = [table().lines[0]]
    alone = lines[0]._replace(measured_us={4: {Choice("native"): 1.0}})
    call = Call(4, False)
    assert auto(call, table(lines=[alone])) == auto(call)


def test_the_ranking_has_all_that_was_measured():
    found, measured_at = ranking(FOUR, Call(1 << 17, True), HOST, table())
    assert measured_at == 1 << 16
    assert [str(choice) for _, choice in found] == ["ring depth=8", "tree", "native"]
    assert found[0][0] == pytest.approx(LONG["ring depth=8"] * 1e-6)


def test_a_named_algorithm_is_taken_as_it_is_written():
    for text in ("ring", "ring segment=4096", "ring segment=4096 depth=3"):
        chosen = choose(text, FOUR, Call(4, True), HOST, table=table())
        assert str(chosen) == text


def test_deterministic_means_rank_order():
    call = Call(4, True)
    for name in ("auto", "rank_order"):
        chosen = choose(name, FOUR, call, HOST, table=table(), deterministic=True)
        assert chosen == Choice("rank_order")
    with pytest.raises(InvalidArgument, match="'ring' with deterministic=True"):
        choose("ring", FOUR, call, HOST, deterministic=True)


def test_an_unknown_algorithm_lists_the_known_ones():
    with pytest.raises(InvalidArgument, match="'rign'; choose from .*, ring,"):
        choose("rign", FOUR, Call(4, True), HOST)
