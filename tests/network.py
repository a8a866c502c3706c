"""An in-memory network for executors: messages complete in any order, as in MPI.

Nothing is buffered: what arrives is what the sender's memory holds at that moment, so
an executor that touches memory of an unfinished request is found out.
"""

from collections import defaultdict, deque

from collectives.scratch import Scratch


class Network:
    """Messages between ``size`` ranks, completed when ``random`` says so."""

    def __init__(self, random):
        self.random = random
        self.posted = defaultdict(lambda: (deque(), deque()))  # sends, receives
        self.unfinished = 0

    def point(self, rank):
        return Point(self, rank)

    def post(self, key, side, data):
        request = Request(self, key, data)
        self.posted[key][side].append(request)
        self.unfinished += 1
        return request


class Point:
    """One rank's end of the network."""

    def __init__(self, network, rank):
        self.network, self.rank, self.scratch = network, rank, Scratch()

    def isend(self, data, dst, tag):
        return self.network.post((self.rank, dst, tag), 0, data)

    def irecv(self, data, src, tag):
        return self.network.post((src, self.rank, tag), 1, data)


class Request:
    """A message on its way; both sides may notice its end at different times."""

    def __init__(self, network, key, data):
        self.network, self.key, self.data, self.complete = network, key, data, False

    def Test(self):  # noqa: N802 - MPI's name
        network = self.network
        if not self.complete and network.random.random() < 0.5:
            sends, receives = network.posted[self.key]
            if sends and receives:
                send, receive = sends.popleft(), receives.popleft()
                receive.data[: send.data.size] = send.data
                send.complete = receive.complete = True
        if self.complete and network.random.random() < 0.5:
            network.unfinished -= 1
            return True
        return False


def run(executions, random, most=20000):
    """Advance the executions in a random order until all have ended."""
    running = [iter(execution) for execution in executions]
    for _ in range(most):
        if not running:
            return
        chosen = random.choice(running)
        if next(chosen, None) is None:
            running.remove(chosen)
    raise AssertionError("the executions wait for each other for ever")
