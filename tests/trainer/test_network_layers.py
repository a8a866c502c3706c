"""Layers on paper against the network, and against the published backward pass.

``resnet50_backward.csv`` has the layers in the order of the backward pass (ResNet-50
v1.5, 224 pixels, 32 images): parameters, multiply-adds of an image, and the parts of
all parameters and of the backward pass after the layer, in percent, by arithmetic alone
and by the rooflines of two processors.
"""

import csv
import doctest
from itertools import accumulate
from pathlib import Path

import pytest

from trainer import layers
from trainer.fields import Model

MODEL = Model(stride="v1.5")
MODELS = [
    Model(), MODEL, Model(width=4, blocks=(1, 2), classes=10),
    Model(width=8, blocks=(1, 1, 1), classes=3, stride="v1.5"),
]  # fmt: skip
TABLE = Path(__file__).with_name("resnet50_backward.csv")
ROWS = list(csv.DictReader(TABLE.read_text("utf-8").splitlines()))
BACKWARD = list(layers.layers(MODEL))[::-1]


def test_each_layer_has_the_published_parameters_and_multiply_adds():
    found = [(sum(layer.tensors), layer.macs) for layer in BACKWARD]
    assert found == [(int(row["parameters"]), int(row["macs"])) for row in ROWS]


def test_each_layer_leaves_the_published_part_of_the_parameters():
    passed = list(accumulate(sum(layer.tensors) for layer in BACKWARD))
    found = [100 * count / passed[-1] for count in passed]
    assert found == pytest.approx(column("parameters %"), abs=6e-4)


@pytest.mark.parametrize(
    ("processor", "name"), [("", "arithmetic"), ("v100", "v100"), ("p100", "p100")]
)
def test_each_layer_is_ready_after_the_published_part_of_the_backward_pass(
    processor, name
):
    parts = layers.ready(MODEL, layers.PROCESSORS[processor])
    last = list(accumulate(len(layer.tensors) for layer in BACKWARD))
    found = [100 * parts[end - 1] for end in last]
    assert found == pytest.approx(column(f"{name} %"), abs=6e-4)
    assert parts == sorted(parts) and parts[-1] == 1.0


def column(name):
    return [float(row[name]) for row in ROWS]


@pytest.mark.parametrize(
    ("processor", "milliseconds"), [("v100", 18.2), ("p100", 85.9)]
)
def test_the_backward_pass_takes_the_published_time(processor, milliseconds):
    times = layers.backward_s(MODEL, layers.PROCESSORS[processor])
    assert round(1e3 * sum(times), 1) == milliseconds


@pytest.mark.parametrize(("stride", "gmac"), [("v1", 3.858), ("v1.5", 4.089)])
def test_an_image_takes_the_published_multiply_adds(stride, gmac):
    macs = sum(layer.macs for layer in layers.layers(Model(stride=stride)))
    assert round(macs / 1e9, 3) == gmac


@pytest.mark.parametrize(
    ("before", "count", "tensors", "parameters", "gmac"),
    [
        (0, 2, 3, 9_536, 0.118), (2, 20, 30, 215_808, 0.668),
        (22, 26, 39, 1_219_584, 1.028), (48, 38, 57, 7_098_368, 1.464),
        (86, 20, 30, 14_964_736, 0.809), (106, 1, 2, 2_049_000, 0.002),
    ],
)  # fmt: skip
def test_stages_have_the_published_parameters_and_multiply_adds(
    before, count, tensors, parameters, gmac
):
    stage = BACKWARD[::-1][before : before + count]
    counts = [elements for layer in stage for elements in layer.tensors]
    assert (len(counts), sum(counts)) == (tensors, parameters)
    assert round(sum(layer.macs for layer in stage) / 1e9, 3) == gmac


def test_resnet50_has_the_published_parameters():
    count = layers.parameters(Model())
    assert count == (23_454_912, 53_120, 2_049_000)
    assert count.total == 25_557_032
    assert count.total - count.norm == 25_503_912
    assert count.total - count.norm - 1000 == 25_502_912


@pytest.mark.parametrize(
    ("last", "percent"),
    [(2, 8.0), (32, 66.6), (89, 94.3), (128, 99.1), (158, 99.96), (161, 100.0)],
)
def test_gradients_arrive_in_the_published_parts(last, percent):
    counts = layers.arrivals(Model())
    found = 100 * sum(counts[:last]) / sum(counts)
    assert found == pytest.approx(percent, abs=0.05 if percent < 99.5 else 0.005)


def test_resnet50_s_tensors_have_the_published_sizes():
    counts = sorted(layers.arrivals(Model()))
    assert (len(counts), counts[0], counts[80], counts[-1]) == (161, 64, 512, 2_359_296)
    assert sum(4 * count < 1 << 10 for count in counts) == 30
    assert sum(4 * count <= 16 << 10 for count in counts) == 108
    large = [4 * count for count in counts if 4 * count >= 256 << 10]
    assert len(large) == 42 and round(sum(large) / 1e6, 2) == 100.99


@pytest.mark.parametrize("size", [32, 56, 224])
@pytest.mark.parametrize("model", MODELS)
def test_layers_are_those_of_the_network(model, size):
    torch = pytest.importorskip("torch")
    from trainer.model import ResNet

    with torch.device("meta"):
        network = ResNet(model)
        seen = {}

        def look(module, inputs, output):
            channels = inputs[0].shape[1]
            kernel = module.weight.numel() // (channels * output.shape[1])
            if module.weight.dim() == 1:
                kernel = 0
            seen[module] = output.numel() * channels * kernel, output.numel()

        leaves = [part for part in network.modules() if hasattr(part, "weight")]
        for part in leaves:
            part.register_forward_hook(look)
        network.eval()(torch.empty(1, 3, size, size))
    expected = [
        (tuple(p.numel() for p in part.parameters()), *seen[part]) for part in leaves
    ]
    found = [
        (layer.tensors, layer.macs, layer.outputs)
        for layer in layers.layers(model, size)
    ]
    assert found == expected


def test_doctests():
    assert doctest.testmod(layers).failed == 0
