"""A stand-in for a GPU, whose memory becomes valid only when its stream gets there.

What is put on a stream does not happen at once: `Gpu.run` lets streams go on in a
random order, a little at a time, as far as events allow.  Every access to memory, by a
stream, by the host, or by MPI on behalf of the host, has to be ordered after the writes
it needs, and writes after all accesses before: by the order of a stream, by an event
that another stream waits for, or by an event that the host has seen.  `Race` tells
otherwise, whether or not this run would have got the right bytes.

The bookkeeping is that of a race detector: who does something has a clock, a count for
each party; an event carries a clock to whom waits for it.
"""

import ctypes
import random
import threading
import time
import weakref
from itertools import count

HOST = 0  # the party that is no stream
NO_DEVICE, NOT_READY, ILLEGAL_ADDRESS = 100, 600, 700
ERRORS = {
    NO_DEVICE: "cudaErrorNoDevice",
    NOT_READY: "cudaErrorNotReady",
    ILLEGAL_ADDRESS: "cudaErrorIllegalAddress",
}


class Race(AssertionError):
    """Two accesses to the same bytes that nothing orders."""


class Gpu:
    """One device: its streams, what is waiting on them, and who may touch what."""

    def __init__(self, seed=0, *, lazy=0.5):
        self.random, self.lazy = random.Random(seed), lazy
        self.lock = threading.RLock()
        self.numbers = count(1)
        self.streams = []
        self.host = {}  # the host's clock
        self.touched = {}  # base address: list of accesses
        self.pinned = {}  # address: array
        self.memories = weakref.WeakSet()
        self.error = 0  # CUDA's, with which everything fails from then on
        self.pool = {}  # stream, bytes: what was allocated there and dropped
        self.default = Stream(self)

    def at(self, address, size, dtype):
        """Return the elements that a pointer means."""
        for memory in self.memories:
            start = address - memory.address
            if 0 <= start < max(1, memory.bytes.nbytes):
                return memory.array(start, size, dtype)
        raise AssertionError(f"{address:#x} is not in device memory")

    def find(self, address):
        """Return the pinned memory that a pointer means, and where in it."""
        address = address.value if isinstance(address, ctypes.c_void_p) else address
        for start, array in self.pinned.items():
            if start <= address < start + array.nbytes:
                return array, address - start
        raise AssertionError(f"{address:#x} is not in pinned memory")

    def run(self):
        """Let some streams go on."""
        with self.lock:
            for stream in self.random.sample(self.streams, len(self.streams)):
                while stream.queue and self.random.random() < self.lazy:
                    if not stream.step():
                        break

    def finish(self, stream):
        """Let all go on until a stream is empty."""
        with self.lock:
            while stream.queue:
                if not any([other.step() for other in self.streams]):
                    raise AssertionError("the streams wait for each other for ever")

    def access(self, who, clock, memory, start, stop, *, write, what):
        """Note an access of bytes; raise if an earlier one is not ordered before it."""
        if start == stop:
            return
        accesses = self.touched.setdefault(memory, [])
        mine = clock.get(who, 0)
        for party, when, first, last, wrote, how in accesses:
            if first >= stop or start >= last or not (write or wrote):
                continue
            if clock.get(party, 0) < when:
                raise Race(
                    f"{what} of bytes {start} to {stop} by {name(who)} is not ordered "
                    f"after {how} of bytes {first} to {last} by {name(party)}"
                )
        if write:  # ordered after all it overlaps: those say nothing more
            accesses[:] = [
                a for a in accesses if a[2] < start or a[3] > stop or a[3] <= start
            ]
        accesses.append((who, mine, start, stop, write, what))

    def by_host(self, memory, start, stop, *, write, what):
        """Note an access by the host, now."""
        with self.lock:
            self.host[HOST] = self.host.get(HOST, 0) + 1
            self.access(HOST, self.host, memory, start, stop, write=write, what=what)


def name(who):
    return "the host" if who == HOST else f"stream {who}"


def merge(clock, other):
    for party, when in other.items():
        clock[party] = max(clock.get(party, 0), when)


class Current(threading.local):
    """A thread's current streams, as CuPy keeps account of them: by device.

    ``use()`` changes the current one only; the end of a ``with`` goes back to the
    innermost that is still open, or to the default, whatever was current before.
    """

    def __init__(self):
        self.stream, self.entered, self.devices = {}, {}, []


