"""The forecast by links alone, as the published comparison computes it.

That comparison has no additions: here the machines' ``gamma`` is 0.
"""

from dataclasses import replace

import numpy as np
import pytest

from collectives import Link, Machine, Topology
from trainer import forecast, phases, recipe
from trainer.forecast import Call, Gradients
from trainer.phases import Phase
from trainer.recipe import IMAGENET
from trainer.recipes.akiba2017 import RECIPE as AKIBA
from trainer.recipes.mikami2018_reference import CLUSTER
from trainer.recipes.mikami2018_reference import RECIPE as MIKAMI

FP32, FP16 = 102_228_128, 51_114_064
SIZES = (1024, 2048, 3456, 4096)
BASE_S = 4 * 32 / 2565
LINKS = replace(Machine.load("abci"), gamma=0.0)


def on(machine, cluster, tmp_path):
    """Return the cluster with another machine."""
    path = str(tmp_path / "machine.json")
    machine.save(path)
    return replace(cluster, machine=path)


def at_once(algorithm):
    """Return gradients that do not travel early."""
    return Gradients([Call(algorithm, FP16)], [[Call(algorithm, FP16)]])


def rounded(values, digits=1):
    return [round(float(value), digits) for value in values]


@pytest.mark.parametrize(
    ("algorithm", "milliseconds"),
    [("torus2d", [5.5, 5.7, 6.0, 6.1]), ("ring", [17.8, 31.3, 49.9, 58.3])],
)
def test_links_alone_take_the_published_times(algorithm, milliseconds):
    calls = [Call(algorithm, FP16)]
    places = [forecast.place(CLUSTER, size) for size in SIZES]
    found = [1e3 * forecast.wire_s(calls, place, LINKS) for place in places]
    assert rounded(found) == milliseconds


@pytest.mark.parametrize(
    ("size", "wide", "high"),
    [(1024, 32, 32), (2048, 64, 32), (3456, 72, 48), (4096, 64, 64)],
)
def test_a_torus_takes_the_time_of_its_formula_and_of_its_additions(size, wide, high):
    alpha, row, column = 6.6e-6, 1 / 24e9, 1 / 6e9
    across, down = (wide - 1) / wide * FP16, (high - 1) / high * FP16 / wide
    links = 2 * (wide + high - 2) * alpha + 2 * across * row + 2 * down * column
    place = forecast.place(CLUSTER, size)
    calls = [Call("torus2d", FP16)]
    assert forecast.wire_s(calls, place, LINKS) == pytest.approx(links, rel=1e-6)
    added = forecast.wire_s(calls, place, Machine.load("abci")) - links
    assert added == pytest.approx((across + down) * 3 / 700e9, rel=1e-6)


@pytest.mark.parametrize(
    ("algorithm", "percent"),
    [("torus2d", [92.3, 91.9, 91.4, 91.2]), ("ring", [75.2, 62.5, 50.7, 46.7])],
)
def test_links_alone_leave_the_published_efficiency(algorithm, percent, tmp_path):
    rows = forecast.scaling(on(LINKS, CLUSTER, tmp_path), at_once(algorithm))
    assert rounded(100 * row.band.least for row in rows) == percent


@pytest.mark.parametrize(
    ("size", "percent"), [(1024, 100), (2048, 100), (3456, 99.5), (4096, 99.2)]
)
def test_a_torus_beside_the_backward_pass_leaves_the_published_efficiency(
    size, percent
):
    gradients = forecast.gradients(
        MIKAMI.model, MIKAMI.reduction, default="torus2d", processor="v100"
    )
    compute, topology = CLUSTER.compute_s, forecast.place(CLUSTER, size)
    waited = forecast.waits(gradients, topology, LINKS, compute_s=compute).least
    base_s = round(BASE_S, 4)  # as printed, 49.90 ms
    assert round(min(100, 100 * base_s / (compute + waited)), 1) == percent


def test_halving_of_32_servers_beside_the_backward_pass_is_nearly_free():
    values = recipe.load("goyal2017")
    cluster = values.published.cluster
    gradients = forecast.gradients(
        values.model, values.reduction, default=cluster.algorithm, processor="p100"
    )
    servers, machine = Topology.sized([1] * 32), Machine.load(cluster.machine)
    compute = cluster.compute_s
    waited = forecast.waits(gradients, servers, machine, compute_s=compute).least
    assert round(100 * compute / (compute + waited), 1) == 99.8


def test_links_alone_leave_the_published_residuals(tmp_path):
    rows = forecast.scaling(on(LINKS, CLUSTER, tmp_path), at_once("torus2d"))
    assert rounded(1e3 * row.residual_s for row in rows) == [4.8, 5.8, 12.8, 13.2]
    assert round(1e3 * rows[0].residual_s, 2) == 4.83
    assert rounded(100 * row.fitted for row in rows[1:]) == [84.4, 84.0, 83.8]


