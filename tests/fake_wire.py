"""Messages as a GPU sees them: MPI touches memory until they are complete."""

import types


class Watched:
    """Messages of page-locked memory; ``gpu`` notes who touches it when."""

    what = "MPI, in page-locked memory"

    def __init__(self, point, gpu):
        self.point, self.gpu, self.rank = point, gpu, point.rank

    def isend(self, data, dst, tag):
        return self.begun(self.point.isend, data, dst, tag, write=False)

    def irecv(self, data, src, tag):
        return self.begun(self.point.irecv, data, src, tag, write=True)

    def begun(self, start, data, peer, tag, *, write):
        where, host = self.seen(data)

        def touch():
            self.gpu.by_host(*where, write=write, what=self.what)

        def test():
            done = request.Test()
            touch()
            return done

        touch()
        request = start(host, peer, tag)
        return types.SimpleNamespace(Test=test)

    def seen(self, data):
        """Return which bytes MPI touches, and the array that it is given."""
        array, at = self.gpu.find(data.ctypes.data)
        return (id(array), at, at + data.nbytes), data


class Aware(Watched):
    """Messages of an MPI that takes device memory, and knows of no streams."""

    what = "MPI, in device memory"

    def seen(self, data):
        return data.span(), data.bytes()
