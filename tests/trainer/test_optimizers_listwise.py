"""What holds for all optimisers that are updates of lists."""

import copy

import numpy as np
import pytest
import references
import torch
from following import assert_close, gradients, parameters, update, weights
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from collectives import InvalidArgument
from trainer.optimizers import LAMB, LARS, RMSpropWarmup, VMomentum
from trainer.optimizers.listwise import HALVES, Listwise

KINDS = {
    "momentum": lambda params: VMomentum(params, lr=0.1, weight_decay=1e-4),
    "nesterov": lambda params: VMomentum(params, lr=0.1, nesterov=True),
    "uncorrected": lambda params: VMomentum(params, lr=0.1, corrected=False),
    "lars v": lambda params: LARS(params, lr=0.1, weight_decay=1e-4),
    "lars u": lambda params: LARS(params, lr=0.1, form="u", weight_decay=1e-4),
    "lars hybrid": lambda params: LARS(params, lr=0.1, form="hybrid"),
    "lars in loss": lambda params: LARS(params, lr=0.1, decay_in="loss"),
    "lars nnabla": lambda params: LARS(params, lr=0.1, eps=1e-6, eps_rule="threshold"),
    "lars skip": lambda params: LARS(params, lr=0.1, skip=True),
    "rmsprop warm-up": lambda params: RMSpropWarmup(params, lr=0.1, weight_decay=1e-4),
    "lamb": lambda params: LAMB(params, lr=0.1, weight_decay=1e-2),
}
every_kind = pytest.mark.parametrize("build", KINDS.values(), ids=KINDS)
RATES = [{"lr": lr} for lr in (0.1, 0.2, 0.2, 0.05)]


def rates(optimizer):
    """Return what each update changes; the warm-up is in the midst of it."""
    if isinstance(optimizer, RMSpropWarmup):
        return [{**rate, "epoch": 9 + i} for i, rate in enumerate(RATES)]
    return RATES


def trained(build, dtype=torch.float64, updates=4):
    tensors = parameters(weights(), dtype)
    optimizer = build(tensors)
    rows = gradients(updates)
    for row, change in zip(rows, rates(optimizer)[:updates], strict=True):
        update(optimizer, tensors, row, change)
    return tensors, optimizer


@every_kind
def test_many_tensors_at_once_are_updated_as_each_alone(build):
    together, _ = trained(build, torch.float32)
    alone = parameters(weights(), torch.float32)
    for i, tensor in enumerate(alone):
        optimizer = build([tensor])
        for row, change in zip(gradients(4), rates(optimizer), strict=True):
            update(optimizer, [tensor], [row[i]], change)
    assert all(map(torch.equal, together, alone))