class Stream:
    """Operations in order; each begins when those before have ended."""

    current = Current()

    def __init__(self, gpu=None, *, non_blocking=False):
        self.gpu = gpu or Gpu.made
        self.number = next(self.gpu.numbers)
        self.queue, self.clock = [], {}
        self.ptr, self.device = self.number, Device().id
        with self.gpu.lock:
            self.gpu.streams.append(self)

    def put(self, do, accesses=(), waits=None):
        """Queue ``do()``; it happens when `step` gets there."""
        check_status(self.gpu.error)
        with self.gpu.lock:
            self.queue.append((do, tuple(accesses), dict(self.gpu.host), waits))
        self.gpu.run()

    def step(self):
        """Do the next operation; say whether one was done."""
        if not self.queue:
            return False
        do, accesses, since, waits = self.queue[0]
        if waits is not None and not waits.reached:
            return False
        del self.queue[0]
        merge(self.clock, since)  # what the host had seen when it queued this
        if waits is not None:
            merge(self.clock, waits.clock)
        self.clock[self.number] = self.clock.get(self.number, 0) + 1
        for memory, start, stop, write, what in accesses:
            self.gpu.access(
                self.number, self.clock, memory, start, stop, write=write, what=what
            )
        do()
        return True

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        mark = event.mark
        if mark is not None:
            self.put(lambda: None, waits=mark)

    @property
    def done(self):
        self.gpu.run()
        with self.gpu.lock:
            if self.queue:
                return False
            merge(self.gpu.host, self.clock)
            return True

    def synchronize(self):
        self.gpu.finish(self)
        merge(self.gpu.host, self.clock)

    def use(self):
        if self.device != Device().id and self is not self.gpu.default:
            raise RuntimeError(f"a stream of {self.device} used on {Device().id}")
        Stream.current.stream[Device().id] = self
        return self

    def __enter__(self):
        self.use()
        Stream.current.devices.append(Device().id)
        Stream.current.entered.setdefault(Device().id, []).append(self)
        return self

    def __exit__(self, *exc):
        number = Stream.current.devices.pop()
        entered = Stream.current.entered[number]
        entered.pop()
        Stream.current.stream[number] = entered[-1] if entered else None


class Mark:
    """A place in a stream: whether the stream has passed it, and its clock there."""

    def __init__(self):
        self.reached, self.clock, self.when = False, {}, 0.0


class Event:
    """What streams and the host wait for."""

    made = weakref.WeakValueDictionary()  # by address

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.mark, self.timing, self.gpu = None, not disable_timing, Gpu.made
        self.ptr = id(self)
        Event.made[self.ptr] = self

    def record(self, stream=None):
        stream = stream or get_current_stream()
        self.gpu, mark = stream.gpu, Mark()
        self.mark = mark

        def reach():
            mark.reached, mark.clock = True, dict(stream.clock)
            mark.when = time.perf_counter()

        stream.put(reach)

    def status(self):
        if self.gpu.error:
            return self.gpu.error
        if self.mark is None:
            return 0
        self.gpu.run()
        with self.gpu.lock:
            if self.mark.reached:
                merge(self.gpu.host, self.mark.clock)
            return 0 if self.mark.reached else NOT_READY


class CUDARuntimeError(RuntimeError):
    """What CuPy raises of a status."""

    def __init__(self, status):
        self.status = status
        super().__init__(f"{ERRORS[status]}: so CUDA says")


def check_status(status):
    if status:
        raise CUDARuntimeError(status)


def event_query(address):
    """Return the status of an event; CuPy does not raise here."""
    return Event.made[address].status()


def get_elapsed_time(start, end):
    """Return the milliseconds between two events that have come."""
    assert start.timing and end.timing and start.mark.reached and end.mark.reached
    return (end.mark.when - start.mark.when) * 1e3


class Device:
    """One of the process's GPUs, which are all alike here; a thread begins on 0."""

    current = threading.local()

    def __init__(self, id=None):
        self.id = getattr(Device.current, "id", 0) if id is None else id
        self.pci_bus_id, self.entered = f"0000:{self.id:02x}:00.0", []

    def use(self):
        Device.current.id = self.id

    def __enter__(self):
        self.entered.append(Device())
        self.use()
        return self

    def __exit__(self, *exc):
        self.entered.pop().use()


def get_current_stream(device_id=None):
    number = Device().id if device_id is None else device_id
    return Stream.current.stream.get(number) or Gpu.made.default
