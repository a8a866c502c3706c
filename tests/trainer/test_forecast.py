import doctest
import subprocess
import sys
from dataclasses import replace

import pytest

from collectives import Machine, Topology, algorithms
from trainer import course, forecast, outlook, phases, recipe
from trainer.fields import Model, Reduction
from trainer.forecast import efficiency, scaling
from trainer.recipe import IMAGENET
from trainer.recipes.mikami2018_reference import CLUSTER

FP32, FP16 = 102_228_128, 51_114_064
GRADIENTS = forecast.gradients(
    Model(stride="v1.5"), Reduction(wire="float16"), default="torus2d", processor="v100"
)
RATES = {1024: 556_522, 2048: 1_091_357, 3456: 1_641_853, 4096: 1_929_054}


@pytest.mark.parametrize(
    ("size", "printed", "percent", "update_ms"),
    [
        (1024, 84.75, 84.753, 58.88), (2048, 83.10, 83.102, 60.05),
        (3456, 74.08, 74.085, 67.36), (4096, 73.44, 73.444, 67.95),
    ],
)  # fmt: skip
def test_efficiency_reproduces_the_published_column(size, printed, percent, update_ms):
    found = 100 * efficiency(RATES[size], size, base_rate=2565, base_size=4)
    assert found == pytest.approx(percent, abs=5e-4)
    assert int(found * 100) == pytest.approx(printed * 100)
    assert size * 32 / RATES[size] * 1e3 == pytest.approx(update_ms, abs=5e-3)


def test_the_recipe_holds_these_rates_and_their_base():
    assert CLUSTER.rates == ((4, 2565), *RATES.items())
    assert 4 * 32 / 2565 * 1e3 == pytest.approx(49.90, abs=5e-3)


@pytest.mark.parametrize(
    ("wire", "nbytes"), [(None, FP32), ("float32", FP32), ("float16", FP16)]
)
def test_gradients_have_the_published_bytes(wire, nbytes):
    assert forecast.gradient_bytes(Model(), wire) == nbytes


