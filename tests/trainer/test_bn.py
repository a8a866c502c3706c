import torch
from alone import Alone
from torch import nn

from trainer import bn
from trainer.averages import Averages
from trainer.fields import Norm


def two_workers():
    """Return the images of two workers whose means differ, and both models."""
    torch.manual_seed(0)
    images = [torch.randn(64, 3, 4, 4) + 5 * rank for rank in range(2)]
    models = [nn.Sequential(nn.BatchNorm2d(3, momentum=1.0)).double() for _ in images]
    for model, batch in zip(models, images, strict=True):
        model(batch.double())
    return images, models


def test_pooled_statistics_are_those_of_all_images():
    images, models = two_workers()
    rows = torch.stack([bn.flatten(model) for model in models])
    mean, variance = bn.pooled(bn.moments(rows).mean(0)).chunk(2)
    everything = torch.cat(images).double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean, everything.mean(1))
    # running variances are unbiased ones of 1024 values, hence not to the last digit
    torch.testing.assert_close(variance, everything.var(1), rtol=2e-3, atol=0)


def test_averaged_variances_are_wrong():
    images, models = two_workers()
    averaged = torch.stack([model[0].running_var for model in models]).mean(0)
    everything = torch.cat(images).double().transpose(0, 1).flatten(1)
    assert (averaged < 0.5 * everything.var(1)).all()


def test_one_rank_keeps_its_statistics():
    _, (model, _) = two_workers()
    before = bn.flatten(model)
    averages = Averages(model)
    averages.begin(1)
    bn.synchronise(averages, Alone())
    torch.testing.assert_close(bn.flatten(model), before)


def test_flatten_and_unflatten_keep_every_bit():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Linear(2, 2), nn.BatchNorm1d(2))
    for values in bn.running(model):
        values.uniform_()
    flat = bn.flatten(model)
    other = nn.Sequential(nn.BatchNorm2d(3), nn.Linear(2, 2), nn.BatchNorm1d(2))
    bn.unflatten(other, flat)
    for mine, theirs in zip(bn.running(model), bn.running(other), strict=True):
        assert torch.equal(mine, theirs)


def test_a_model_without_normalisation_has_nothing_to_share():
    averages = Averages(nn.Linear(2, 2))
    averages.begin(3)
    averages.select(2)
    bn.synchronise(averages, Alone())
    assert averages.gather(Alone()).shape == (1, 0)


def test_last_batch_forgets_all_earlier_ones():
    model = nn.Sequential(nn.BatchNorm2d(3))
    bn.configure(model, Norm(evaluate="last_batch"))
    for _ in range(3):
        images = torch.randn(8, 3, 4, 4) * 3 + 1
        model(images)
    torch.testing.assert_close(model[0].running_mean, images.mean((0, 2, 3)))
    assert not torch.allclose(model[0].running_mean, torch.zeros(3))
