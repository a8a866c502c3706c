"""Normalisation over groups of ranks is plain normalisation of all their images."""

import pytest
import torch
from torch import nn

from collectives import InvalidArgument
from trainer import loop, span
from trainer.interrupt import Interrupt
from trainer.place import Place
from trainer.settings import parse
from trainer.span import SpanNorm, column, widened
from trainer.start import prepare

pytestmark = pytest.mark.mpi

SHAPE = (3, 4, 5, 6)  # of each rank's images
EXACT = {"rtol": 1e-12, "atol": 1e-12}
TINY = [
    "--model.width", "4", "--model.blocks", "[1]", "--images.size", "16",
    "--epochs", "1", "--optimizer.lr", "0.02",
]  # fmt: skip


def everyones(size, dtype=torch.float64):
    """Return images and output gradients of all ranks; their means differ."""
    generator = torch.Generator().manual_seed(size)
    shape = (size, *SHAPE)
    images = torch.randn(shape, generator=generator, dtype=torch.float64)
    images += torch.arange(size, dtype=torch.float64)[:, None, None, None, None]
    grads = torch.randn(shape, generator=generator, dtype=torch.float64)
    return images.to(dtype), grads.to(dtype)


def made(kind, comm=None):
    torch.manual_seed(0)
    module = kind(SHAPE[1], eps=1e-3, momentum=0.3).double()
    nn.init.uniform_(module.weight, 0.5, 2), nn.init.normal_(module.bias)
    if comm is not None:
        module.comm = comm
    return module


def passed(module, images, grads):
    """Return outputs and gradient of the images; the module has those of its own."""
    images = images.clone().requires_grad_()
    y = module(images)
    y.backward(grads)
    return y.detach(), images.grad


def parts(comm):
    """Yield a communicator and its ranks, for groups of all ranks and of two."""
    yield comm, range(comm.size)
    if comm.size % 2 == 0 and comm.size > 2:
        part = span.split(comm, [2])[2]
        first = comm.rank // 2 * 2
        yield part, range(first, first + 2)
        part.close()


def test_a_group_normalises_as_one_rank_with_all_its_images(comm):
    images, grads = everyones(comm.size)
    for part, ranks in parts(comm):
        here, plain = made(SpanNorm, part), made(nn.BatchNorm2d)
        y, dx = passed(here, images[comm.rank], grads[comm.rank])
        mine = slice(part.rank * SHAPE[0], (part.rank + 1) * SHAPE[0])
        group = slice(ranks.start, ranks.stop)
        whole = passed(plain, images[group].flatten(0, 1), grads[group].flatten(0, 1))
        torch.testing.assert_close(y, whole[0][mine], **EXACT)
        torch.testing.assert_close(dx, whole[1][mine], **EXACT)
        for name in ("weight", "bias"):
            got = getattr(here, name).grad
            total = part.allreduce(got.clone())
            torch.testing.assert_close(total, getattr(plain, name).grad, **EXACT)
        for name, value in plain.named_buffers():
            torch.testing.assert_close(here.get_buffer(name), value, **EXACT)


def test_gradients_without_the_groups_sums_and_averaged_variances_are_wrong(comm):
    if comm.size == 1:
        return
    images, grads = everyones(comm.size)
    plain = made(nn.BatchNorm2d)
    mine = slice(comm.rank * SHAPE[0], (comm.rank + 1) * SHAPE[0])
    _, whole = passed(plain, images.flatten(0, 1), grads.flatten(0, 1))
    x, dy = images[comm.rank], grads[comm.rank]
    mean = images.mean((0, 1, 3, 4))
    variance = images.var((0, 1, 3, 4), correction=0)
    scale = torch.rsqrt(variance + 1e-3)
    h = (x - column(mean)) * column(scale)
    alone = dy - column(dy.mean((0, 2, 3))) - h * column((dy * h).mean((0, 2, 3)))
    alone = column(made(nn.BatchNorm2d).weight.detach() * scale) * alone
    assert (alone - whole[mine]).abs().max() > 1e-3
    averaged = comm.allreduce(x.var((0, 2, 3)), op="mean")
    assert (averaged < 0.9 * variance).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_have_float32_statistics(comm, dtype):
    images, grads = everyones(comm.size, dtype)
    here = made(SpanNorm, comm).float()
    wide = made(SpanNorm, comm).float()
    y, dx = passed(here, images[comm.rank], grads[comm.rank])
    y32, dx32 = passed(wide, widened(images[comm.rank]), widened(grads[comm.rank]))
    assert y.dtype == dx.dtype == dtype
    assert torch.equal(y, y32.to(dtype)) and torch.equal(dx, dx32.to(dtype))
    assert torch.equal(here.running_var, wide.running_var)


