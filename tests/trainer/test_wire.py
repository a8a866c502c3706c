import doctest

import numpy as np
import pytest

from collectives import Topology, world
from trainer import plan, wire
from trainer.settings import parse

SMALLEST = 2.0**-24  # of float16, and not normal


class OneNode:
    def __init__(self, size):
        self.size, self.nodes, self.rows = size, (tuple(range(size)),), ((0,) * size,)


def share(gradient, scale, size):
    """Return what a rank sends of a gradient that all ranks have."""
    return np.float16(np.float32(gradient) * np.float32(scale) / size)


@pytest.mark.parametrize("size", [1024, 2048, 3456, 4096])
def test_a_small_gradient_is_lost_among_many_ranks_but_for_the_scale(size):
    assert share(1e-6, 1.0, size) == 0
    scale = wire.first_scale("float32", "float16", size)
    assert share(1e-6, scale, size) > 100 * SMALLEST


@pytest.mark.parametrize("size", [2, 3, 8, 100, 512, 1024])
def test_up_to_1024_ranks_a_share_of_a_millionth_is_as_precise_as_any(size):
    scale = wire.first_scale("float32", "float16", size)
    sent = float(share(1e-6, scale, size)) * size / scale
    assert sent == pytest.approx(1e-6, rel=2**-11)


@pytest.mark.parametrize("size", [2, 8, 1024, 4096])
def test_the_scale_is_a_power_of_two_under_which_a_mean_of_one_half_fits(size):
    scale = wire.first_scale("float32", "float16", size)
    assert np.log2(scale) == int(np.log2(scale))
    assert np.isfinite(np.float16(0.5 * scale))


@pytest.mark.parametrize("name", ["ring", "torus2d", "crossed_torus2d"])
def test_sums_of_float16_shares_keep_a_millionth_over_64_ranks(name):
    """Each partial sum is made in float32 and rounded; here NumPy adds float16 so."""
    size = 64
    scale = wire.first_scale("float32", "float16", size)
    inputs = [np.full(130, share(1e-6, scale, size)) for _ in range(size)]
    topology = Topology.uniform(nodes=8, local=8)
    for output in world.allreduce(name, topology, inputs):
        np.testing.assert_allclose(np.float32(output) / scale, 1e-6, rtol=2e-2)


@pytest.mark.parametrize(
    ("precision", "travels", "size"),
    [("float16", "float16", 8), ("float32", "bfloat16", 8), ("float32", None, 8)]
    + [("float32", "float32", 8), ("float32", "float16", 1)],
)
def test_there_is_no_scale_where_none_is_needed_or_there_is_one_already(
    precision, travels, size
):
    assert wire.first_scale(precision, travels, size) is None


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "wire as it is"),
        (["--wire", "bfloat16"], "wire bfloat16"),
        (["--recipe", "akiba2017"], "wire float16 under a loss scale from 65536"),
        (["--recipe", "jia2018"], "wire float16 under the loss scale, summed in"),
        (["--recipe", "jia2018"], "hierarchical below 16777216 bytes, then ring"),
    ],
)
def test_the_first_lines_tell_what_travels_and_what_protects_it(argv, words):
    text = "\n".join(plan.headline(parse([*argv, "--dry-run"]), OneNode(1024), 1437))
    assert words in text


def test_the_dry_run_names_the_algorithm_of_each_bucket():
    argv = ["--recipe", "jia2018", "--data", "synthetic", "--dry-run"]
    rows = [line.split() for line in plan.bucket_table(parse(argv))[2:]]
    assert {row[-1] for row in rows} == {"hierarchical", "ring"}
    for row in rows:
        assert row[-1] == ("ring" if float(row[3]) >= 16 else "hierarchical")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--small-algorithm", "rings"], "--small-algorithm: got 'rings', expected"),
        (["--switch-bytes", "-1"], "--switch-bytes: got -1, expected at least 0"),
    ],
)
def test_a_wrong_switch_is_refused(argv, words):
    from collectives import InvalidArgument

    with pytest.raises(InvalidArgument, match=words):
        parse(argv)


def test_doctests():
    from trainer import fusion

    for module in (wire, fusion):
        assert doctest.testmod(module).failed == 0