class Calls(TorchDispatchMode):
    """Counts the operations that torch carries out."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def calls(build, count):
    """Return the operations of an update of ``count`` tensors, but the first one."""
    tensors = [nn.Parameter(torch.ones(3)) for _ in range(count)]
    optimizer = build(tensors)
    for tensor in tensors:
        tensor.grad = torch.ones(3)
    optimizer.step()
    with Calls() as mode:
        optimizer.step()
    return mode.names


@every_kind
def test_an_update_is_as_many_operations_for_161_tensors_as_for_two(build):
    assert calls(build, 2) == calls(build, 161)


@every_kind
def test_an_update_never_asks_for_a_value(build):
    waiting = ("_local_scalar_dense", "nonzero", "is_nonzero", "_to_copy")
    assert not [name for name in calls(build, 5) if any(w in name for w in waiting)]


@every_kind
def test_a_run_goes_on_bitwise_from_a_state(build, tmp_path):
    whole, _ = trained(build, torch.float32)
    tensors, optimizer = trained(build, torch.float32, updates=2)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    other = [nn.Parameter(tensor.detach().clone()) for tensor in tensors]
    optimizer = build(other)
    optimizer.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for row, change in zip(gradients(4)[2:], rates(optimizer)[2:], strict=True):
        update(optimizer, other, row, change)
    assert all(map(torch.equal, whole, other))


@every_kind
@pytest.mark.parametrize("dtype", HALVES)
def test_half_types_go_on_bitwise_too(build, dtype):
    whole, _ = trained(build, dtype)
    tensors, optimizer = trained(build, dtype, updates=2)
    state = copy.deepcopy(optimizer.state_dict())
    other = [nn.Parameter(tensor.detach().clone()) for tensor in tensors]
    optimizer = build(other)
    optimizer.load_state_dict(state)
    states = [t for own in optimizer.state.values() for t in own.values()]
    assert {t.dtype for t in states} == {torch.float32}
    for row, change in zip(gradients(4)[2:], rates(optimizer)[2:], strict=True):
        update(optimizer, other, row, change)
    assert all(map(torch.equal, whole, other))


@every_kind
@pytest.mark.parametrize("dtype", HALVES)
def test_half_weights_are_the_rounded_float32_ones(build, dtype):
    """Their updates are those of float32 weights with the same gradients."""
    halves = parameters(weights(), dtype)
    wholes = [nn.Parameter(half.detach().float()) for half in halves]
    for tensors in (halves, wholes):
        optimizer = build(tensors)
        for row, change in zip(gradients(4), rates(optimizer), strict=True):
            rounded = [torch.as_tensor(gradient).to(dtype) for gradient in row]
            update(optimizer, tensors, rounded, change)
    assert all(
        torch.equal(half, whole.to(dtype))
        for half, whole in zip(halves, wholes, strict=True)
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_updates_below_a_half_types_spacing_add_up(dtype):
    weight = nn.Parameter(torch.ones(1, dtype=dtype))
    optimizer = VMomentum([weight], lr=1e-4, momentum=0.0)
    for _ in range(1000):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert weight.item() == pytest.approx(0.9, rel=1e-2)
    for _ in range(1000):  # the negative control: without a float32 copy nothing moves
        weight.data = weight.data - 1e-4
    assert weight.item() == pytest.approx(0.9, rel=1e-2)


@pytest.mark.parametrize("size", [3e-6, 3e3])
def test_norms_of_half_gradients_neither_overflow_nor_vanish(size):
    """In float16 the squares would be 0 or infinite."""
    weight = nn.Parameter(torch.ones(64, dtype=torch.float16))
    optimizer = LARS([weight], lr=1.0, coefficient=0.5, momentum=0.0)
    weight.grad = torch.full_like(weight, size)
    assert (weight.grad * weight.grad)[0].item() in (0.0, np.inf)
    optimizer.step()
    assert weight.tolist() == [0.5] * 64


def test_gradients_of_a_half_type_may_belong_to_float32_weights():
    tensors = parameters(weights(), torch.float32)
    optimizer = LARS(tensors, lr=29.0, weight_decay=1e-4)
    row = gradients(1)[0]
    for tensor, gradient in zip(tensors, row, strict=True):
        tensor.grad_dtype = None  # any
        tensor.grad = torch.as_tensor(gradient).half()
    optimizer.step()
    assert all("weight" not in own for own in optimizer.state.values())
    wanted = [
        references.lars(w.astype(np.float32).astype(float),
                        g.astype(np.float16).astype(float), {},
                        lr=29.0, momentum=0.9, weight_decay=1e-4)
        for w, g in zip(weights(), row, strict=True)
    ]  # fmt: skip
    assert_close([t.detach().numpy() for t in tensors], wanted, rel=1e-5)


@every_kind
def test_gradients_are_left_as_they_are(build):
    tensors, optimizer = trained(build)
    before = [tensor.grad.clone() for tensor in tensors]
    optimizer.step()
    assert all(map(torch.equal, before, (tensor.grad for tensor in tensors)))


@every_kind
def test_a_tensor_without_a_gradient_rests(build):
    tensors, optimizer = trained(build)
    tensors[0].grad = None
    before = tensors[0].detach().clone()
    optimizer.step()
    assert torch.equal(before, tensors[0])
    optimizer.zero_grad()
    optimizer.step()  # nothing to do is no error


@every_kind
def test_state_takes_the_memory_format_of_its_weight(build):
    tensors, optimizer = trained(build)
    with torch.no_grad():
        last = tensors[0].to(memory_format=torch.channels_last)
    other = [nn.Parameter(last), *(nn.Parameter(t.detach()) for t in tensors[1:])]
    fresh = build(other)
    fresh.load_state_dict(optimizer.state_dict())
    for name, tensor in fresh.state[other[0]].items():
        assert tensor.stride() == other[0].stride()
        assert torch.equal(tensor, optimizer.state[tensors[0]][name])


@every_kind
def test_an_overflow_under_a_loss_scale_leaves_everything_as_it_was(build):
    tensors, optimizer = trained(build, torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    state = copy.deepcopy(optimizer.state_dict())
    before = [tensor.detach().clone() for tensor in tensors]
    scaler.scale(torch.ones(()))  # makes the scale
    tensors[1].grad[0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    assert all(map(torch.equal, before, tensors))
    assert str(state) == str(optimizer.state_dict())
    assert scaler.get_scale() == 2.0


@every_kind
def test_a_loss_scale_is_taken_out_again(build):
    plain, _ = trained(build, torch.float32)
    tensors, optimizer = trained(build, torch.float32, updates=3)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.ones(()))
    optimizer.step, step = lambda: scaler_step(), optimizer.step

    def scaler_step():
        optimizer.step = step
        scaler.step(optimizer)

    update(optimizer, tensors, [4 * g for g in gradients(4)[3]], rates(optimizer)[3])
    assert all(map(torch.equal, plain, tensors))


@pytest.mark.parametrize(("options", "message"), [
    ({"lr": -1.0}, r"VMomentum: lr is -1.0, expected a number from 0$"),
    ({"lr": float("nan")}, r"lr is nan"),
    ({"lr": torch.ones(())}, r"lr is tensor\(1.\), expected a number"),
    ({"momentum": 1.0}, r"momentum is 1.0, expected a number from 0, below 1"),
    ({"nesterov": "yes"}, r"nesterov is 'yes', expected one of False, True"),
])  # fmt: skip
def test_impossible_values_are_refused(options, message):
    with pytest.raises(InvalidArgument, match=message):
        VMomentum([nn.Parameter(torch.ones(1))], **{"lr": 0.1, **options})


def test_a_choice_lists_the_valid_ones():
    with pytest.raises(InvalidArgument, match="form is 'w', expected one of v, u, hyb"):
        LARS([nn.Parameter(torch.ones(1))], lr=0.1, form="w")


def test_a_groups_own_options_are_checked_by_name_and_value():
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(InvalidArgument, match="no option skp; the options are coeff"):
        LARS([{"params": [weight], "skp": True}], lr=0.1)
    with pytest.raises(InvalidArgument, match="skip is 'fc', expected one of False, T"):
        LARS([{"params": [weight], "skip": "fc"}], lr=0.1)


def test_names_of_parameters_may_be_given():
    model = nn.Linear(2, 2)
    optimizer = LARS(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]


def test_the_state_of_another_kind_is_refused():
    tensors, optimizer = trained(KINDS["momentum"])
    with pytest.raises(InvalidArgument, match="LARS: the state has no coefficient, .*"):
        LARS(tensors, lr=0.1).load_state_dict(optimizer.state_dict())


@every_kind
def test_a_closure_computes_the_loss_first(build):
    weight = nn.Parameter(torch.ones(2))
    optimizer = build([weight])

    def closure():
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert weight.tolist() != [1.0, 1.0]


def test_an_optimiser_is_one_function_of_lists():
    class Plain(Listwise):
        def update(self, group, weights, gradients):
            torch._foreach_add_(weights, gradients, alpha=-group["lr"])

    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    Plain([weight], {"lr": 0.25}).step()
    assert weight.tolist() == [0.75, 0.75]