def test_the_channels_of_a_pixel_may_lie_together(comm):
    images, grads = everyones(comm.size)
    x = images[comm.rank].contiguous(memory_format=torch.channels_last)
    y, dx = passed(made(SpanNorm, comm), x, grads[comm.rank])
    other = passed(made(SpanNorm, comm), images[comm.rank], grads[comm.rank])
    torch.testing.assert_close((y, dx), other, **EXACT)
    assert y.is_contiguous(memory_format=torch.channels_last)


def begun(comm, output, *flags):
    settings = parse([*TINY, *flags, "--output", str(output)])
    return prepare(comm, settings, Place(), Interrupt())


def trained(comm, output, *flags):
    run = begun(comm, output, *flags)
    loop.train(run)
    run.recorder.close()
    for part in run.spans.values():
        part.close()
    return run


def trained_both(comm, output, tmp_path, *flags):
    """Train on all ranks, and on each of them alone; return both runs."""
    together = trained(comm, output, *flags)
    with comm.split(comm.rank) as alone:
        return together, trained(alone, tmp_path / "alone", *flags)


def test_a_group_of_ranks_trains_as_one_rank_that_has_it_all(comm, tmp_path):
    output = comm.broadcast_object(str(tmp_path), root=0)
    size = comm.size
    flags = [
        "--batch.phases", f"[[0,{16 * size},8]]", "--bn.group", str(2 * size),
        "--max-steps", "6",
    ]  # fmt: skip
    together, one = trained_both(comm, output, tmp_path, *flags)
    assert together.sampler.per_worker == 16 and together.sampler.accumulation == 1
    assert one.sampler.per_worker == 16 * size and one.sampler.accumulation == 1
    theirs = one.model.state_dict()
    for name, mine in together.model.state_dict().items():
        torch.testing.assert_close(mine, theirs[name], rtol=2e-3, atol=2e-4)


def test_ranks_that_have_different_numbers_of_groups_train_as_one(comm, tmp_path):
    output = comm.broadcast_object(str(tmp_path), root=0)
    groups = 2 * comm.size - 1
    flags = [
        "--batch.phases", f"[[0,{8 * groups},4]]", "--bn.group", "2",
        "--max-steps", "3", "--bn.evaluate", "recompute",
    ]  # fmt: skip
    together, one = trained_both(comm, output, tmp_path, *flags)
    assert together.spans == {}
    assert together.result["loss"] == pytest.approx(one.result["loss"], rel=1e-3)
    for mine, theirs in zip(
        together.model.parameters(), one.model.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-4)


def test_recomputed_statistics_are_the_same_on_all_ranks_and_shared_by_them(
    comm, tmp_path
):
    output = comm.broadcast_object(str(tmp_path), root=0)
    flags = [
        "--batch.phases", f"[[0,{8 * comm.size},8]]", "--bn.group", str(comm.size),
        "--max-steps", "3", "--bn.evaluate", "recompute",
    ]  # fmt: skip
    together, one = trained_both(comm, output, tmp_path, *flags)
    assert together.result["loss"] == pytest.approx(one.result["loss"], rel=1e-3)


def test_ranks_that_cannot_share_the_groups_are_refused_together(comm, tmp_path):
    size = comm.size
    with pytest.raises(InvalidArgument) as caught:
        begun(comm, tmp_path, "--bn.group", str(size + 1))
    message = str(caught.value)
    assert "\n" not in message
    assert f"--bn.group: got {size + 1}, expected a divisor of the {size}" in message
    if size > 2:
        phases = f"[[0,{8 * (size - 1) * (2 * size + 1)},8]]"
        flags = ["--batch.phases", phases, "--bn.group", str(2 * size + 1)]
        with pytest.raises(InvalidArgument, match=f"use 1 to {size - 1} ranks, or one"):
            begun(comm, tmp_path, *flags)
