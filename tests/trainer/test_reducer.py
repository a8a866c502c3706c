from itertools import count

import pytest
import torch
from alone import Alike, Alone, Done
from torch import nn

from collectives import InvalidArgument
from trainer import buckets, fusion
from trainer.reducer import Reducer


def net(dtype=torch.float64):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Linear(2, 2))
    return model.to(dtype)


def reducer_of(model, **options):
    options = {"first_bucket_bytes": 1, "bucket_bytes": 64, **options}
    return Reducer(model.named_parameters(), Alike(), **options)


def gradients(model):
    return [p.grad.clone() for p in model.parameters()]


def expected(model, x):
    loss = model(x).square().sum()
    return list(torch.autograd.grad(loss, list(model.parameters())))


def backward(model, x):
    model(x).square().sum().backward()


X = torch.arange(6, dtype=torch.float64).reshape(2, 3)


def test_layout_fills_buckets_in_order():
    sizes = [(4, "a")] * 5
    cuts = fusion.layout(sizes, first_nbytes=4, nbytes=8)
    assert cuts == [[0], [1, 2], [3, 4]]


def test_a_large_tensor_closes_its_bucket():
    cuts = fusion.layout([(1, "a"), (99, "a"), (1, "a")], first_nbytes=2, nbytes=8)
    assert cuts == [[0, 1], [2]]


def test_a_bucket_has_one_dtype():
    sizes = [(4, "a"), (2, "b"), (4, "a"), (2, "b"), (4, "a")]
    cuts = fusion.layout(sizes, first_nbytes=8, nbytes=8)
    assert cuts == [[0, 2], [1, 3], [4]]


def test_resnet50_has_five_buckets_of_the_default_sizes():
    from trainer import model, recipe

    with torch.device("meta"):
        network = model.ResNet(recipe.load("goyal2017").model)
    sizes = [(buckets.nbytes(p), p.dtype) for p in network.parameters()][::-1]
    cuts = fusion.layout(sizes, first_nbytes=1 << 20, nbytes=25 << 20)
    assert len(cuts) == 5
    assert sorted(i for cut in cuts for i in cut) == list(range(161))


def test_the_bytes_of_a_bucket_choose_its_algorithm():
    rule = {"algorithm": "ring", "small_algorithm": "tree", "switch_bytes": 65}
    reducer = reducer_of(net(), **rule)
    found = [bucket.algorithm for bucket in reducer.buckets]
    sizes = [buckets.nbytes(bucket.flat) for bucket in reducer.buckets]
    assert found == ["tree" if nbytes < 65 else "ring" for nbytes in sizes]
    assert set(found) == {"tree", "ring"}


def test_without_a_switch_all_buckets_have_one_algorithm():
    reducer = reducer_of(net(), algorithm="ring", small_algorithm="tree")
    assert {bucket.algorithm for bucket in reducer.buckets} == {"ring"}


def test_gradients_live_in_the_buckets_and_are_right():
    model = net()
    right = expected(model, X)
    reducer = reducer_of(model)
    backward(model, X)
    reducer.finish()
    for mine, theirs in zip(gradients(model), right, strict=True):
        torch.testing.assert_close(mine, theirs)
    flats = [bucket.flat for bucket in reducer.buckets]
    for parameter in model.parameters():
        pointer = parameter.grad.data_ptr()
        assert any(
            f.data_ptr() <= pointer < f.data_ptr() + f.numel() * 8 for f in flats
        )


def test_buckets_start_in_order_whatever_arrives_first():
    model = net()
    reducer = reducer_of(model, bucket_bytes=1)
    sizes = [bucket.flat.numel() for bucket in reducer.buckets]
    reducer._syncing = True
    for bucket in reversed(reducer.buckets[1:]):
        reducer._on_gradient(bucket.parameters[0])
    assert reducer.comm.reduced == []  # the head of the queue is missing
    reducer._on_gradient(reducer.buckets[0].parameters[0])
    assert reducer.comm.reduced == sizes


