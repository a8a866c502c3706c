"""Training on a GPU, which ranks may share."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("jsonargparse")

import torch

from collectives import Communicator, InvalidArgument, gpu
from trainer import checkpoint, update
from trainer.data import synthetic
from trainer.interrupt import Interrupt
from trainer.loader import load
from trainer.place import Place, settle
from trainer.recipe import PRECISIONS, Images
from trainer.run import execute
from trainer.sampler import Sampler
from trainer.settings import parse
from trainer.start import prepare

pytestmark = [pytest.mark.mpi, pytest.mark.filterwarnings("ignore")]

TINY = [
    "--data", "synthetic", "--model.width", "8", "--model.blocks", "[1,1]",
    "--model.classes", "10", "--images.size", "32",
    "--batch.per_worker", "16", "--log-every", "1", "--algorithm", "ring",
    "--lr.warmup_epochs", "0",
]  # fmt: skip
CPU = Place()


@pytest.fixture(scope="module")
def on_gpu(comm, cp):
    device = torch.device("cuda", cp.cuda.Device().id)
    torch.cuda.set_device(device)
    return Place(device)


@pytest.fixture
def output(comm, tmp_path):
    """Return a directory that all ranks know."""
    return Path(comm.broadcast_object(str(tmp_path)))


def begin(comm, place, output, *flags):
    settings = parse([*TINY, "--output", str(output), *flags])
    place = Place(place.device, settings.channels_last)
    return prepare(comm, settings, place, Interrupt())


def trained(comm, place, output, *flags, steps=6):
    run = begin(comm, place, output, *flags, "--max-steps", str(steps))
    assert execute(run) == 0
    comm.barrier()
    return run


def losses(output):
    lines = (output / "metrics.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    return [event["loss"] for event in events if event["event"] == "step"]


def every_rank_has_the_same(comm, run):
    weights = torch.cat([p.detach().flatten() for p in run.model.parameters()])
    everyone = comm.allgather(weights.cpu().numpy())
    return all((row == everyone[0]).all() for row in everyone)


def test_a_gpu_trains_as_the_host_does(comm, on_gpu, output):
    trained(comm, CPU, output / "cpu")
    run = trained(comm, on_gpu, output / "cuda")
    assert all(parameter.is_cuda for parameter in run.model.parameters())
    assert losses(output / "cuda") == pytest.approx(losses(output / "cpu"), rel=0.02)
    assert run.result["loss"] > 0


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("memory", [(), ("--channels-last",)], ids=["nchw", "nhwc"])
def test_all_ranks_have_the_same_bits(comm, on_gpu, output, precision, memory):
    trained(comm, on_gpu, output / "float32")
    flags = "--precision", precision, *memory
    run = trained(comm, on_gpu, output / "other", *flags)
    assert every_rank_has_the_same(comm, run)
    plain = losses(output / "float32")
    assert losses(output / "other") == pytest.approx(plain, rel=0.05)


def test_what_overflows_on_one_rank_is_skipped_on_all(comm, on_gpu, output):
    run = begin(comm, on_gpu, output, "--precision", "float16", "--max-steps", "4")
    if comm.rank == comm.size - 1:
        weight, seen = run.model.fc.weight, []

        def spoil(gradient):
            seen.append(1)
            return gradient * (float("inf") if len(seen) == 2 else 1)

        weight.register_hook(spoil)
    assert execute(run) == 0
    assert (run.precision.skipped, run.precision.scale) == (1, 32768)
    assert every_rank_has_the_same(comm, run)
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stopped_run_continues(comm, on_gpu, output, precision):
    flags = "--precision", precision
    trained(comm, on_gpu, output / "whole", *flags, steps=6)
    trained(comm, on_gpu, output / "parts", *flags, steps=3)
    run = trained(comm, on_gpu, output / "parts", *flags, "--resume", "auto", steps=3)
    assert run.step == 6 and every_rank_has_the_same(comm, run)
    whole = losses(output / "whole")
    assert losses(output / "parts") == pytest.approx(whole, rel=0.02)


def test_a_checkpoint_of_a_gpu_goes_on_without_one(comm, on_gpu, output):
    trained(comm, on_gpu, output, "--precision", "float16", steps=3)
    content = torch.load(checkpoint.find(str(output), "auto"), weights_only=True)
    tensors = [*content["model"].values(), content["buffers"]]
    averages = content["optimizer"]["state"].values()
    tensors += [own["momentum_buffer"] for own in averages]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    comm.barrier()
    run = trained(comm, CPU, output, "--resume", "auto", steps=1)
    assert run.step == 4
    run = trained(comm, on_gpu, output, "--channels-last", "--resume", "auto", steps=1)
    assert run.step == 5 and every_rank_has_the_same(comm, run)


def test_a_compiled_model_trains_alike(comm, on_gpu, output):
    if importlib.util.find_spec("triton") is None:
        pytest.skip("no Triton")
    trained(comm, on_gpu, output / "plain", steps=3)
    run = trained(comm, on_gpu, output / "compiled", "--compile", steps=3)
    plain = losses(output / "plain")
    assert losses(output / "compiled") == pytest.approx(plain, rel=0.02)
    assert every_rank_has_the_same(comm, run)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_update_waits_for_nothing_but_its_loss(
    comm, on_gpu, output, monkeypatch, precision
):
    make, made = update.make, []

    def strict(run, microbatches):
        made.append(1)
        torch.cuda.set_sync_debug_mode("error" if len(made) > 3 else "default")
        try:
            return make(run, microbatches)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(update, "make", strict)
    trained(comm, on_gpu, output, "--precision", precision)
    assert len(made) == 6


def test_a_number_is_read_as_it_was_when_it_was_fetched(on_gpu):
    for i in range(10):
        number = torch.full((), float(i), device=on_gpu.device)
        slow = torch.ones(2000, 2000, device=on_gpu.device)
        for _ in range(5):
            slow = slow @ slow * 1e-4
        number += slow.mean() * 0
        read = on_gpu.fetch(number)
        number.fill_(-1.0)
        assert read() == i
    on_gpu.finish()
    assert torch.cuda.current_stream(on_gpu.device).query()


@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_are_there_when_they_are_used(on_gpu, channels_last):
    place = Place(on_gpu.device, channels_last)
    batches = [
        (torch.full((64, 3, 64, 64), float(i)), torch.full((64,), i)) for i in range(9)
    ]
    pinned = [tuple(tensor.pin_memory() for tensor in batch) for batch in batches]
    sums = []
    for images, labels in place.put_ahead(pinned):
        assert images.is_contiguous(memory_format=place.memory_format)
        work = images
        for _ in range(10):
            work = work * 1.0
        sums.append((work.mean(), labels.sum()))
        del images, labels, work
    assert [(float(a), int(b)) for a, b in sums] == [(i, 64 * i) for i in range(9)]


def test_a_pool_on_the_gpu_gives_the_images_that_were_asked_for(on_gpu):
    images = Images(size=16, resize=16)
    data = synthetic.load(None, train=True, images=images, classes=10, seed=1)
    sampler = Sampler(len(data), rank=0, size=1, per_worker=7, seed=1)
    sampler.start(epoch=0, samples_seen=sampler.usable - 14)
    batches = list(load(data, sampler, workers=0, place=on_gpu))
    for keys, (found, labels) in zip(sampler, batches, strict=True):
        items = [data[key] for key in keys]
        assert torch.equal(found.cpu(), torch.stack([image for image, _ in items]))
        assert labels.tolist() == [label for _, label in items]


def test_a_run_finds_its_gpu_and_a_communicator_for_it(mpi, on_gpu):
    flags = "--device", "cuda", "--share-gpu", "--overlap", "off"
    other, place = settle(Communicator(timeout_s=60.0), parse(list(flags)), gpu.claim())
    assert place.on_gpu and "cuda:" in place.describe()
    x = torch.ones(1000, device=place.device)
    assert (other.allreduce(x) == other.size).all()
    other.close()


def test_a_gpu_that_would_be_shared_is_refused_on_all_ranks(comm, on_gpu):
    if comm.size <= torch.cuda.device_count():
        pytest.skip("there are GPUs enough")
    with pytest.raises(InvalidArgument, match="--share-gpu"):
        settle(Communicator(timeout_s=60.0), parse(["--device", "cuda"]), gpu.claim())
