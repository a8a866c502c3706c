"""Write a host file: ``python -m mpi_hosts.generate --shape 128x8 --format mpich``.

    openmpi    ``node0 slots=8``          mpirun --hostfile FILE
    mpich      ``node0:8``                mpiexec -f FILE
    rankfile   ``rank 0=node0 slot=0``    mpirun --map-by rankfile:file=FILE
    slurm      one host name a rank       SLURM_HOSTFILE=FILE srun -m arbitrary

All formats place ranks in blocks, node after node.  Needs neither MPI nor NumPy.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

from .layout import Node, name_nodes, pack_rows, parse_grid, parse_shape, place_ranks
from .systems import SYSTEMS, System

PLACEHOLDERS = "Host names are placeholders: put those of your machine in their place."

UNEQUAL = " --map-by slot --bind-to none"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the host file that the command line asks for; exit 2 if it is wrong."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        text = generate(
            options.format,
            system=SYSTEMS[options.system] if options.system else None,
            shape=options.shape,
            prefix=options.prefix,
            grid=options.grid,
        )
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(text)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        "python -m mpi_hosts.generate", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--shape", help="nodes x slots (128x8), or each node's (4,4,2)")
    what.add_argument("--system", choices=SYSTEMS, help="a published cluster")
    parser.add_argument("--format", choices=FORMATS, default="openmpi")
    parser.add_argument("--prefix", help="how host names start (default: node)")
    parser.add_argument(
        "--grid", help="X x Y, X ranks a row (64x34): orders unequal nodes by rows"
    )
    return parser


def generate(
    form: str,
    *,
    system: System | None = None,
    shape: str | None = None,
    prefix: str | None = None,
    grid: str | None = None,
) -> str:
    """Return the text of the host file of a ``system``, or of a ``shape``.

    Raises:
        ValueError: a shape, grid or prefix that makes no sense, or a format that
            needs a number of slots where the launcher is to count them.
    """
    if system:
        if prefix is not None:
            raise ValueError(f"--prefix: {system.name} has host names; use --shape")
        nodes = system.nodes()
        if not system.slots and (grid or form in ("rankfile", "slurm")):
            raise ValueError(
                f"--system {system.name}: the launcher counts its slots; say how many "
                "with --shape, like --shape 1x2"
            )
    else:
        sizes = parse_shape(shape or "")
        nodes = name_nodes(sizes, "node" if prefix is None else prefix)
    row = parse_grid(grid, sum(node.slots for node in nodes)) if grid else 0
    if row:
        nodes = pack_rows(nodes, row)
    # Slurm documents no comment for this file, so it gets none.
    lines = [] if form == "slurm" else header(form, system, nodes, grid)
    return "\n".join([*lines, *FORMATS[form](nodes)]) + "\n"


def header(
    form: str, system: System | None, nodes: Sequence[Node], grid: str | None
) -> list[str]:
    """Return the comment lines: what machine, how many ranks, how to launch."""
    ranks = sum(node.slots for node in nodes)
    lines = list(system.notes) if system else []
    if ranks:
        lines += [f"{describe(nodes)} = {ranks} ranks, in blocks", PLACEHOLDERS]
    if grid:
        lines += [f"Rows of the grid {grid} lie inside nodes as far as possible."]
    lines += ["", *launch_lines(form, system, nodes)]
    return [f"# {line}".rstrip() for line in lines]


def describe(nodes: Sequence[Node]) -> str:
    """Write ``128 nodes x 8 slots``, or the number of nodes and their slots' range."""
    sizes = sorted({node.slots for node in nodes})
    slots = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"{len(nodes)} nodes x {slots} slots"


def launch_lines(form: str, system: System | None, nodes: Sequence[Node]) -> list[str]:
    """Return the commands that start all ranks on this file, 2 if it counts none."""
    file = f"mpi_hosts/{system.name}.hosts" if system else "HOSTS"
    ranks = sum(node.slots for node in nodes) or 2
    program = f"-n {ranks} python -m trainer.run"
    if form == "rankfile":
        return [
            f"Open MPI  mpirun --hostfile {file} --map-by rankfile:file=FILE {program}",
            f"where {file} is the same layout in the format openmpi.",
        ]
    if form == "mpich":
        return [f"MPICH     mpiexec -f FILE {program}"]
    lines = [f"Open MPI  mpirun --hostfile {file}{mapping(nodes)} {program}"]
    if system and system.slots:
        lines += [
            "MPICH reads another form:",
            f"  python -m mpi_hosts.generate --format mpich --system {system.name} "
            "> FILE",
            f"  mpiexec -f FILE {program}",
        ]
    elif system:
        lines += [f"MPICH     mpiexec -f {file} {program}"]
    return lines


def mapping(nodes: Sequence[Node]) -> str:
    """Return the flags with which Open MPI fills node after node."""
    sizes = {node.slots for node in nodes}
    # ppr binds a rank to a NUMA domain.  The default for slot, and for two ranks, is
    # one core, which the threads and data workers of the rank would share.
    if sizes == {0}:
        return " --bind-to none"
    return f" --map-by ppr:{max(sizes)}:node" if len(sizes) == 1 else UNEQUAL


def openmpi(nodes: Sequence[Node]) -> Iterator[str]:
    """Write Open MPI's host file."""
    for host, slots in nodes:
        yield f"{host} slots={slots}" if slots else host


def mpich(nodes: Sequence[Node]) -> Iterator[str]:
    """Write the host file of MPICH's Hydra."""
    for host, slots in nodes:
        yield f"{host}:{slots}" if slots else host


def rankfile(nodes: Sequence[Node]) -> Iterator[str]:
    """Write Open MPI's rank file; ``slot`` is the core a rank is bound to."""
    for rank, (host, place) in enumerate(place_ranks(nodes)):
        yield f"rank {rank}={host} slot={place}"


def slurm(nodes: Sequence[Node]) -> Iterator[str]:
    """Write the host of each rank, for Slurm's arbitrary distribution."""
    for host, _ in place_ranks(nodes):
        yield host


FORMATS: dict[str, Callable[[Sequence[Node]], Iterator[str]]] = {
    write.__name__: write for write in (openmpi, mpich, rankfile, slurm)
}

if __name__ == "__main__":
    main()