def test_after_the_first_update_buckets_follow_the_arrival():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, 3, dtype=torch.float64)
            self.first = nn.Linear(3, 3, dtype=torch.float64)

        def forward(self, x):
            return self.last(self.first(x).tanh())

    model = Crossed()
    reducer = reducer_of(model)
    assert reducer.order[0].startswith("first")
    right = expected(model, X)
    backward(model, X)
    reducer.finish()
    assert reducer.order[0].startswith("last")
    for mine, theirs in zip(gradients(model), right, strict=True):
        torch.testing.assert_close(mine, theirs)
    order = reducer.order
    reducer.zero_grad()
    backward(model, X)
    reducer.finish()
    assert reducer.order == order
    for mine, theirs in zip(gradients(model), right, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_restored_order_stays():
    model = net()
    reducer = reducer_of(model)
    order = sorted(reducer.order)
    reducer.restore(order)
    backward(model, X)
    reducer.finish()
    assert reducer.order == order


def test_every_update_has_its_gradients_in_the_same_memory():
    model = net()
    reducer = reducer_of(model)
    backward(model, X)
    reducer.finish()
    pointers = [p.grad.data_ptr() for p in model.parameters()]
    reducer.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    backward(model, X)
    reducer.finish()
    assert pointers == [p.grad.data_ptr() for p in model.parameters()]


def test_bucketing_again_asks_for_no_memory(monkeypatch):
    asked = []
    empty = Alone.empty
    monkeypatch.setattr(
        Alone, "empty", lambda *args, **kw: asked.append(1) or empty(*args, **kw)
    )
    model = net()
    reducer = reducer_of(model)
    backward(model, X)
    reducer.finish()
    right = gradients(model)
    reducer.restore(sorted(reducer.order))
    assert len(asked) == 1
    for mine, theirs in zip(gradients(model), right, strict=True):
        assert torch.equal(mine, theirs)


def test_no_gradient_is_left_over_when_buckets_are_restored():
    model = net()
    reducer = reducer_of(model)
    backward(model, X)
    reducer.finish()
    reducer.zero_grad()
    reducer.restore(reducer.order)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("microbatches", [1, 3])
@pytest.mark.parametrize("clear", ["zero_grad", "set to zero"])
@pytest.mark.parametrize("comm", [Alone(), Alike(4)], ids=["alone", "four ranks"])
def test_a_rank_contributes_its_share_of_the_mean_once(microbatches, clear, comm):
    model = net()
    right = [gradient * microbatches for gradient in expected(model, X)]
    reducer = Reducer(model.named_parameters(), comm, bucket_bytes=64)
    for _ in range(3):
        if clear == "zero_grad":
            reducer.zero_grad()
        else:
            for p in model.parameters():
                p.grad = None if p.grad is None else p.grad.zero_()
        for _ in range(microbatches - 1):
            with reducer.no_sync():
                backward(model, X)
        backward(model, X)
        reducer.finish()
        for mine, theirs in zip(gradients(model), right, strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("comm", [Alone(), Alike()], ids=["alone", "two ranks"])
def test_an_unused_parameter_counts_as_zero(comm):
    model = net()
    model.extra = nn.Linear(2, 2, dtype=torch.float64)
    reducer = Reducer(model.named_parameters(), comm)
    for _ in range(2):
        reducer.zero_grad()
        model[2](model[1](model[0](X))).sum().backward()
        reducer.finish()
        assert not model.extra.weight.grad.any() and not model[3].weight.grad.any()
        assert model[0].weight.grad.any()


def test_a_parameter_used_in_an_earlier_microbatch_only_keeps_its_gradient():
    model = net()
    reducer = reducer_of(model)
    with reducer.no_sync():
        backward(model, X)
    whole = model[3].weight.grad.clone()
    model[0](X).sum().backward()
    reducer.finish()
    assert torch.equal(model[3].weight.grad, whole)


def test_microbatches_accumulate_and_communicate_once():
    model = net()
    right = [3 * gradient for gradient in expected(model, X)]
    reducer = reducer_of(model)
    for _ in range(2):
        with reducer.no_sync():
            backward(model, X)
    assert reducer.comm.reduced == []
    backward(model, X)
    reducer.finish()
    assert sum(reducer.comm.reduced) == sum(p.numel() for p in model.parameters())
    for mine, theirs in zip(gradients(model), right, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_second_backward_without_no_sync_is_refused_by_name():
    model = net()
    reducer = reducer_of(model)
    backward(model, X)
    with pytest.raises(RuntimeError, match=r"parameter 3\.\w+ got a second.*no_sync"):
        backward(model, X)
    assert len(reducer.buckets) > 1


def test_frozen_parameters_are_left_alone():
    model = net()
    model[0].weight.requires_grad_(False)
    reducer = reducer_of(model)
    backward(model, X)
    reducer.finish()
    assert "0.weight" not in reducer.order
    assert model[0].weight.grad is None


@pytest.mark.parametrize("replace", [True, False])
def test_a_replaced_gradient_is_copied_into_the_bucket(replace):
    model = net()
    right = expected(model, X)
    reducer = reducer_of(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if replace else None
    backward(model, X)
    reducer.finish()
    for mine, theirs in zip(gradients(model), right, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_channels_last_gradients_are_not_transposed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    right = expected(model, x)
    model = model.to(memory_format=torch.channels_last)
    reducer = reducer_of(model)
    for _ in range(2):
        reducer.zero_grad()
        backward(model, x.to(memory_format=torch.channels_last))
        reducer.finish()
        for mine, theirs in zip(gradients(model), right, strict=True):
            torch.testing.assert_close(mine, theirs)
    assert model[0].weight.grad.stride() == model[0].weight.stride()


@pytest.mark.parametrize("dtype", list(buckets.NUMPY_DTYPE))
def test_all_floating_dtypes_have_buckets(dtype):
    model = net(dtype)
    reducer = reducer_of(model)
    backward(model, X.to(dtype))
    reducer.finish()
    assert all(bucket.flat.dtype == dtype for bucket in reducer.buckets)
    assert model[0].weight.grad.any()


def test_mixed_dtypes_are_reduced_apart():
    model = nn.ModuleList([net(torch.float32), net(torch.float64)])
    reducer = reducer_of(model, first_bucket_bytes=1 << 20)
    (model[0](X.float()).sum() + model[1](X).sum()).backward()
    reducer.finish()
    assert len(reducer.buckets) == 2
    assert all(p.grad.any() for p in model[0].parameters())


def test_a_model_without_trainable_parameters_is_refused():
    model = net().requires_grad_(False)
    with pytest.raises(InvalidArgument, match="no parameter has requires_grad"):
        reducer_of(model)


def test_the_time_of_an_allreduce_counts_although_its_callback_is_late(monkeypatch):
    monkeypatch.setattr(Done, "add_done_callback", lambda self, callback: None)
    ticks = count(1)
    monkeypatch.setattr("trainer.reducer.perf_counter", lambda: float(next(ticks)))
    model = net()
    reducer = reducer_of(model, first_bucket_bytes=1 << 20)
    backward(model, X)
    reducer.finish()
    assert reducer.allreduce_s == 3.0  # started at 1, waited from 2 to 3, now 4


def test_one_rank_keeps_the_gradients_of_autograd_and_asks_for_nothing():
    model = net()
    reducer = Reducer(model.named_parameters(), Alone())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    own = [p.grad.data_ptr() for p in model.parameters()]
    backward(model, X)
    reducer.finish()
    assert own == [p.grad.data_ptr() for p in model.parameters()]
    reducer.restore(sorted(reducer.order))
    assert reducer.order == sorted(reducer.order) and reducer.comm.reduced == []
    reducer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_closed_reducer_hears_nothing():
    model = net()
    reducer = reducer_of(model)
    reducer.close()
    backward(model, X)
    backward(model, X)
    assert reducer.comm.reduced == []
