import pytest
from launcher import embedded, openmpi

LEVELS = ["single", "funneled", "serialized", "multiple"]

PROGRAM = """
import threading
import mpi4py
mpi4py.rc.thread_level = sys.argv[1]
from mpi4py import MPI
from collectives import Communicator, algorithms
names = algorithms.names()
with Communicator(timeout_s=30) as comm:
    total = comm.size * (comm.size + 1) // 2
    for overlap in (False, True):
        works = []
        for i in range(12):
            x = np.full(1000 + i, comm.rank + 1.0)
            works.append(comm.iallreduce(x, algorithm=names[i % len(names)]))
            if overlap:
                while not (works[-1].test() or i % 3):
                    pass
                blocking = comm.allreduce(np.array([comm.rank + 1]))
                assert blocking[0] == total
        assert all((w.wait() == total).all() for w in reversed(works))
    beside = [t.name for t in threading.enumerate()[1:]]
    say("level", MPI.Query_thread() == MPI.THREAD_MULTIPLE, beside)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_started_collectives_are_right_under_every_thread_level(level):
    done = embedded().run(2, PROGRAM, level)
    assert done.status == 0, done.text
    multiple = level == "multiple"
    beside = ["collectives"] if multiple else []
    assert done.text.splitlines() == [f"level {multiple} {beside}"] * 2


@pytest.mark.parametrize("level", LEVELS)
def test_open_mpi_agrees_under_every_thread_level(level):
    done = openmpi().run(2, PROGRAM, level)
    assert done.status == 0, done.text


IDLE = """
from mpi4py import MPI
from collectives import Communicator
comm = Communicator(timeout_s=30)
work = comm.iallreduce(np.ones(1 << 18), algorithm="ring")
if sys.argv[1] == "wait":
    work.wait()
if sys.argv[1] == "raise":
    raise SystemExit(7)
say("leaves")
"""


@pytest.mark.parametrize("how", ["wait", "leave", "raise"])
def test_a_program_that_ends_without_close_ends(how):
    done = embedded().run(2, IDLE, how, timeout_s=40)
    assert done.status == (7 if how == "raise" else 0), done.text
