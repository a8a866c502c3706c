import pytest
import torch
from alone import Alone
from torch import nn

from trainer import bn, span
from trainer.fields import Model, Norm
from trainer.model import build
from trainer.span import Normalise, SpanNorm


class Four(Alone):
    """One of four ranks that all have the same."""

    size = 4

    def allreduce(self, x, op="sum", *, out=None, **options):
        return torch.mul(x, 4, out=out)


def test_gradients_are_the_derivatives():
    torch.manual_seed(0)
    x = torch.randn(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    gamma = torch.rand(2, dtype=torch.float64).add_(0.5).requires_grad_()
    beta = torch.randn(2, dtype=torch.float64, requires_grad=True)

    def normalised(x, gamma, beta):
        shift = torch.tensor([0.3, -2.0], dtype=torch.float64)
        return Normalise.apply(x, gamma, beta, shift, 1e-3, Alone())[0]

    assert torch.autograd.gradcheck(normalised, (x, gamma, beta))


def test_activations_far_from_zero_keep_their_digits():
    torch.manual_seed(0)
    here = SpanNorm(2)
    here.comm = Four()
    for _ in range(100):
        x = 300 + torch.randn(8, 2, 4, 4)
        y = here(x)
    exact = nn.functional.batch_norm(x.double(), None, None, training=True)
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=1e-4)
    far = SpanNorm(2)
    far.comm = Four()  # not shifted yet
    assert (far(x).double() - exact).abs().max() > 1e-3


def test_a_copy_on_each_rank_changes_but_the_unbiased_variance():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    here, plain = SpanNorm(3).double(), nn.BatchNorm2d(3).double()
    here.comm = Four()
    torch.testing.assert_close(here(x), plain(x))
    plain.reset_running_stats()
    plain(x.repeat(4, 1, 1, 1))
    torch.testing.assert_close(here.running_var, plain.running_var)


@pytest.mark.parametrize("training", [True, False])
def test_without_ranks_or_in_evaluation_it_is_the_plain_one(training):
    here, plain = SpanNorm(3).train(training), nn.BatchNorm2d(3).train(training)
    here.comm = None if training else Four()
    x = torch.randn(4, 3, 2, 2)
    assert torch.equal(here(x), plain(x))
    assert torch.equal(here.running_var, plain.running_var)


@pytest.mark.parametrize(
    "config", [Norm(group=4, decay=0.7, eps=1e-3), Norm(ghost=2, decay=0.7, eps=1e-3)]
)
def test_names_and_values_of_the_model_stay(config):
    tiny = Model(width=4, blocks=(1, 1), classes=10)
    model, plain = build(tiny, seed=1), build(tiny, seed=1)
    bn.configure(model, config)
    assert list(model.state_dict()) == list(plain.state_dict())
    for mine, theirs in zip(
        model.state_dict().values(), plain.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(type(m) is not nn.BatchNorm2d for m in norms)
    assert {(m.eps, round(m.momentum, 9)) for m in norms} == {(1e-3, 0.3)}


def test_the_group_can_change_on_the_way():
    model = nn.Sequential(SpanNorm(2), nn.Sequential(SpanNorm(2)))
    group = Four()
    span.use(model, group)
    assert model[0].comm is model[1][0].comm is group
    span.use(model, None)
    assert model[0].comm is None


def test_groups_within_ranks_need_no_communicator():
    assert span.split(Alone(), [1, 1]) == {}


def test_the_type_of_the_images_is_kept_under_autocast():
    here = SpanNorm(3)
    here.comm = Four()
    x = torch.randn(4, 3, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = here(x)
    y.float().square().sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert here.weight.grad.dtype == here.running_var.dtype == torch.float32
