"""Communicator: the collectives, on an MPI communicator.

    with Communicator() as comm:
        total = comm.allreduce(array)                  # a new array
        comm.allreduce(array, out=array, op="mean")    # in place
        work = comm.iallreduce(array)                  # total = work.wait()

Every rank makes the same calls in the same order.  Arrays are of NumPy, CuPy or torch,
or objects with a buffer; results are of the same kind.  Those on a GPU are results for
the stream that is the current one where they are taken, by the call or by ``wait()``.
"""

from typing import Any

import numpy as np

from . import allreduce, objects, operations, quick, tuned
from .agreement import digest
from .allreduce import Kind, at_once, together
from .arrays import dtype_named
from .device_side import checked
from .endpoint import Endpoint, Operation
from .errors import CollectiveError, InvalidArgument
from .explain import explain
from .layout import arranged
from .machine import Machine
from .once import on_rank_0
from .patience import limit
from .persistent import PersistentAllreduce
from .select import Call, known
from .topology import Topology
from .work import Lane, Work

ONE = 1.0  # the default is known by its identity


class Communicator:
    """Collectives over the ranks of an MPI communicator.

    ``mpi_comm`` is an mpi4py communicator (COMM_WORLD), of which private duplicates are
    made.  ``topology`` tells the nodes; by default MPI is asked, unless the environment
    variable ``COLLECTIVES_NODES`` (``4x2``; ``3,2,1``) pretends.  ``grid=(X, Y)`` lays
    the grid of the torus.  An operation that makes no progress for ``timeout_s``
    seconds raises `Stalled` on all ranks that wait, and names the missing ones; of
    ``math.inf`` seconds, never.  Rank 0's ``timeout_s`` counts.

    ``algorithm="auto"`` goes by a table of `bench.tune`, and where that has no line by
    ``machine``, which describes the links: a `Machine`, a preset or a JSON file.
    ``tuned`` is the table's path, or ``"off"``; by default that is the environment
    variable ``COLLECTIVES_TUNED``, or the user's cache is searched.  Files are read by
    rank 0, whose arguments count.

    ``gpu_transport`` says how device arrays travel: ``device`` hands them to MPI,
    ``staged`` copies them through host memory, ``auto`` takes ``device`` only where the
    MPI library of all ranks says that it takes device memory.  ``overlap`` says what
    goes on while NCCL is at work within nodes: messages that are ``staged``, messages
    of ``device`` memory too, where the libraries allow it, or nothing (``off``).  Rank
    0's arguments count here, too.

    Raises:
        UnsupportedTopology: topology or grid do not hold the ranks.
        InvalidArgument: a file that was asked for is missing or garbage, an argument is
            not one of its choices, or ``mpi_comm`` is no communicator.
    """

    def __init__(
        self,
        mpi_comm: Any = None,
        *,
        topology: Topology | None = None,
        grid: tuple[int, int] | None = None,
        timeout_s: float = 300.0,
        machine: Machine | str = "host",
        tuned: str | None = None,
        gpu_transport: str = "auto",
        overlap: str = "staged",
    ) -> None:
        """Duplicate the communicator and find out how its ranks lie on nodes."""
        from mpi4py import MPI

        parent = MPI.COMM_WORLD if mpi_comm is None else mpi_comm
        if not isinstance(parent, MPI.Intracomm):
            raise InvalidArgument(
                f"mpi_comm: got {type(parent).__name__}; expected an mpi4py "
                "communicator, or none for COMM_WORLD"
            )
        topology = arranged(parent, topology, grid)
        paths = gpu_transport, overlap
        machine, found, paths, timeout_s = on_rank_0(
            parent,
            lambda: (
                *known(machine, tuned, topology),
                checked(*paths),
                limit(timeout_s),
            ),
        )
        self._end = Endpoint(parent, topology, timeout_s, machine, *paths)
        self._end.tuned, self._tuned = found, tuned
        self.rank: int = parent.rank
        self.size: int = parent.size
        self.topology = topology
        threaded = MPI.Query_thread() == MPI.THREAD_MULTIPLE
        self._lane = Lane(self._end.patience, threaded)
        where = f"{topology.describe()}, layout {digest(repr(topology)):014x}"
        self._block(self._end.agree(f"Communicator({where})"))
        self._end.share()
        self._end.tell(topology.describe())
        self._end.tell(found.note)

    def allreduce(
        self,
        x: Any,
        op: str = "sum",
        *,
        out: Any = None,
        algorithm: str = "auto",
        prescale: float = ONE,
        postscale: float = ONE,
        wire: str | None = None,
        deterministic: bool = False,
    ) -> Any:
        """Combine ``x`` of all ranks, element by element; all ranks get the same bits.

        ``op`` is sum, mean, prod, min or max.  ``out``, of the count and dtype of
        ``x``, receives the result, and may be ``x`` itself; by default it is a new
        array.  The input is multiplied by ``prescale``, the result by ``postscale``.
        ``wire`` sends floating-point elements as another type, float16, bfloat16 or
        float32; partial sums are kept in the wider of the two.  With ``deterministic``
        elements are added in rank order: the bits depend on data and number of ranks
        only.

        Raises:
            UnsupportedArray: the array's kind, type or layout cannot be used.
            ShapeMismatch: the ranks passed different counts, types or arguments.
            InvalidArgument: an argument is not one of its choices.
            Stalled: some ranks do not come, or do not answer.
            RankFailed: another rank died, and the MPI library could tell.
        """
        if prescale is postscale is ONE and wire is None and deterministic is False:
            found = quick.known(self._end, x, op, out, algorithm)
            if found is not None:
                out, kind, flat, goal = found
                self._together(kind, flat, goal)
                return out
        return self._block(
            allreduce.perform(
                self._end,
                x,
                op,
                out,
                algorithm=algorithm,
                prescale=prescale,
                postscale=postscale,
                wire=wire,
                deterministic=deterministic,
            ),
            x,
        )

    def iallreduce(
        self, x: Any, op: str = "sum", *, out: Any = None, **options: Any
    ) -> Work:
        """Start an `allreduce`, with its arguments; leave ``x`` alone until done.

        An error is raised by ``wait()``, and logged where nobody waits.
        """
        return self._start(allreduce.perform(self._end, x, op, out, **options), x)

    def reduce_scatter(
        self, x: Any, op: str = "sum", *, algorithm: str = "ring"
    ) -> Any:
        """Combine ``x`` of all ranks; rank ``r`` gets piece ``r`` of the flat result.

        The pieces have one dimension, and lengths within one, the longer ones first.
        ``algorithm="rank_order"`` adds in rank order.
        """
        return self._block(operations.reduce_scatter(self._end, x, op, algorithm), x)

    def allgather(self, x: Any, *, algorithm: str = "ring") -> Any:
        """Return the ``x`` of all ranks, alike in shape, as ``(size, *x.shape)``."""
        return self._block(operations.allgather(self._end, x, algorithm), x)

    def reduce(
        self, x: Any, op: str = "sum", *, root: int = 0, algorithm: str = "tree"
    ) -> Any:
        """Combine ``x`` of all ranks; ``root`` gets the result, the others None."""
        return self._block(operations.reduce(self._end, x, op, root, algorithm), x)

    def broadcast(self, x: Any, *, root: int = 0, algorithm: str = "tree") -> Any:
        """Overwrite ``x`` with that of ``root``; return it."""
        return self._block(operations.broadcast(self._end, x, root, algorithm), x)

    def alltoall(self, x: Any) -> Any:
        """Send ``x[r]`` to rank ``r``; return what came, ``[r]`` from rank ``r``."""
        return self._block(operations.alltoall(self._end, x), x)

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        self._block(self._end.agree("barrier()"))

    def broadcast_object(self, value: Any, *, root: int = 0) -> Any:
        """Return ``root``'s object, pickled and unpickled, on all ranks."""
        return self._block(objects.broadcast_object(self._end, value, root))

    def gather_objects(self, value: Any, *, root: int = 0) -> list[Any] | None:
        """Return the objects of all ranks in a list on ``root``, else None."""
        gathered: list[Any] | None = self._block(
            objects.gather_objects(self._end, value, root)
        )
        return gathered

    def plan(self, x: Any, op: str = "sum", **options: Any) -> PersistentAllreduce:
        """Agree once on an in-place `allreduce` of ``x``, to run it many times."""
        return PersistentAllreduce(
            self._end, x, op, options, block=self._block, start=self._start
        )

    def empty(
        self,
        shape: int | tuple[int, ...],
        dtype: Any = np.float32,
        *,
        device: str = "cpu",
    ) -> Any:
        """Return a new array, registered with what moves it; uninitialised.

        All ranks call it together, with the same arguments.  On the ``cpu`` it is of
        NumPy, in memory that the node shares: where input and output of a call are
        registered with its communicator, on all ranks, neighbours read and write them
        directly, which saves copying.  Valid until MPI is finalised.  Where
        ``/dev/shm`` has no room, an ordinary array.  On ``cuda`` it is of CuPy, on the
        communicator's GPU: that of its first device array, or this thread's current
        one (`collectives.gpu` chooses it).

        Raises:
            ShapeMismatch: the ranks passed different arguments.
            InvalidArgument: no such device, or an array that cannot be.
            UnsupportedArray: CuPy is missing, or a GPU.
        """
        return self._block(operations.empty(self._end, shape, dtype, device))

    @property
    def shared_bytes(self) -> int:
        """Bytes of shared memory that this rank holds: slots, and registered arrays."""
        shared = self._end.shared
        return 0 if shared is None else int(shared.memory.nbytes)

    def explain(
        self, nbytes: int, dtype: str = "float32", registered: bool = False
    ) -> str:
        """Say which algorithm ``auto`` takes to sum, and what else it saw.

        ``nbytes`` of a ``dtype``; ``registered``: in memory of `empty`.

        Raises:
            InvalidArgument: a number below 0, or no type of ours.
        """
        end = self._end
        if not isinstance(nbytes, int) or nbytes < 0:
            raise InvalidArgument(f"nbytes {nbytes!r}: expected a number of bytes")
        native = end.adds(dtype_named(dtype), "sum")
        call = Call(nbytes, native, tuned.dtype_class(dtype), registered, end.alone)
        return explain(self.topology, call, end.machine, end.tuned)

    def split(self, color: int | None, key: int = 0) -> "Communicator | None":
        """Return a communicator of the ranks with the same color, ordered by key.

        Ranks that pass None get None; a color is a number from 0, below 2**31.
        """
        end = self._end
        part = self._block(operations.split(end, color, key))
        if part is None:
            return None
        nodes = part.allgather(str(self.topology.node_of[self.rank]))
        child = Communicator(
            part,
            topology=Topology.from_hosts(nodes),
            timeout_s=end.timeout_s,
            machine=end.machine,
            tuned=self._tuned,
            gpu_transport=end.device.transport,
            overlap=end.device.overlap,
        )
        part.Free()
        return child

    def close(self) -> None:
        """Finish what was started, and free what was duplicated; all ranks call it."""
        if self._lane.closed:
            return
        self._lane.refuse_callbacks()
        refused = False
        try:
            if self._end.broken is None:
                self._block(self._end.agree("close()"))
        except CollectiveError:
            refused = self._end.broken is None  # by all ranks: it stays open
            raise
        finally:
            if not refused:
                self._lane.close()
        if self._end.broken is None:
            self._end.close()

    def __enter__(self) -> "Communicator":
        """Return the communicator."""
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Close, unless an error is on its way: the others may not come to a close."""
        if error is None:
            self.close()

    def _together(self, kind: Kind, x: np.ndarray, out: np.ndarray) -> None:
        """Reduce flat ``x`` into ``out``, on one node."""
        end, lane = self._end, self._lane
        if not lane.free() or end.broken is not None:
            self._block(together(end, kind, x, out))
            return
        with lane.turn:
            try:
                rest = at_once(end, kind, x, out)
            except Exception as error:
                raise end.abandon(error) from error
            except BaseException as error:
                end.abandon(error)
                raise
            if rest is not None:
                lane.drive(end.guarded(rest, []))

    def _block(self, operation: Operation, x: Any = None) -> Any:
        result: list[Any] = []
        return self._lane.run(self._end.steps(x, operation, result), result)

    def _start(self, operation: Operation, x: Any = None) -> Work:
        result: list[Any] = []
        return self._lane.submit(self._end.steps(x, operation, result), result)