@pytest.mark.parametrize(
    ("size", "milliseconds", "percent"),
    [(1024, 9.4, 86.1), (2048, 12.7, 81.4), (3456, 17.4, 75.6), (4096, 19.5, 73.3)],
)
def test_a_ring_of_leaders_takes_the_published_times(size, milliseconds, percent):
    # How a node sums is not told: a chain of its four GPUs, there and back.
    leaders = forecast.wire_s(
        [Call("ring", FP16)], Topology.sized([1] * (size // 4)), LINKS
    )
    found = leaders + 2 * (3 * LINKS.intra.alpha + FP16 * LINKS.intra.beta)
    assert 1e3 * found == pytest.approx(milliseconds, abs=0.06)
    assert 100 * BASE_S / (CLUSTER.compute_s + found) == pytest.approx(
        percent, abs=0.05
    )


def test_computation_is_the_published_base_less_the_node_s_ring():
    link = LINKS.intra
    node = 2 * 3 * link.alpha + 2 * 3 / 4 * FP16 * link.beta
    assert pytest.approx(BASE_S - node, abs=5e-6) == CLUSTER.compute_s


@pytest.mark.parametrize(
    ("count", "printed"), [(262_144, "3.21"), (1 << 20, "1.81"), (32, "6.2")]
)
def test_halving_beats_a_ring_of_32_servers_as_published(count, printed):
    servers, machine = Topology.sized([1] * 32), Machine.uniform(30e-6, 1 / 5e9, 0.0)
    ring, halving = (
        forecast.wire_s([Call(name, 4 * count)], servers, machine)
        for name in ("ring", "halving_doubling")
    )
    shared = 2 * 31 / 32 * 4 * count / 5e9
    assert ring == pytest.approx(62 * 30e-6 + shared, rel=1e-6)
    assert halving == pytest.approx(10 * 30e-6 + shared, rel=1e-6)
    assert f"{ring / halving:.{len(printed) - 2}f}" == printed


@pytest.mark.parametrize(
    ("alpha", "rate", "of_gpu", "of_node"),
    [(6.6e-6, 12e9, 89.0, 96.5), (14e-6, 6e9, 79.6, 86.3), (20e-6, 5e9, 74.4, 80.7)],
)
def test_akiba_s_ring_has_the_published_efficiencies(
    alpha, rate, of_gpu, of_node, tmp_path
):
    intra = Link(5.7e-6, 1 / 12e9)
    machine = Machine("mn1", intra, Link(alpha, 1 / rate), gamma=0.0, local=8)
    alone_s = 0.7 * 897.9 / 3519
    cluster = replace(on(machine, AKIBA.published.cluster, tmp_path), compute_s=alone_s)
    assert alone_s == pytest.approx(AKIBA.published.cluster.compute_s, abs=5e-4)
    phase = Phase(0, 32768, 32)
    calls = [Call("ring", FP16)]
    all_s = forecast.update(cluster, Gradients(calls, [calls]), phase, 1024).most
    node = Topology.uniform(nodes=1, local=8)
    node_s = alone_s + forecast.wire_s([Call("ring", FP32)], node, machine)
    found = rounded(100 * base / all_s for base in (alone_s, node_s))
    assert found == [of_gpu, of_node]


@pytest.mark.parametrize(
    ("size", "update_s", "percent"), [(256, 0.2558, 90.6), (352, 0.2638, 87.9)]
)
def test_goyal_s_updates_have_the_published_efficiency(size, update_s, percent):
    compute = recipe.load("goyal2017").published.cluster.compute_s
    assert compute == pytest.approx(29 * 3600 / 90 / 5005, abs=5e-5)
    found = forecast.efficiency(
        32 * size / update_s, size, base_rate=256 / compute, base_size=8
    )
    assert round(100 * found, 1) == percent


def published_update_s(workers, images):
    """Return the time by the published rates: efficiency linear between their sizes.

    Fewer images of a worker take computation away, and no communication.
    """
    (_, base), *rates = CLUSTER.rates
    known = [
        forecast.efficiency(rate, size, base_rate=base, base_size=4)
        for size, rate in rates
    ]
    share = np.interp(workers, [size for size, _ in rates], known)
    return BASE_S / share - (32 - images) / 32 * BASE_S


@pytest.mark.parametrize(
    ("name", "phases_kept", "seconds", "digits"),
    [
        ("mikami2018_reference", 1, 207, 0), ("mikami2018_exp1", 2, 106, 0),
        ("mikami2018_exp2", 2, 29.5 + 83.0, 1), ("mikami2018_exp2", 1, 29.5 + 59.0, 1),
        ("mikami2018_exp3", 2, 29.5 + 70.4, 1),
    ],
)  # fmt: skip
def test_the_published_rates_give_the_published_check_of_times(
    name, phases_kept, seconds, digits
):
    parts = phases.of(recipe.load(name), 1)[:phases_kept]
    times = [published_update_s(part.workers, part.per_worker) for part in parts]
    bands = [forecast.Band(time, time) for time in times]
    total = forecast.run(bands, parts, span=90.0, epochs=90, training=IMAGENET)
    # Printed as a sum of rounded terms: one unit of the last digit.
    assert total.least == total.most == pytest.approx(seconds, abs=10.0**-digits)
