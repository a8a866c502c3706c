"""Endpoint: this rank's end of a communicator, on which operations run.

Three private duplicates of the MPI communicator keep apart what must not meet: data,
the agreement on every operation, and alarms.
"""

import logging
import os
import time
from collections.abc import Callable, Generator
from numbers import Integral
from typing import Any

import numpy as np

from . import device, select
from .agreement import Agreement
from .arrays import DType
from .device_side import DeviceSide
from .errors import CollectiveError, InvalidArgument, RankFailed, Stalled
from .executor import Execution
from .machine import Machine
from .patience import Patience
from .plan import DEVICE, HOST, Plan, plan_for
from .topology import Topology
from .tuned import Found
from .watch import Report, Watch

log = logging.getLogger("collectives")

ABANDONED: list["Endpoint"] = []  # their memory may still be written by MPI

KEPT = 256  # kinds of calls whose plans are kept

Operation = Generator[int, None, Any]  # yields how far it is, whenever it can only wait


class Recent(dict[Any, Any]):
    """A dict that forgets its oldest entry when it holds ``most``."""

    def __init__(self, most: int) -> None:
        """Begin empty."""
        super().__init__()
        self.most = most

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep an entry."""
        if len(self) >= self.most:
            del self[next(iter(self))]
        super().__setitem__(key, value)


class Endpoint:
    """What the operations of one communicator share."""

    def __init__(
        self,
        parent: Any,
        topology: Topology,
        timeout_s: float,
        machine: Machine,
        gpu_transport: str,
        overlap: str,
    ) -> None:
        """Duplicate ``parent`` for private use."""
        from .transports.mpi import Library, PointToPoint, adds, dead, failed

        self.passing = PointToPoint
        self.mpi, control, alarm = (parent.Dup() for _ in range(3))
        self.private = (self.mpi, control, alarm)
        self.rank: int = self.mpi.rank
        self.size: int = self.mpi.size
        self.topology, self.timeout_s, self.machine = topology, timeout_s, machine
        self.tuned = Found(None, "")
        self.adds, self.failed, self.dead = adds, failed, dead
        self.point, self.library = PointToPoint(self.mpi), Library(self.mpi)
        self.shared: Any = None  # the engine of the node
        self.device = DeviceSide(self, gpu_transport, overlap)
        self.alone = False  # all ranks are on it
        self.agreement = Agreement(control, self.heed)
        self.watch = Watch(alarm, self.report, timeout_s)
        self.running: Execution | None = None
        self.doing = "nothing"
        self.broken: CollectiveError | None = None
        self.told: set[str] = set()
        self.planned: dict[Any, Any] = Recent(KEPT)
        self.quick: dict[Any, Any] = Recent(KEPT)
        self.debug = bool(os.environ.get("COLLECTIVES_DEBUG"))
        self.ended = time.monotonic()  # the last operation

    def share(self) -> None:
        """Share the memory of the node; the ranks have agreed on the topology."""
        from .transports.shm import share

        self.shared = share(self.mpi, self.topology)
        self.alone = self.shared is not None and len(self.topology.nodes) == 1
        self.agreement.board = self.shared.board if self.alone else None

    def steps(self, x: Any, operation: Any, result: list[Any]) -> Any:
        """Return the steps of an operation on ``x``, in order with its device's work.

        Called on the caller's thread; ``result`` receives what it returns.
        """
        if type(x) is np.ndarray or not device.on_device(x):
            return self.guarded(operation, result)
        return self.device.steps(x, operation, result)

    def guarded(self, operation: Any, result: list[Any]) -> Operation:
        """Run an operation; remember what leaves the communicator unusable."""
        if self.broken is not None:
            text = f"{self.broken}\n  this communicator cannot be used since then"
            raise type(self.broken)(text) from self.broken
        try:
            result.append((yield from operation))
        except CollectiveError:  # all ranks have agreed on it, and go on
            raise
        except Exception as error:
            raise self.abandon(error) from error
        except BaseException as error:  # interrupted, or dropped when it had stalled
            self.abandon(error)
            raise
        finally:
            self.doing, self.ended = "nothing", time.monotonic()

    def abandon(self, error: BaseException) -> CollectiveError:
        """Refuse all that follows, and say why; keep the memory that MPI still uses."""
        if self.broken is not None:
            return self.broken
        ABANDONED.append(self)
        self.device.abort()
        if isinstance(error, Stalled | RankFailed):
            self.broken = error
        elif self.failed(error):
            who = self.dead(self.mpi)
            self.broken = RankFailed(f"{self.doing}: {who} has died: {error}")
            for mpi in self.private:  # so that all that wait for each other notice
                mpi.Revoke()
        else:
            self.broken = CollectiveError(
                f"{self.doing}: rank {self.rank} left it unfinished: {error!r}; the "
                "communicator cannot be used any more"
            )
            if isinstance(error, Exception):
                self.watch.leave(repr(error))
        return self.broken

    def patience(self, background: bool) -> Patience:
        """Return how to wait, on the caller's or on a background thread."""
        return Patience(self.timeout_s, background=background, alarm=self.alarm)

    def alarm(self, late: bool) -> None:
        """Look for an alarm; an operation that stalled is not taken up again."""
        try:
            self.watch(late)
        except Exception as error:
            broken = self.abandon(error)
            if broken is error:
                raise
            raise broken from error

    def report(self) -> Report:
        """Tell what this rank does, for the report of a stall."""
        running = self.running
        where = running.position() if running else "waits for all ranks to begin"
        return Report(self.agreement.number, self.doing, where)

    def agree(self, signature: str, error: CollectiveError | None = None) -> Operation:
        """Wait until all ranks have come to the same operation."""
        self.begin(signature)
        yield from self.agreement.reach(signature, error)

    def begin(self, signature: str) -> None:
        """Note what this rank does from now on."""
        self.doing = signature
        if self.debug:
            number = self.agreement.number + 1
            log.warning("rank %d operation %d: %s", self.rank, number, signature)

    def heed(self) -> None:
        """Look for an alarm if this rank has come so late that it was given up."""
        if time.monotonic() - self.ended > self.timeout_s:
            for _ in range(100):  # MPI may need several calls to take messages in
                self.alarm(False)

    def agreed(self, name: str, prepare: Callable[[], tuple[str, Any]]) -> Any:
        """Prepare; agree with all ranks on the signature, or on the error raised."""
        signature, prepared = yield from self.prepared(name, prepare)
        yield from self.agree(f"{name}({signature})")
        return prepared

    def prepared(self, name: str, prepare: Callable[[], Any]) -> Any:
        """Prepare; what it raises is raised on all ranks."""
        try:
            return prepare()
        except CollectiveError as error:
            yield from self.agree(name, type(error)(f"{name}: {error}"))
            raise
        except Exception as error:  # alone this rank would leave the others waiting
            text = f"{name}: {type(error).__name__}: {error}"
            yield from self.agree(name, InvalidArgument(text))
            raise

    def execute(
        self,
        plan: Plan,
        data: Any,
        dtype: DType,
        op: str = "sum",
        wire: DType | None = None,
        source: Any = None,
    ) -> Operation:
        """Run a plan on flat storage ``data``; the input may lie in ``source``."""
        point, engine = self.point, self.library if plan.native else self.shared
        if not isinstance(data, np.ndarray):
            point, engine = self.device.messages, self.device.engine
        self.running = Execution(
            plan, data, dtype, op, point, wire=wire, source=source, engine=engine
        )
        yield from self.running
        self.running = None

    def plan(
        self,
        algorithm: str,
        operation: str,
        count: int,
        dtype: DType,
        root: int | None = None,
        *,
        host: bool = True,
        segment: int | None = None,
        depth: int | None = None,
    ) -> Plan:
        """Return the plan of one operation of an algorithm module.

        ``host``: for arrays in the host's memory.
        """
        engine = self.library if algorithm == select.NATIVE else self.shared
        if not host:
            engine = self.device.engine if self.device.joins(dtype) else None
        plan = plan_for(
            self.topology,
            self.rank,
            algorithm,
            operation,
            count,
            dtype.itemsize,
            root,
            () if engine is None else engine.kinds,
            segment=segment,
            depth=depth,
            usual=HOST if host else DEVICE,
        )
        return plan if host else self.device.in_turn(plan)

    def empty(self, nbytes: int) -> np.ndarray:
        """Return new bytes, registered if the node has shared memory for them."""
        memory = None if self.shared is None else self.shared.memory.empty(nbytes)
        return np.empty(nbytes, np.uint8) if memory is None else memory

    def close(self) -> None:
        """Free what was allocated; all ranks call it."""
        if self.shared is not None:
            self.shared.close()
        try:
            self.device.close()
        except Exception:
            ABANDONED.append(self)  # the GPU may still use what is ours
            raise
        finally:
            for mpi in self.private:
                mpi.Free()

    def check_root(self, root: int) -> None:
        """Check that ``root`` is a rank.

        Raises:
            InvalidArgument: it is not.
        """
        if not isinstance(root, Integral) or not 0 <= root < self.size:
            raise InvalidArgument(
                f"root={root!r}: expected a rank, 0 .. {self.size - 1}"
            )

    def tell(self, text: str) -> None:
        """Log once, on rank 0, what was chosen."""
        if self.rank == 0 and text not in self.told:
            self.told.add(text)
            log.info(text)
