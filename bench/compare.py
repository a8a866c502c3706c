"""Compare trainers: ours, torch's DDP, and no communication, in one run.

    mpirun -np 2 python -m bench.compare --trainer ours,ddp-gloo,none --steps 12
    python -m bench.compare --device cuda --precision bfloat16 --channels-last

The contenders train the same model on the same images, a block of updates each in turn;
every round another one begins.  The losses of ours must be those of DDP.  On the host
each update is timed.  On a GPU a whole block is, from the moment when the device has
nothing left to do until it has nothing left again: within a block the host queues
updates ahead of the device, as in a real training, and nobody looks at a loss.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from collectives import Communicator, InvalidArgument, gpu

from . import compare_report as report
from .baselines import NotSupported
from .command import check_writable, launched
from .compare_options import Options, parse
from .measure import turns
from .options import TIMEOUT_S

NAME = "python -m bench.compare"


class Result(NamedTuple):
    """What `run` returns: the circumstances, and the rows, alike on all ranks."""

    meta: dict[str, Any]
    rows: list[report.Row]


def run(
    options: Options, mpi_comm: Any = None, *, command: Sequence[str] = ()
) -> Result:
    """Train on all ranks of an mpi4py communicator (COMM_WORLD).

    Raises:
        InvalidArgument: on all ranks, if a contender cannot take part.
    """
    claim = gpu.claim() if options.device == "cuda" else None
    from mpi4py import MPI

    from trainer.cores import use_cores
    from trainer.memory import keep_freed

    from . import meta, training

    mpi = (MPI.COMM_WORLD if mpi_comm is None else mpi_comm).Dup()
    with ExitStack() as stack:
        comm = stack.enter_context(opened(options, mpi))
        use_cores(comm)
        keep_freed()
        place = training.place(options, comm, claim)
        try:
            contenders = training.gather(options, comm, mpi, stack, place)
        except NotSupported as error:
            raise InvalidArgument(f"--trainer {error}") from error
        batches = training.Batches(options, mpi.rank, mpi.size, place)
        records = race(contenders, batches, options, mpi, place)
        about = meta.describe(options, comm.topology.describe(), {}, command)
        what = "blocks, of an update's mean time" if place.on_gpu else "updates"
        about["time"] = f"median over {what}, of the slowest rank's time"
        about["training"] = training.describe(options)
        about = mpi.bcast(about)  # clocks differ
    mpi.Free()
    return Result(about, report.rows(records, options.batch))


def opened(options: Options, mpi: Any) -> Communicator:
    """Return the communicator of the reducers."""
    return Communicator(
        mpi,
        timeout_s=TIMEOUT_S,
        gpu_transport=options.gpu_transport,
        overlap=options.overlap,
    )


def race(
    contenders: Mapping[str, Any], batches: Any, options: Options, mpi: Any, place: Any
) -> dict[str, report.Record]:
    """Train in turn; return what all ranks have measured, alike on all of them."""
    mine: dict[str, list[list[float]]] = {name: [[], [], []] for name in contenders}
    names = list(contenders)
    block = options.warmup + options.steps
    span = options.steps if place.on_gpu else 1  # updates that are timed together
    for i in range(options.rounds):
        for j in turns(len(names), i):
            contender, (seconds, waited, losses) = contenders[names[j]], mine[names[j]]
            ahead = batches[i * block : (i + 1) * block]
            readings = [contender.update(*ahead[k]) for k in range(options.warmup)]
            mpi.Barrier()
            for k in range(options.warmup, block, span):
                place.finish()
                still, before = contender.waited_s(), time.perf_counter()
                readings += [contender.update(*batch) for batch in ahead[k : k + span]]
                place.finish()
                seconds.append((time.perf_counter() - before) / span)
                waited.append((contender.waited_s() - still) / span)
            losses += [read() for read in readings]
    return {
        name: report.Record(*(np.array(mpi.allgather(series)) for series in found))
        for name, found in mine.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code.

    0: all is well.  1: ours does not train as DDP.  2: it cannot be obeyed.
    """
    return launched(NAME, parse, carry_out, arguments)


def carry_out(options: Options, command: list[str], world: Any) -> int:
    """Train, show, and write the file; return the exit code."""
    check_writable(world, options.json)
    about, rows = run(options, world, command=command)
    if world.rank == 0:
        print(report.table(about, rows, options.tolerance), flush=True)
        if options.json:
            report.write_json(options.json, about, rows)
    return 1 if report.beyond(rows, options.tolerance) else 0


if __name__ == "__main__":
    raise SystemExit(main())
