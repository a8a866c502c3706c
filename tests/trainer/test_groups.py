import doctest

import pytest

from collectives import InvalidArgument
from trainer import groups, phases, recipe
from trainer.fields import Norm
from trainer.groups import Layout
from trainer.phases import Phase
from trainer.recipe import vary


@pytest.mark.parametrize("group", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("size", range(1, 13))
def test_every_group_lies_on_neighbouring_ranks_and_is_whole(group, size):
    phase = Phase(0, 24 * 8, 8)
    if not phases.fits(24 // group, group, size) and group > 1:
        with pytest.raises(InvalidArgument, match="cannot share"):
            groups.of(phase, Norm(group=group), size)
        return
    layout = groups.of(phase, Norm(group=group), size)
    assert layout.merged * layout.ranks == group
    if layout.ranks > 1:
        assert size * layout.merged == phase.workers and size % layout.ranks == 0


def test_published_groups_of_ying_are_of_four_ranks():
    values = recipe.load("ying2018_32k")
    (phase,) = phases.of(values, 2048)
    assert groups.of(phase, values.bn, 2048) == Layout(merged=1, ranks=4)
    assert groups.of(phase, values.bn, 1024) == Layout(merged=2, ranks=2)
    assert groups.of(phase, values.bn, 3) == Layout(merged=4, ranks=1)


def test_a_refusal_says_which_ranks_can():
    with pytest.raises(InvalidArgument, match="use 1 to 4 ranks, or one of 8, 12, 24"):
        groups.of(Phase(0, 4 * 6 * 8, 8), Norm(group=6), 5)


def test_workers_that_make_no_whole_groups_are_refused():
    with pytest.raises(InvalidArgument, match="got 4, expected a divisor of the 6"):
        groups.of(Phase(0, 48, 8), Norm(group=4), 1)


def test_images_that_make_no_whole_ghost_batches_are_refused():
    assert groups.of(Phase(0, 48, 8), Norm(ghost=4), 4) == Layout()
    with pytest.raises(InvalidArgument, match="--bn.ghost: got 5.*the 8 images"):
        groups.of(Phase(0, 48, 8), Norm(ghost=5), 1)


@pytest.mark.parametrize("size", range(1, 9))
def test_a_published_run_fits_a_small_data_set_in_whole_groups(size):
    values = recipe.load("ying2018_64k")
    published = phases.of(values, size)
    (phase,) = phases.scale(published, training=1437, size=size, group=4)
    assert phase.batch <= 1437
    groups.of(phase, values.bn, size)


def test_the_plan_says_who_normalises_together():
    phase = Phase(0, 64, 8)
    assert groups.text(phase, Norm(), 8) == "1 on 8 ranks"
    assert groups.text(phase, Norm(group=2), 8) == "1 on 8 ranks, groups of 2 ranks"
    assert groups.text(phase, Norm(group=2), 3) == (
        "2 on 1 ranks, 1 on 2, each of 2 workers"
    )


ALONE = {"batch.phases": ((0.0, 64, 32), (30.0, 64, 1)), "images.size": 32}


def test_one_value_alone_has_no_variance_and_is_refused():
    values = vary(recipe.plain(), given=ALONE)
    with pytest.raises(
        InvalidArgument, match="64 microbatches of 1 image in epoch 30, .*size 33"
    ):
        groups.check_variance(values, 1)


@pytest.mark.parametrize(
    "cure",
    [
        {"images.size": 33},
        {"bn.group": 2},
        {"batch.phases": ((0.0, 64, 2),)},
        {"model.blocks": (1, 1, 1)},
    ],
)
def test_several_values_have_a_variance(cure):
    groups.check_variance(vary(vary(recipe.plain(), given=ALONE), given=cure), 1)


def test_doctests():
    assert doctest.testmod(groups).failed == 0
