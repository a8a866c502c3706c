"""Train by a recipe: ``mpirun -np 8 python -m trainer.run --recipe goyal2017 ...``.

Rank 0 reads the command line and the others get the result, so an error is told once.
Whatever can be checked is checked before data is read; what fails on one rank until
then ends all ranks with exit code 2.  Later, an exception on any rank ends the job.

Exit codes: 0 done; 1 exception; 2 usage; 75 stopped by a signal, checkpoint saved.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

from collectives.errors import InvalidArgument
from trainer.interrupt import (
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Interrupt,
    abort_on_exception,
)

LAUNCHED_RANK = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
TEXT_FLAGS = ("-h", "--help", "--print_config")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if any(flag.split("=")[0] in TEXT_FLAGS for flag in argv):
        return show_text(argv)
    abort_on_exception()
    interrupt = Interrupt()
    interrupt.watch()
    from collectives import Communicator
    from trainer.start import prepare

    comm = Communicator()
    try:
        run = prepare(comm, argv, interrupt)
    except InvalidArgument as error:
        if comm.rank == 0:
            print(f"trainer.run: {error}", file=sys.stderr, flush=True)
        comm.close()
        return EXIT_USAGE
    code = 0 if run is None else execute(run)
    comm.close()
    return code


def show_text(argv: Sequence[str]) -> int:
    """Print the help or the configuration, once and without MPI."""
    from trainer import settings

    if (
        next((os.environ[name] for name in LAUNCHED_RANK if name in os.environ), "0")
        != "0"
    ):
        return 0
    try:
        settings.make_parser(argv).parse_args(list(argv))
    except InvalidArgument as error:
        print(f"trainer.run: {error}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def execute(run: Any) -> int:
    """Train, and tell the result in one line; return the exit code."""
    from trainer import loop

    finished = loop.train(run)
    recorder, reducer = run.recorder, run.reducer
    if not finished:
        recorder.line("interrupted; go on with --resume auto")
        recorder.close()
        return EXIT_INTERRUPTED
    speed = run.images / run.seconds if run.seconds else 0.0
    recorder.event(
        "final",
        epoch=run.epoch,
        step=run.step,
        images_per_s=speed,
        train_s=run.seconds,
        allreduce_s=reducer.allreduce_s,
        waited_s=reducer.waited_s,
        **run.result,
    )
    recorder.line(
        f"final top1={run.result['top1']:.2f}% loss={run.result['loss']:.4f} "
        f"images/s={speed:.1f} allreduce={reducer.allreduce_s:.2f}s"
    )
    recorder.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
