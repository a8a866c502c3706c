import numpy as np
import pytest

from collectives import InvalidArgument
from trainer.recipe import IMAGENET
from trainer.sampler import Sampler, TestSampler, generator, permutation

COUNT = 103


def epoch_of(size, *, per_worker=4, accumulation=1, epoch=0, seen=0, seed=1):
    """Return [rank][microbatch] = indices."""
    every = []
    for rank in range(size):
        sampler = Sampler(
            COUNT, rank=rank, size=size, per_worker=per_worker,
            accumulation=accumulation, seed=seed,
        )  # fmt: skip
        sampler.start(epoch=epoch, samples_seen=seen)
        batches = [[index for _, index in keys] for keys in sampler]
        assert len(batches) == len(sampler)
        every.append(batches)
    return every


def flat(every):
    return [index for batches in every for batch in batches for index in batch]


@pytest.mark.parametrize("size", range(1, 9))
def test_ranks_partition_one_global_permutation(size):
    used = flat(epoch_of(size))
    usable = COUNT // (4 * size) * 4 * size
    assert sorted(used) == sorted(permutation(COUNT, seed=1, epoch=0)[:usable])


def test_shards_of_independent_shuffles_are_no_partition():
    shards = [permutation(COUNT, seed=rank, epoch=0)[rank::4] for rank in range(4)]
    assert len(set(np.concatenate(shards))) < COUNT


@pytest.mark.parametrize("size", [2, 3, 4])
def test_ranks_see_what_one_rank_sees_that_accumulates(size):
    one = epoch_of(1, accumulation=size)[0]
    several = epoch_of(size)
    for update in range(len(several[0])):
        for rank in range(size):
            assert several[rank][update] == one[update * size + rank]


@pytest.mark.parametrize("seen", [0, 8, 96, 103])
def test_an_epoch_continues_where_it_stopped(seen):
    whole, rest = epoch_of(2, accumulation=1), epoch_of(2, seen=seen)
    done = seen // 8
    assert rest == [batches[done:] for batches in whole]


def test_another_number_of_ranks_continues_without_repeating_an_image():
    first = [batches[:3] for batches in epoch_of(4)]  # 3 updates of 16 images
    rest = epoch_of(3, seen=48)
    used = flat(first) + flat(rest)
    assert len(set(used)) == len(used) == 48 + (COUNT - 48) // 12 * 12


def test_order_depends_on_seed_and_epoch_only():
    one = permutation(COUNT, seed=1, epoch=0)
    np.testing.assert_array_equal(one, permutation(COUNT, seed=1, epoch=0))
    assert (one != permutation(COUNT, seed=1, epoch=1)).any()
    assert (one != permutation(COUNT, seed=2, epoch=0)).any()


def test_random_numbers_of_images_differ():
    keys = [(1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)]
    draws = [generator(*key).integers(2**62) for key in keys]
    assert len(set(draws)) == 4
    assert generator(1, 0, 1).integers(2**62) == draws[1]


@pytest.mark.parametrize(
    ("batch", "updates"),
    [
        (64, 20018), (128, 10009), (256, 5004), (512, 2502), (1024, 1251), (2048, 625),
        (4096, 312), (8192, 156), (16384, 78), (32768, 39), (65536, 19),
    ],
)  # fmt: skip
def test_imagenet_has_the_published_whole_updates_of_an_epoch(batch, updates):
    sampler = Sampler(IMAGENET, rank=1, size=batch // 32, per_worker=32, seed=1)
    assert len(sampler) == updates


@pytest.mark.parametrize(
    ("batch", "rest"), [(256, 143), (8192, 3215), (32768, 3215), (65536, 35_983)]
)
def test_imagenet_leaves_the_published_rest(batch, rest):
    sampler = Sampler(IMAGENET, rank=0, size=batch // 32, per_worker=32, seed=1)
    assert IMAGENET - sampler.usable == rest


def test_an_epoch_smaller_than_a_batch_is_refused_with_a_cure():
    with pytest.raises(InvalidArgument, match="104 images.*103; use .*per_worker 12"):
        Sampler(COUNT, rank=0, size=8, per_worker=13, seed=1)


def test_more_ranks_than_images_are_refused_with_another_cure():
    with pytest.raises(InvalidArgument, match="103; use fewer ranks or microbatches"):
        Sampler(COUNT, rank=0, size=104, per_worker=1, seed=1)


def phased(size, batch, per_worker, *, epoch=0, seen=0):
    """Return [rank][microbatch] = indices of an epoch with another batch."""
    every = []
    for rank in range(size):
        sampler = Sampler(COUNT, rank=rank, size=size, per_worker=1, seed=1)
        sampler.set_batch(batch, per_worker)
        sampler.start(epoch=epoch, samples_seen=seen)
        batches = [[index for _, index in keys] for keys in sampler]
        assert len(batches) == len(sampler)
        assert sampler.usable == sampler.updates(0) * batch
        every.append(batches)
    return every


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(("batch", "per_worker"), [(12, 2), (20, 4), (7, 7), (100, 4)])
def test_any_number_of_ranks_shares_a_batch_in_the_same_microbatches(
    size, batch, per_worker
):
    order = permutation(COUNT, seed=1, epoch=0)
    every = phased(size, batch, per_worker)
    shares = [len(batches) // (COUNT // batch) for batches in every]
    assert sum(shares) == batch // per_worker
    assert shares == sorted(shares, reverse=True) and shares[0] - shares[-1] <= 1
    for update in range(COUNT // batch):
        seen = [
            index
            for batches, share in zip(every, shares, strict=True)
            for microbatch in batches[update * share : (update + 1) * share]
            for index in microbatch
        ]
        assert seen == order[update * batch : (update + 1) * batch].tolist()


def test_a_batch_may_change_between_epochs_and_an_epoch_continues_with_another():
    sampler = Sampler(COUNT, rank=0, size=1, per_worker=10, seed=1)
    first = [keys for keys in sampler][:3]
    sampler.set_batch(20, 5)
    sampler.start(epoch=0, samples_seen=30)
    rest = list(sampler)
    used = [index for keys in first + rest for _, index in keys]
    assert len(set(used)) == len(used) == 30 + 60
    assert {len(keys) for keys in rest} == {5}


@pytest.mark.parametrize(("batch", "per_worker"), [(10, 4), (104, 1), (0, 1), (200, 8)])
def test_a_batch_that_cannot_be_cut_is_refused(batch, per_worker):
    sampler = Sampler(COUNT, rank=0, size=1, per_worker=4, seed=1)
    with pytest.raises(InvalidArgument, match="multiple of these and at most .* 103"):
        sampler.set_batch(batch, per_worker)
    assert sampler.batch == 4


@pytest.mark.parametrize(("seen", "left"), [(0, 5), (83, 1), (84, 0), (103, 0)])
def test_updates_left_end_with_the_images(seen, left):
    sampler = Sampler(COUNT, rank=0, size=1, per_worker=20, seed=1)
    assert sampler.updates(seen) == left


@pytest.mark.parametrize("size", range(1, 9))
def test_each_test_image_is_evaluated_once(size):
    parts = [
        TestSampler(COUNT, rank=rank, size=size, per_worker=4) for rank in range(size)
    ]
    used = [index for part in parts for keys in part for _, index in keys]
    assert sorted(used) == list(range(COUNT))
    assert all(len(list(part)) == len(part) for part in parts)
