import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from collectives import InvalidArgument
from trainer import recipe
from trainer.fields import Model
from trainer.model import Bottleneck, ResNet, build

# From torchvision 0.28.0, models.resnet50: names, shapes and order.
GOLDEN = json.loads(
    Path(__file__).with_name("resnet50_state_dict.json").read_text("utf-8")
)
TINY = Model(width=4, blocks=(1, 1, 1, 1), classes=10, zero_gamma=True)


def on_meta(config):
    with torch.device("meta"):
        return ResNet(config)


@pytest.mark.parametrize("name", ["he2016", "goyal2017"])
def test_state_dict_has_torchvision_s_names_and_shapes(name):
    model = on_meta(recipe.load(name).model)
    state = [[key, list(value.shape)] for key, value in model.state_dict().items()]
    assert state == GOLDEN
    assert len(state) == 320


@pytest.mark.parametrize("stride", ["v1", "v1.5"])
def test_resnet50_has_the_published_number_of_parameters(stride):
    model = on_meta(replace(Model(), stride=stride))
    assert len(list(model.parameters())) == 161
    count = {nn.Conv2d: 0, nn.BatchNorm2d: 0, nn.Linear: 0}
    for module in model.modules():
        if type(module) in count:
            count[type(module)] += sum(p.numel() for p in module.parameters())
    assert list(count.values()) == [23_454_912, 53_120, 2_049_000]
    assert sum(count.values()) == 25_557_032


@pytest.mark.parametrize(("stride", "gmac"), [("v1", 3.858), ("v1.5", 4.089)])
def test_stride_placement_sets_the_published_cost_of_an_image(stride, gmac):
    model = on_meta(replace(Model(), stride=stride))
    macs = []

    def count(module, inputs, output):
        positions = output[0, 0].numel() if output.dim() == 4 else 1
        macs.append(module.weight.numel() * positions)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model(torch.empty(2, 3, 224, 224, device="meta"))
    assert sum(macs) / 1e9 == pytest.approx(gmac, abs=5e-4)


def test_small_images_keep_the_stem():
    model = build(TINY, seed=1)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert model.conv1.stride == (2, 2) and model.maxpool.stride == 2


def test_a_block_is_the_identity_at_first():
    block = next(m for m in build(TINY, seed=1).layer2 if isinstance(m, Bottleneck))
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(block(x), block.downsample(x).relu())


def test_only_the_last_gamma_of_each_block_is_zero():
    model = build(replace(TINY, blocks=(3, 4, 6, 3)), seed=1)
    gammas = {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    zero = [name for name, gamma in gammas.items() if not gamma.any()]
    assert len(zero) == 16 and all(name.endswith("bn3") for name in zero)
    ones = [gamma for name, gamma in gammas.items() if name not in zero]
    assert all((gamma == 1).all() for gamma in ones)


@pytest.mark.parametrize(("fan_mode", "fan"), [("fan_out", 64 * 9), ("fan_in", 16 * 9)])
def test_convolutions_follow_he_and_the_last_layer_goyal(fan_mode, fan):
    config = replace(TINY, width=16, blocks=(1,), classes=1000, fan_mode=fan_mode)
    model = build(config, seed=1)
    first = model.conv1.weight
    fan_of_stem = {"fan_out": 16 * 49, "fan_in": 3 * 49}[fan_mode]
    assert first.std().item() == pytest.approx((2 / fan_of_stem) ** 0.5, rel=0.1)
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not model.fc.bias.any()


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = build(TINY, seed=1), build(TINY, seed=1), build(TINY, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.conv1.weight, same.conv1.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stride": "v2"}, "v1, v1.5"),
        ({"fan_mode": "fan"}, "fan_in, fan_out"),
        ({"width": 0}, "at least 1"),
        ({"blocks": ()}, "at least 1"),
    ],
)
def test_a_bad_model_is_refused_with_the_valid_choices(change, words):
    with pytest.raises(InvalidArgument, match=words):
        ResNet(replace(TINY, **change))
