import numpy as np
import pytest
import torch
from torch.nn import functional

from trainer import blur
from trainer.fields import Model
from trainer.model import ResNet, build

ROW = np.array([1, 2, 1]) / 4


def blurred(x):
    """Blur the last two axes, by rows and then by columns, in float64."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 1)] * 2)
    height, width = x.shape[-2:]
    rows = sum(ROW[i] * padded[..., i : i + height, :] for i in range(3))
    return sum(ROW[i] * rows[..., i : i + width] for i in range(3))


def make(kernel=3, *, stride=2, channels=16):
    torch.manual_seed(0)
    layer = blur.conv(channels, 8, kernel, stride=stride, blurpool=True)
    return layer.double()


def unblurred(layer, x):
    return functional.conv2d(
        x, layer.weight, stride=layer.stride, padding=layer.padding
    )


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (1, 1), (2, 3)])
def test_it_is_the_convolution_of_the_blurred_input(kernel, shape):
    layer = make(kernel)
    x = torch.randn(2, 16, *shape, dtype=torch.float64)
    expected = unblurred(layer, torch.from_numpy(blurred(x.numpy())))
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_an_impulse_becomes_the_binomial_of_its_own_channel():
    layer, x = make(1), torch.zeros(1, 16, 7, 7, dtype=torch.float64)
    x[0, 5, 3, 3] = 16.0
    whole = functional.conv2d(x, layer.binomial, padding=1, groups=16)
    expected = torch.zeros_like(x)
    expected[0, 5, 2:5, 2:5] = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert torch.equal(whole, expected)
    torch.testing.assert_close(layer(x), unblurred(layer, expected))


def test_inside_a_constant_stays():
    layer, x = make(1), torch.ones(1, 16, 9, 9, dtype=torch.float64)
    sharp = unblurred(layer, x)
    torch.testing.assert_close(layer(x)[..., 1:-1, 1:-1], sharp[..., 1:-1, 1:-1])
    assert not torch.allclose(layer(x), sharp)  # beyond the edge are zeros


def test_what_alternates_from_pixel_to_pixel_is_gone():
    layer, x = make(1), torch.ones(1, 16, 9, 9, dtype=torch.float64)
    x[..., ::2] = -1
    assert layer(x)[..., 1:-1, 1:-1].abs().max() < 1e-15
    assert unblurred(layer, x).abs().max() > 0.1


def test_its_gradients_are_right():
    layer, x = make(3, channels=16), torch.randn(1, 16, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(layer, x.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_have_the_same_weights_of_the_blur(dtype):
    layer = make()
    assert torch.equal(layer.binomial.to(dtype).double(), layer.binomial)


@pytest.mark.parametrize(("stride", "channels"), [(1, 16), (2, 15), (2, 3)])
def test_what_does_not_stride_or_is_thin_is_not_blurred(stride, channels):
    layer = blur.conv(channels, 8, 3, stride=stride, blurpool=True)
    assert type(layer) is torch.nn.Conv2d
    plain = blur.conv(16, 8, 3, stride=2, blurpool=False)
    assert type(plain) is torch.nn.Conv2d


@pytest.mark.parametrize(("stride", "first"), [("v1", "conv1"), ("v1.5", "conv2")])
def test_a_resnet50_blurs_before_six_strides(stride, first):
    with torch.device("meta"):
        network = ResNet(Model(stride=stride, blurpool=True))
    found = {
        name
        for name, module in network.named_modules()
        if isinstance(module, blur.BlurredConv2d)
    }
    stages = [f"layer{stage}.0" for stage in (2, 3, 4)]
    assert found == {f"{s}.{part}" for s in stages for part in (first, "downsample.0")}


def test_names_and_first_weights_are_those_of_the_network_without():
    config = {"width": 16, "blocks": (1, 1), "classes": 10, "stride": "v1.5"}
    plain = build(Model(**config), seed=3)
    network = build(Model(**config, blurpool=True), seed=3)
    assert list(network.state_dict()) == list(plain.state_dict())
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name
    images = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(network(images), plain(images))
