import re

import pytest
from launcher import embedded, openmpi

KILLED = """
import signal
from collectives import Communicator, RankFailed
from collectives.executor import Execution
comm = Communicator(timeout_s=30)
x = np.ones(100_000)
comm.allreduce(x, algorithm=sys.argv[1])
def die(*ignored):
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
if comm.rank == 1 and sys.argv[2] == "before":
    die()
if comm.rank == 1:
    Execution.apply = die
begin = time.monotonic()
for attempt in (1, 2):
    try:
        for _ in range(3):
            comm.iallreduce(x, algorithm=sys.argv[1]).wait()
        say("rank", comm.rank, "went through")
    except RankFailed as error:
        say("rank", comm.rank, "attempt", attempt, "after",
            round(time.monotonic() - begin, 1), error)
sys.stdout.flush()
os._exit(0)  # MPI_Finalize would wait for the dead
"""


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("ring", "before"),
        ("ring", "within"),
        ("torus2d", "within"),
        ("native", "before"),
    ],
)
def test_survivors_of_a_killed_rank_raise_rank_failed(name, when):
    done = openmpi().run(4, KILLED, name, when, options=("--with-ft", "ulfm"))
    lines = re.findall(r"rank (\d) attempt (\d) after ([\d.]+) (.*)", done.text)
    expected = [(rank, attempt) for rank in "023" for attempt in "12"]
    assert sorted(line[:2] for line in lines) == expected, done.text
    for _, _, seconds, text in lines:
        assert float(seconds) < 15
        assert "allreduce(count=100000" in text and "has died" in text
    assert any("rank 1 has died" in text for *_, text in lines)


WRONG_NODES = """
from collectives import Communicator, UnsupportedTopology
try:
    Communicator()
except UnsupportedTopology as error:
    say(error)
"""


def test_nodes_that_do_not_fit_the_ranks_are_one_clear_error_on_all():
    done = embedded().run(3, WRONG_NODES, COLLECTIVES_NODES="2x2")
    assert done.status == 0, done.text
    line = (
        "COLLECTIVES_NODES='2x2': expected NODESxLOCAL like 4x2, or a list of node "
        "sizes like 3,2,1, adding up to 3 ranks"
    )
    assert done.text.splitlines() == [line] * 3


TRACED = """
from collectives import Communicator
with Communicator() as comm:
    comm.allreduce(np.ones(3), algorithm="ring")
    comm.broadcast_object({})
"""


def test_debugging_traces_every_call_of_every_rank():
    done = embedded().run(2, TRACED, COLLECTIVES_DEBUG="1")
    assert done.status == 0, done.text
    for rank in (0, 1):
        called = f"rank {rank} operation 2: allreduce(count=3, dtype=float64, op=sum, "
        assert called in done.text
        assert f"rank {rank} operation 3: broadcast_object(root=0)" in done.text
    assert embedded().run(2, TRACED).text == ""
