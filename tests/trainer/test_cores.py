import pytest

from trainer.cores import share

CORES = set(range(16))


@pytest.mark.parametrize(("ranks", "threads"), [(1, 16), (3, 5), (16, 1), (99, 1)])
def test_ranks_that_are_not_bound_share_the_node(ranks, threads):
    assert share(CORES, node=[CORES] * ranks) == threads


def test_a_rank_bound_to_its_own_cores_uses_all_of_them():
    node = [{0, 1, 2, 3}, {4, 5, 6, 7}]
    assert [share(mine, node=node) for mine in node] == [4, 4]


def test_ranks_bound_to_one_package_share_that():
    left, right = set(range(8)), set(range(8, 16))
    node = [left, right, left, right, right]
    assert [share(mine, node=node) for mine in node] == [4, 2, 4, 2, 2]
