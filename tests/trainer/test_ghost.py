import pytest
import torch
from torch import nn

from trainer import bn
from trainer.fields import Norm
from trainer.ghost import GhostNorm


def pair():
    """Return images in three parts whose means differ, a ghost and a plain one."""
    torch.manual_seed(0)
    x = torch.randn(6, 2, 3, 3, dtype=torch.float64)
    x += torch.arange(6).div(2, rounding_mode="floor").double()[:, None, None, None]
    model = nn.Sequential(nn.BatchNorm2d(2)).double()
    bn.configure(model, Norm(ghost=2))
    assert type(model[0]) is GhostNorm
    return x, model[0], nn.BatchNorm2d(2).double()


def test_a_ghost_batch_is_a_microbatch_of_its_own():
    x, ghost, plain = pair()
    grad = torch.randn_like(x)
    whole, parts = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = ghost(whole)
    y.backward(grad)
    expected = torch.cat([plain(part) for part in parts.split(2)])
    expected.backward(grad)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.grad, parts.grad, rtol=1e-12, atol=1e-12)
    for name in ("weight", "bias"):
        mine, theirs = getattr(ghost, name).grad, getattr(plain, name).grad
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_the_running_averages_get_the_pooled_moments_of_the_parts():
    x, ghost, _ = pair()
    ghost.momentum = 1.0
    ghost(x)
    means = torch.stack([part.mean((0, 2, 3)) for part in x.split(2)])
    variances = torch.stack([part.var((0, 2, 3)) for part in x.split(2)])
    pooled = (variances + means**2).mean(0) - means.mean(0) ** 2
    torch.testing.assert_close(ghost.running_mean, means.mean(0))
    torch.testing.assert_close(ghost.running_var, pooled)
    assert (variances.mean(0) < 0.8 * pooled).all()
    assert ghost.num_batches_tracked == 1


def test_in_evaluation_it_is_the_plain_one():
    x, ghost, plain = pair()
    assert torch.equal(ghost.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_stay_half_with_float32_statistics(dtype):
    x, ghost, _ = pair()
    ghost.float()
    assert ghost(x.to(dtype)).dtype == dtype
    assert ghost.running_var.dtype == torch.float32
