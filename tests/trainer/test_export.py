import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from trainer import bn, checkpoint, export
from trainer.fields import Model
from trainer.model import ResNet

safetensors = pytest.importorskip("safetensors")
TINY = Model(width=4, blocks=(1, 1), classes=10)


def norm(prefix, channels):
    """Return the entries of a normalisation in torchvision's state_dict."""
    names = ("weight", "bias", "running_mean", "running_var")
    found = {f"{prefix}.{name}": (channels,) for name in names}
    return found | {f"{prefix}.num_batches_tracked": ()}


def resnet50():
    """Return torchvision's names and shapes of a ResNet-50, by its rule."""
    found = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        width = 64 * 2 ** (stage - 1)
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            found[f"{at}.conv1.weight"] = (width, channels, 1, 1)
            found |= norm(f"{at}.bn1", width)
            found[f"{at}.conv2.weight"] = (width, width, 3, 3)
            found |= norm(f"{at}.bn2", width)
            found[f"{at}.conv3.weight"] = (4 * width, width, 1, 1)
            found |= norm(f"{at}.bn3", 4 * width)
            if block == 0:
                found[f"{at}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                found |= norm(f"{at}.downsample.1", 4 * width)
            channels = 4 * width
    return found | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


def write(folder, config, *, rows=1, **more):
    """Write a checkpoint of a network whose ranks have seen different images."""
    torch.manual_seed(0)
    network = ResNet(config)
    averages = bn.flatten(network)
    content = {
        "model": network.state_dict(),
        "buffers": torch.stack([averages + 1 + row for row in range(rows)]),
        "position": {"epoch": 3, "samples_seen": 0, "step": 42},
        "config": {f"model.{name}": value for name, value in vars(config).items()}
        | {"data": "digits"},
    } | more
    path = folder / "checkpoint-0003-00000000.pt"
    checkpoint.write(path, content, keep=1)
    return network


def load(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_a_resnet50_has_all_of_torchvisions_entries_and_no_other(tmp_path):
    write(tmp_path, Model())
    export.export(str(tmp_path), str(tmp_path / "out.safetensors"))
    found = {n: tuple(t.shape) for n, t in load(tmp_path / "out.safetensors").items()}
    expected = resnet50()
    assert found == expected
    parameters = [n for n in expected if n.endswith((".weight", ".bias"))]
    assert (len(parameters), len(expected)) == (161, 320)


def test_the_tensors_are_those_of_the_checkpoint(tmp_path):
    network = write(tmp_path, TINY)
    export.export(str(tmp_path), str(tmp_path / "out.safetensors"))
    other = ResNet(TINY)
    nn.init.zeros_(other.fc.weight)
    other.load_state_dict(load(tmp_path / "out.safetensors"), strict=True)
    for name, tensor in network.named_parameters():
        assert torch.equal(tensor, other.get_parameter(name)), name
    assert other.state_dict()["bn1.num_batches_tracked"].dtype == torch.int64


def test_running_averages_of_all_ranks_are_pooled(tmp_path):
    write(tmp_path, TINY, rows=2)
    export.export(str(tmp_path), str(tmp_path / "out.safetensors"))
    found = load(tmp_path / "out.safetensors")
    # Means 1 and 2, variances 2 and 3: mean squares 3 and 7.
    assert torch.equal(found["bn1.running_mean"], torch.full((4,), 1.5))
    assert torch.equal(found["bn1.running_var"], torch.full((4,), 5 - 1.5**2))


@pytest.mark.parametrize("raw", [False, True])
def test_averages_are_exported_unless_the_weights_are_asked_for(tmp_path, raw):
    averages = ResNet(TINY)
    nn.init.ones_(averages.fc.weight)
    rows = torch.stack([bn.flatten(averages) + row for row in (2, 4)])
    stored = {"model": averages.state_dict(), "buffers": rows}
    network = write(tmp_path, TINY, ema=stored)
    out = str(tmp_path / "out.safetensors")
    told = export.export(str(tmp_path), out, raw=raw)
    assert told["weights"] == ("last" if raw else "averages")
    found, expected = load(out), network if raw else averages
    assert torch.equal(found["fc.weight"], expected.fc.weight)
    mean = 1.0 if raw else 3.0
    assert torch.equal(found["bn1.running_mean"], torch.full((4,), mean))


@pytest.mark.parametrize("stride", ["v1", "v1.5"])
def test_the_metadata_says_which_network_it_is(tmp_path, stride):
    write(tmp_path, Model(stride=stride, width=4, blocks=(1, 1), classes=10))
    told = export.export(str(tmp_path), str(tmp_path / "out.safetensors"))
    with safetensors.safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert file.metadata() == told
    assert told["stride"] == stride and told["architecture"] == "resnet"
    assert told["blurpool"] == "false" and told["weights"] == "last"
    assert told["blocks"] == "1,1" and told["update"] == "42"


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "trainer.export", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_exports_and_tells_what(tmp_path):
    write(tmp_path, TINY)
    done = command(tmp_path, tmp_path / "new" / "out.safetensors")
    assert done.returncode == 0, done.stderr
    assert "stride: v1\n" in done.stdout and "epoch: 3\n" in done.stdout
    assert len(load(tmp_path / "new" / "out.safetensors")) > 0


def test_a_missing_checkpoint_is_one_line_and_exit_code_2(tmp_path):
    done = command(tmp_path / "none.pt", tmp_path / "out.safetensors")
    assert done.returncode == 2
    assert "no checkpoint at" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.safetensors").exists()


def test_without_safetensors_the_cure_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    out = str(tmp_path / "out.safetensors")
    assert export.main([str(tmp_path), out]) == 2
    assert "no checkpoint at" in capsys.readouterr().err  # found without the package
    write(tmp_path, TINY)
    assert export.main([str(tmp_path), out]) == 2
    assert "pip install 'mpi-collectives[safetensors]'" in capsys.readouterr().err


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_who_may_read_the_file_is_the_users_choice(tmp_path, mask):
    write(tmp_path, TINY)
    before = os.umask(mask)
    try:
        export.export(str(tmp_path), str(tmp_path / "out.safetensors"))
    finally:
        os.umask(before)
    mode = (tmp_path / "out.safetensors").stat().st_mode
    assert mode & 0o777 == 0o666 & ~mask
