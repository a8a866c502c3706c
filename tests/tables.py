"""A tuned table for tests: from 4097 bytes the ring, below the MPI library's own."""

from collectives import Choice
from collectives.tuned import Line, Table

SHORT, LONG = {"native": 5.0, "ring": 50.0}, {"native": 90.0, "ring depth=8": 60.0}


def line(low, high, name, times, *, dtype="float32", registered=False):
    measured = {n: {Choice.parse(c): us for c, us in at.items()} for n, at in times}
    return Line("allreduce", dtype, registered, low, high, Choice.parse(name), measured)


LINES = (
    line(0, 4096, "native", [(4, SHORT), (1024, SHORT)]),
    line(4097, 1 << 20, "ring depth=8", [(1 << 16, LONG | {"tree": 70.0})]),
    line(0, 64, "tree", [(4, {"tree": 1.0})], dtype="half"),
    line(0, 64, "torus2d", [(4, {"torus2d": 1.0})], registered=True),
)


def table(layout="1x4", lines=LINES, **about):
    fields = {"mpi": "An MPI 1.0", "cpu": "a processor", "command": "", "date": ""}
    return Table(layout=layout, lines=tuple(lines), **fields | about)
