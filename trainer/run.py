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

from collectives import (
    CollectiveError,
    Communicator,
    InvalidArgument,
    abort_on_exception,
    gpu,
)
from trainer import agree, packages
from trainer.interrupt import EXIT_INTERRUPTED, EXIT_USAGE, Interrupt

RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
TEXT_FLAGS = ("-h", "--help", "--print_config")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if any(flag.split("=")[0] in TEXT_FLAGS for flag in argv):
        return show_text(argv)
    abort_on_exception()
    interrupt = Interrupt()
    interrupt.watch()
    problem = packages.missing(*packages.TRAINING)
    mine = None if problem else claimed(argv)
    try:
        comm = Communicator()
    except CollectiveError as error:  # on all ranks, such as a bad COLLECTIVES_NODES
        return refuse(error, rank=launched_rank())
    try:
        agree.together(comm, lambda: packages.check(problem))
        from trainer import place, start

        chosen = start.agree_on(comm, argv)
        comm, here = place.settle(comm, chosen, mine)
        run = start.prepare(comm, chosen, here, interrupt)
    except InvalidArgument as error:
        comm.close()
        return refuse(error, rank=comm.rank)
    code = 0 if run is None else execute(run)
    for part in [] if run is None else run.spans.values():
        part.close()
    comm.close()
    return code


def claimed(argv: Sequence[str]) -> gpu.Claim | None:
    """Choose a GPU if one is asked for: some MPI libraries want to know it early."""
    from trainer import settings

    return gpu.claim() if settings.may_use_gpu(argv) else None


def show_text(argv: Sequence[str]) -> int:
    """Print the help or the configuration, once and without MPI."""
    if launched_rank() != 0:
        return 0
    try:
        packages.check(packages.missing(*packages.TRAINING))
        from trainer import settings

        settings.read(settings.make_parser(argv), argv)
    except InvalidArgument as error:
        return refuse(error, rank=0)
    return 0


def refuse(error: Exception, *, rank: int) -> int:
    """Have rank 0 tell the mistake in one line; return the exit code."""
    if rank == 0:
        print(f"trainer.run: {error}", file=sys.stderr, flush=True)
    return EXIT_USAGE


def launched_rank() -> int:
    """Return the rank that the launcher set in the environment; 0 without one."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0)


def execute(run: Any) -> int:
    """Train, and tell the result in one line; return the exit code."""
    from trainer import loop, update
    from trainer.dataset import UnreadableImage

    abort_on_exception(one_line=(UnreadableImage, update.Diverged))
    recorder = run.recorder
    try:
        finished = loop.train(run)
        if finished:
            if run.epoch < run.settings.recipe.epochs:
                most = run.settings.max_steps
                recorder.line(f"stopped by --max-steps {most}; --resume auto goes on")
            tell_result(run)
        else:
            recorder.line("interrupted; go on with --resume auto")
        run.trace.write()
    finally:
        recorder.close()
    return 0 if finished else EXIT_INTERRUPTED


def tell_result(run: Any) -> None:
    """Tell which ranks were slow, and how the run has ended; all ranks together."""
    from trainer import evaluate

    if run.comm.size > 1 and run.updates:
        report = run.stragglers.report()
        run.recorder.event("stragglers", step=run.step, **report)
    reducer, result = run.reducer, run.result
    speed = run.images / run.seconds if run.seconds else 0.0
    run.recorder.event(
        "final",
        epoch=run.epoch,
        step=run.step,
        images_per_s=speed,
        train_s=run.seconds,
        allreduce_s=reducer.allreduce_s,
        waited_s=reducer.waited_s,
        **run.precision.told(),
        **result,
        **evaluate.median(run),
    )


if __name__ == "__main__":
    sys.exit(main())
