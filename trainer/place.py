"""Place: where a run computes, and how its images lie in memory.

On a GPU the host only queues work: nothing here waits for what was queued, but
`Place.finish` and the reading of a number that `Place.fetch` has begun to copy.  What
only a GPU can do is in this file and nowhere else in the trainer.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from collectives import Communicator, InvalidArgument, gpu
from trainer import agree
from trainer.settings import Settings

Batch = tuple[Tensor, Tensor]  # images (n, 3, size, size) and labels (n,)


@dataclass(frozen=True)
class Place:
    """The device of a rank, and whether the channels of a pixel lie together."""

    device: torch.device = torch.device("cpu")
    channels_last: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def memory_format(self) -> torch.memory_format:
        """Order of the elements of images, and of the filters that see them."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def hold(self, network: nn.Module) -> nn.Module:
        """Have the network here; return it."""
        return network.to(self.device, memory_format=self.memory_format)

    def put(self, images: Tensor, labels: Tensor) -> Batch:
        """Return a batch here; from pinned memory the copy is only queued."""
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        return images.contiguous(memory_format=self.memory_format), labels

    def index(self, rows: Tensor) -> Tensor:
        """Return row numbers here, without waiting for what is queued."""
        rows = rows.pin_memory() if self.on_gpu else rows
        return rows.to(self.device, non_blocking=True)

    def put_ahead(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches here, the next one always under way.

            copying stream   batch 1 |--> batch 2 |--> batch 3
            this stream              `-> update 1 |  `-> update 2

        A copy ends before the stream that is current where the batch is taken goes on,
        and its memory is not used again before that stream is done with it.
        """
        if not self.on_gpu:
            yield from (self.put(*batch) for batch in batches)
            return
        copying = torch.cuda.Stream(self.device)
        waiting: list[tuple[Batch, torch.cuda.Event]] = []
        for batch in batches:
            with torch.cuda.stream(copying):
                waiting.append((self.put(*batch), copying.record_event()))
            if len(waiting) > 1:
                yield taken(*waiting.pop(0))
        if waiting:
            yield taken(*waiting.pop(0))

    def fetch(self, numbers: Tensor) -> Callable[[], Any]:
        """Begin to copy a number, or a vector, to the host; the call waits for it.

        It waits for what was queued before, and not for what is queued later.
        """
        if not self.on_gpu:
            value = numbers.tolist()
            return lambda: value
        copy = numbers.detach().to("cpu", non_blocking=True)
        event = torch.cuda.Event(blocking=True)  # the host sleeps, it does not spin
        event.record(torch.cuda.current_stream(self.device))

        def read() -> Any:
            event.synchronize()
            return copy.tolist()

        return read

    def finish(self) -> None:
        """Wait until everything that was queued on the current stream is done."""
        if self.on_gpu:
            torch.cuda.current_stream(self.device).synchronize()

    def describe(self) -> str:
        """Name the device for the first lines of a run."""
        if not self.on_gpu:
            return "cpu"
        name = torch.cuda.get_device_name(self.device)
        return f"{self.device} ({name}, torch {torch.__version__})"


def taken(batch: Batch, copied: Any) -> Batch:
    """Have the current stream wait for a batch, and own its memory too."""
    current = torch.cuda.current_stream(batch[0].device)
    current.wait_event(copied)
    for tensor in batch:
        tensor.record_stream(current)
    return batch


def settle(
    comm: Communicator, settings: Settings, mine: gpu.Claim | None
) -> tuple[Communicator, Place]:
    """Return the place of this rank, and the communicator to use there.

    ``mine`` is what `gpu.claim` chose before MPI began, if it was called.  How device
    arrays travel is fixed when a communicator is made, so a run on GPUs gets another.

    Raises:
        InvalidArgument: on all ranks, if one has no GPU that torch and CuPy can use.
    """
    if settings.device == "cpu" or settings.dry_run:
        return comm, Place(channels_last=settings.channels_last)
    device = choose(comm, mine, share=settings.share_gpu)
    comm.close()
    comm = Communicator(gpu_transport=settings.gpu_transport, overlap=settings.overlap)
    return comm, Place(device, settings.channels_last)


def choose(comm: Any, mine: gpu.Claim | None, *, share: bool) -> torch.device:
    """Return this rank's GPU, the current one of torch and CuPy from now on.

    Raises:
        InvalidArgument: on all ranks, if one has no GPU that torch and CuPy can use.
    """
    agree.together(comm, check_torch)
    number = gpu.settle(mine or gpu.claim(), comm, share=share)
    agree.together(comm, lambda: check_seen(number))
    torch.cuda.set_device(number)
    torch.backends.cudnn.benchmark = True  # images have few sizes
    return torch.device("cuda", number)


def check_torch() -> None:
    """Refuse a torch that knows no GPU.

    Raises:
        InvalidArgument: saying so.
    """
    if torch.version.cuda is None:
        raise InvalidArgument(
            f"--device cuda: torch {torch.__version__} is built without CUDA; install "
            "a build with CUDA, or use --device cpu"
        )


def check_seen(number: int) -> None:
    """Refuse where torch does not see the GPU that CuPy sees.

    Raises:
        InvalidArgument: saying so.
    """
    seen = torch.cuda.device_count()
    if number >= seen:
        raise InvalidArgument(
            f"--device cuda: torch {torch.__version__} (CUDA {torch.version.cuda}) "
            f"sees {seen} GPUs, CuPy sees GPU {number} too; install builds that the "
            "driver supports, or use --device cpu"
        )
