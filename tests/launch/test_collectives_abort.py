"""An uncaught exception on some ranks ends all of them, and is told once."""

import pytest
from launcher import embedded, openmpi

PROGRAM = """
import threading
from collectives import abort_on_exception
abort_on_exception(one_line=(ArithmeticError,))
from mpi4py import MPI
def fail():
    if where == "line":
        raise ZeroDivisionError("the divisor\\nis zero")
    raise ValueError("oops" * int(sys.argv[2]))
failing, where = eval(sys.argv[1]), sys.argv[3]
if MPI.COMM_WORLD.rank in failing:
    if where == "thread":
        threading.Thread(target=fail).start()
        time.sleep(60)
    elif where == "exit":
        thread = threading.Thread(target=sys.exit, args=(3,))
        thread.start()
        thread.join()
    fail()
MPI.COMM_WORLD.Barrier()
"""
FAILURES = [
    ((1,), 1, "main"),
    ((1,), 1, "thread"),
    ((2,), 1, "exit"),
    ((0, 1, 2), 1, "main"),
    ((1,), 100_000, "main"),  # more than a pipe holds
]


@pytest.mark.parametrize(("ranks", "length", "where"), FAILURES)
@pytest.mark.parametrize("launcher", [embedded, openmpi])
def test_all_ranks_end_and_one_traceback_is_whole(launcher, ranks, length, where):
    done = launcher().run(3, PROGRAM, ranks, length, where)
    assert done.status == 1, done.text[-2000:]
    assert done.text.count("Traceback (most recent call last)") == 1, done.text[-2000:]
    assert f"rank {ranks[0]} of 3: Traceback" in done.text
    assert f"ValueError: {'oops' * length}\n" in done.text
    assert done.seconds < 30


@pytest.mark.parametrize("ranks", [(0, 1, 2), (1,)])
@pytest.mark.parametrize("launcher", [embedded, openmpi])
def test_of_a_chosen_kind_one_line_is_told(launcher, ranks):
    done = launcher().run(3, PROGRAM, ranks, 1, "line")
    assert done.status == 1, done.text
    assert f"rank {ranks[0]} of 3: the divisor is zero\n" in done.text
    assert done.text.count("divisor") == 1 and "Traceback" not in done.text
    assert done.seconds < 30
