"""Virtual workers on one number of ranks, then on another: the same training."""

import sys

import pytest
import torch

pytestmark = pytest.mark.timeout(300)  # each launch has its own deadline

# 6 workers: 2 ranks have 3 each, 3 ranks have 2, 4 ranks have 2, 2, 1 and 1
TRAIN = [
    sys.executable, "-m", "trainer.run", "--model.width", "4", "--model.blocks", "[1]",
    "--images.size", "16", "--epochs", "2",
    "--batch.per_worker", "16", "--optimizer.lr", "0.2", "--virtual-workers", "6",
]  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def run(call, mpiexec, ranks, output, *arguments):
    command = [mpiexec, "-n", ranks, *TRAIN, "--output", output, *arguments]
    code, text = call(command, timeout_s=120, **ONE_THREAD)
    assert code == 0 and "6 virtual workers" in text, text
    path = output / (output / "latest").read_text("utf-8")
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def results(mpiexec, tmp_path_factory):
    """Return the end of a run on 2 ranks, and a checkpoint in its second epoch."""
    from conftest import call

    whole, part = (tmp_path_factory.mktemp(name) for name in ("whole", "part"))
    end = run(call, mpiexec, 2, whole)
    middle = run(call, mpiexec, 2, part, "--max-steps", "20")
    return end, middle, part


def test_a_checkpoint_inside_an_epoch_has_a_row_for_each_worker(results):
    end, middle, _ = results
    assert middle["position"]["step"] == 20 and end["position"]["step"] == 28
    assert len(middle["buffers"]) == 6 and len(middle["buffers"].unique(dim=0)) == 6
    assert len(end["buffers"]) == 1  # pooled by the last evaluation


@pytest.mark.parametrize("ranks", [1, 3, 4])
def test_another_number_of_ranks_ends_a_run_as_the_first_would(
    launch, mpiexec, results, tmp_path, ranks
):
    end, middle, part = results
    other = run(launch, mpiexec, ranks, tmp_path, "--resume", part)
    assert other["position"] == end["position"] and other["ranks"] == ranks
    # sums of float32 in another order, through 8 updates
    for key, tensor in end["model"].items():
        if key.endswith("num_batches_tracked"):
            continue
        torch.testing.assert_close(other["model"][key], tensor, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other["buffers"], end["buffers"], rtol=1e-4, atol=1e-5)
    moved = [
        (end["model"][key] - middle["model"][key]).abs().max()
        for key in end["model"]
        if key.endswith(("weight", "bias"))
    ]
    assert max(moved) > 1e-3  # far more than the tolerance
