"""Device: what this GPU, and its path to the wire, can do, and what we make of it.

    mpirun -np 2 python -m bench.device --json device.json

`bench.device_memory` compares our kernels with a copy in the GPU's memory,
`bench.device_paths` what is sent between GPUs with the links it goes through.  All
ranks measure at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from collectives import Communicator, InvalidArgument, gpu, usage

from . import device_memory, device_paths, files
from . import device_report as report
from .allreduce import silent
from .command import check_writable, launched
from .options import TIMEOUT_S, parse_sizes
from .options import Options as Repetitions
from .place import Gpu

NAME = "python -m bench.device"


@dataclass(frozen=True)
class Options:
    """Sizes in bytes, repetitions, and where results go."""

    memory_sizes: tuple[int, ...] = (64 << 20, 256 << 20)
    path_sizes: tuple[int, ...] = (16 << 20, 64 << 20, 256 << 20)
    iters: int = 20
    warmup: int = 3
    share_gpu: bool = False
    json: str | None = None
    device: str = field(default="cuda", init=False)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InvalidArgument: one is out of range.
        """
        for name, least in (("iters", 1), ("warmup", 0)):
            if getattr(self, name) < least:
                raise InvalidArgument(
                    f"--{name} {getattr(self, name)}: expected at least {least}"
                )
        for name in ("memory_sizes", "path_sizes"):
            if any(n < 4 or n % 4 for n in getattr(self, name)):
                raise InvalidArgument(
                    f"--{name.replace('_', '-')}: expected multiples of 4 bytes, from 4"
                )

    @property
    def repetitions(self) -> Repetitions:
        """What a race of `bench.measure` goes by."""
        return Repetitions((), iters=self.iters, warmup=self.warmup, check=False)


def run(
    options: Options,
    mpi_comm: Any = None,
    *,
    command: Sequence[str] = (),
    show: Callable[[str], None] = silent,
) -> tuple[dict[str, Any], list[report.Rate]]:
    """Measure on all ranks of an mpi4py communicator; return meta data and rates.

    They are alike on all ranks.  ``show`` is called with the parts of the table.

    Raises:
        InvalidArgument: a rank has no GPU of its own, where sharing is not allowed.
    """
    claim = gpu.claim()
    from mpi4py import MPI

    from . import meta

    mpi = (MPI.COMM_WORLD if mpi_comm is None else mpi_comm).Dup()
    with Communicator(mpi, timeout_s=TIMEOUT_S, gpu_transport="staged") as comm:
        gpu.settle(claim, comm, options.share_gpu)
        about = meta.describe(options, comm.topology.describe(), {}, command)
        about["time"] = report.TIME
        about = mpi.bcast(about)  # clocks differ
        show(report.header(about))
        rates = []
        for found in measured(options, comm, mpi):
            rates += found
            show(report.lines(found))
    mpi.Free()
    return about, rates


def measured(
    options: Options, comm: Communicator, mpi: Any
) -> Iterator[list[report.Rate]]:
    """Yield the rates of one part and size after the other."""
    place, often = Gpu(mpi), options.repetitions
    for nbytes in options.memory_sizes:
        for dtype in device_memory.DTYPES:
            yield device_memory.rates(dtype, nbytes, often, mpi, place)
    for nbytes in options.path_sizes:
        yield device_paths.rates(nbytes, often, comm, mpi, place)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 2 if it cannot be obeyed."""
    return launched(NAME, parse, carry_out, arguments)


def carry_out(options: Options, command: list[str], world: Any) -> int:
    """Measure, show, and write the file."""
    check_writable(world, options.json)
    show = partial(print, flush=True) if world.rank == 0 else silent
    about, rates = run(options, world, command=command, show=show)
    if world.rank == 0 and options.json:
        files.write_json(options.json, about, rates)
    return 0


def parse(arguments: list[str]) -> Options:
    """Read the command line.

    Raises:
        InvalidArgument: it has a mistake.
        SystemExit: it asks for help.
    """
    return Options(**vars(parser().parse_args(arguments)))


def parser() -> usage.Parser:
    """Return the parser of the command line."""
    result = usage.Parser(
        prog=NAME,
        description="Measure a GPU, its path to the wire, and our share of both.",
        allow_abbrev=False,
    )
    add = result.add_argument
    sizes = partial(add, type=parse_sizes, metavar="S,T,...")
    sizes(
        "--memory-sizes",
        default=Options.memory_sizes,
        help="bytes of the arrays that kernels work on (64M,256M)",
    )
    sizes(
        "--path-sizes",
        default=Options.path_sizes,
        help="bytes to copy and to send (16M,64M,256M)",
    )
    add("-n", "--iters", type=int, default=Options.iters, help="timed turns (20)")
    add("-w", "--warmup", type=int, default=Options.warmup, help="before them (3)")
    add("--share-gpu", action="store_true", help="let several ranks have the same GPU")
    add("--json", metavar="FILE", help="write everything measured")
    return result


if __name__ == "__main__":
    raise SystemExit(main())