@pytest.mark.parametrize(
    ("size", "grid", "torus", "ring"),
    [
        (1024, (32, 32), 124, 2046), (2048, (64, 32), 188, 4094),
        (2176, (64, 34), 192, 4350), (3456, (72, 48), 236, 6910),
        (4096, (64, 64), 252, 8190),
    ],
)  # fmt: skip
def test_published_grids_take_the_derived_number_of_steps(size, grid, torus, ring):
    topology = forecast.place(CLUSTER, size)
    assert (len(topology.rows[0]), len(topology.rows)) == grid
    seen = forecast.traffic("torus2d", topology, FP16 // 2, 2)
    assert seen.steps == torus
    assert seen.nbytes == pytest.approx(2 * (size - 1) / size * FP16, rel=1e-4)
    assert forecast.traffic("ring", topology, FP16 // 2, 2).steps == ring


def test_a_rest_of_ranks_has_a_node_of_its_own():
    assert forecast.place(CLUSTER, 10).layout == "4,4,2"


def test_one_residual_fits_its_own_row_only():
    rows = scaling(CLUSTER, GRADIENTS)
    assert [row.size for row in rows] == list(RATES)
    fitted = [100 * row.fitted for row in rows]
    assert fitted == pytest.approx([84.75, 84.4, 84.0, 83.8], abs=0.06)
    assert rows[0].fitted == pytest.approx(rows[0].published)
    missed = [100 * (row.fitted - row.published) for row in rows]
    assert missed[1] < 2 and min(missed[2:]) > 9  # and it misses the larger machines
    assert all(row.band.least > row.published for row in rows)  # links explain less


def test_the_band_is_communication_beside_the_backward_pass_and_after_it():
    phase = phases.of(recipe.load("mikami2018_reference"), 1024)[0]
    band = forecast.update(CLUSTER, GRADIENTS, phase, 1024)
    wire_s = band.most - CLUSTER.compute_s
    assert wire_s == pytest.approx(0.0055, abs=3e-4)
    machine, topology = Machine.load("abci"), forecast.place(CLUSTER, 1024)
    last = min(forecast.wire_s(way[-1:], topology, machine) for way in GRADIENTS.early)
    exposed_s = band.least - CLUSTER.compute_s
    assert exposed_s == pytest.approx(last) and exposed_s < wire_s / 4
    slow = replace(CLUSTER, compute_s=1e-9)
    hidden = forecast.update(slow, GRADIENTS, phase, 1024)
    assert hidden.least == hidden.most  # nothing left to hide it behind


def test_early_gradients_travel_one_after_the_other_when_they_are_ready():
    machine, pair = Machine.uniform(0.0, 1.0, 0.0), Topology.sized([1, 1])
    calls = [forecast.Call("ring", 3, 0.5), forecast.Call("ring", 2, 0.75)]
    for backward_s, exposed in ((4.0, 3.0), (8.0, 1.0), (32.0, 2.0 - 8.0)):
        found = forecast.exposed_s(calls, pair, machine, backward_s=backward_s)
        assert found == pytest.approx(exposed)


def test_computation_is_of_the_images_that_the_slowest_rank_has():
    phase = phases.of(recipe.load("mikami2018_exp4"), 4096)[1]  # 4352 x 16
    band = forecast.update(CLUSTER, GRADIENTS, phase, 4096)
    assert band.least == pytest.approx(CLUSTER.compute_s, rel=0.05)  # 2 x 16 images
    alone = forecast.update(CLUSTER, GRADIENTS, phase, 1)
    assert alone.least == alone.most == pytest.approx(CLUSTER.compute_s * 4352 / 2)


@pytest.mark.parametrize("name", recipe.names())
def test_the_backward_pass_hides_something_of_every_published_run(name):
    known = recipe.load(name).published
    if known.cluster is None:
        return
    values = recipe.load(name)
    gradients = forecast.gradients(
        values.model,
        values.reduction,
        default=known.cluster.algorithm,
        processor=known.cluster.processor,
    )
    part = phases.of(values, known.workers)[0]
    band = forecast.update(known.cluster, gradients, part, known.workers)
    assert band.least < band.most


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_has_its_course_at_its_published_size(name):
    values = recipe.load(name)
    workers = values.published.workers or 1024
    text = "\n".join(course.tables(values, workers, IMAGENET))
    known = values.published.cluster
    assert ("no prediction" if known else "no forecast") in text
    assert known is None or known.machine in text
    assert len(course.rate_table(values, workers, IMAGENET)) == values.epochs + 1


def test_a_plan_is_printed_without_torch_and_without_mpi():
    code = (
        "import sys; from trainer.recipes.__main__ import main; "
        "code = main(['mikami2018_exp2', '--workers', '3456']); "
        "print({'torch', 'mpi4py', 'numpy'} & set(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.endswith("set()\n")
    for words in (
        "plan for 3456 ranks", "1 on 1728 ranks", "grid 72x48; 236 steps", "50 ",
        "published 122 s on 3,456", "no prediction", "+9.9",
    ):  # fmt: skip
        assert words in done.stdout


def test_gradients_are_summed_at_once_unless_their_bytes_choose_the_algorithm():
    plain = Reduction(wire="float16")
    found = forecast.gradients(Model(), plain, default="torus2d")
    assert found.late == [forecast.Call("torus2d", FP16)]
    for way, nbytes in zip(found.early, forecast.BUCKETS, strict=True):
        assert sum(call.nbytes for call in way) == FP16
        assert all(call.nbytes >= nbytes for call in way[:-1])
    rule = recipe.load("jia2018").reduction
    found, early = forecast.gradients(Model(), rule, default="auto")
    assert early == [found]
    assert sum(call.nbytes for call in found) == FP16
    assert {call.algorithm for call in found} == {"ring", "hierarchical"}
    for call in found:
        small = 2 * call.nbytes < rule.switch_bytes  # twice as long in memory
        assert call.algorithm == ("hierarchical" if small else "ring")


def test_the_plan_of_jia_et_al_is_of_their_own_algorithms():
    text = "\n".join(outlook.forecast_lines(recipe.load("jia2018"), 2048, IMAGENET))
    assert "forecast for tencent, hierarchical and ring:" in text
    assert "steps of 5 buckets" in text and "published 396 s on 2,048" in text


@pytest.mark.parametrize("algorithm", algorithms.names())
@pytest.mark.parametrize("size", [1, 2, 7, 256])
def test_any_algorithm_has_a_forecast_or_a_reason_for_none(algorithm, size):
    values = recipe.vary(
        recipe.load("goyal2017"), given={"reduction.algorithm": algorithm}
    )
    text = "\n".join(outlook.forecast_lines(values, size, IMAGENET))
    assert f"forecast for bigbasin, {algorithm}:" in text or "share no memory" in text


def test_no_time_is_told_of_other_images_or_networks():
    values = recipe.load("goyal2017")
    assert "forecast for" in outlook.forecast_lines(values, 8, IMAGENET)[0]
    for changes, training in (
        ({"images.size": 32}, IMAGENET),
        ({"model.width": 32}, IMAGENET),
        ({}, 1437),
    ):
        changed = recipe.vary(values, given=changes)
        text = "\n".join(outlook.forecast_lines(changed, 8, training))
        assert text.endswith(
            "no forecast: it is for ImageNet and ResNet-50 at 224 pixels"
        )
        assert "forecast for" not in text and "ms an update" not in text


def test_machines_are_presets():
    for name in recipe.names():
        known = recipe.load(name).published.cluster
        if known is not None:
            assert Machine.load(known.machine).local >= 1


def test_doctests():
    assert doctest.testmod(forecast).failed == 0
