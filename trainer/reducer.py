"""Sum gradients over the ranks while the backward pass still runs.

A hook on each parameter moves its complete gradient into a flat bucket, dividing it by
the number of ranks on the way; from then on it is a view of the bucket.  When a bucket
is complete and all earlier ones were started, its allreduce starts.  So all ranks start
the same buckets in the same order, whatever order their gradients arrive in.
``finish`` starts what is left (a parameter that took no part counts as zero) and
waits::

    reducer = Reducer(model.named_parameters(), comm)
    for images, labels in batches:
        reducer.zero_grad()
        loss(model(images), labels).backward()
        reducer.finish()
        optimizer.step()

After the first update the parameters are bucketed again, in the order in which their
gradients arrived on rank 0.  The gradients of a single rank are the mean already: it
has no hooks and no buckets, and autograd's own gradients are used as they are.

On a GPU nothing here waits for the device.  Hooks run where autograd queues the
backward pass; what an allreduce reads is ordered after what the stream that is current
there has been given, and the stream that is current in ``finish`` waits for what it
writes.  The times are the host's: of queueing, and of messages that it has to see.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from collectives import InvalidArgument, ShapeMismatch
from trainer import buckets, fusion
from trainer.agree import first_difference
from trainer.buckets import Bucket
from trainer.fields import Reduction
from trainer.trace import OFF, Off, Trace


class Reducer:
    """Mean of the gradients over all ranks of a communicator."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        comm: Any,
        **options: Any,
    ):
        """Attach to the trainable parameters; frozen ones are left alone.

        ``options`` are fields of `trainer.fields.Reduction`.

        Raises:
            InvalidArgument: no parameter is trainable, or one's dtype is not floating.
            ShapeMismatch: the ranks' parameters differ.
        """
        self.comm, self.reduction = comm, Reduction(**options)
        self.named = {n: p for n, p in named_parameters if p.requires_grad}
        self._check()
        self.share = 1 / comm.size  # of each rank in the mean
        self.waited_s = 0.0  # this thread stood still for communication
        self.allreduce_s = 0.0  # the communication thread was busy
        self.trace: Trace | Off = OFF  # gets each allreduce
        self._arrived: list[nn.Parameter] | None = []
        self._syncing = True
        self._views: dict[nn.Parameter, Tensor] = {}
        self._hooks: list[Any] = []
        self.order = list(reversed(self.named))  # names, as they lie in the buckets
        if comm.size == 1:
            return
        self._memory = buckets.allocate(comm, self.named.values())
        self._cut(self.order)
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._on_gradient)
            for parameter in self.named.values()
        ]

    def restore(self, order: list[str]) -> None:
        """Bucket again as a checkpoint did, and leave it at that."""
        self._arrived, self.order = None, order
        if self.comm.size > 1:
            self._cut(order)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Accumulate gradients of backward passes inside; communicate nothing."""
        self._syncing = False
        try:
            yield
        finally:
            self._syncing = True

    def zero_grad(self) -> None:
        """Forget all gradients; the next ones are copied into the buckets."""
        for parameter in self.named.values():
            parameter.grad = None

    def finish(self) -> None:
        """Start the buckets not yet started, and wait until all gradients are means."""
        if self.comm.size == 1:
            for parameter in self.named.values():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            return
        for bucket in self.buckets:
            if bucket.missing:  # no gradient, or one of an earlier microbatch
                for parameter in bucket.missing:
                    self._keep(parameter, self.share)
                bucket.missing.clear()
        self._start_complete()
        begin = perf_counter()
        for bucket in self.buckets:
            bucket.work.wait()
        self.waited_s += perf_counter() - begin
        self._account()
        if self._arrived is not None:
            self._bucket_as_arrived()
        self._reset()

    def close(self) -> None:
        """Detach from the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _check(self) -> None:
        if not self.named:
            raise InvalidArgument(
                "Reducer: no parameter has requires_grad; pass "
                "model.named_parameters() of a model that is trained"
            )
        for name, parameter in self.named.items():
            if parameter.dtype not in buckets.NUMPY_DTYPE:
                raise InvalidArgument(
                    f"Reducer: parameter {name} is {parameter.dtype}, expected one of "
                    f"{', '.join(map(str, buckets.NUMPY_DTYPE))}"
                )
        mine = [
            (name, tuple(p.shape), p.stride(), str(p.dtype))
            for name, p in self.named.items()
        ]
        everyone = self.comm.gather_objects(mine, root=0)
        problem = first_difference(everyone) if everyone is not None else None
        problem = self.comm.broadcast_object(problem, root=0)
        if problem:
            raise ShapeMismatch(
                "Reducer: the parameters (name, shape, strides, dtype) differ: "
                f"{problem}; build the same model on every rank, in the same memory "
                "format"
            )

    def _cut(self, order: list[str]) -> None:
        kept = {
            name: None if parameter.grad is None else parameter.grad.clone()
            for name, parameter in self.named.items()
        }
        self.order = order
        named = [(name, self.named[name]) for name in order]
        cuts = fusion.layout(
            [(buckets.nbytes(parameter), parameter.dtype) for _, parameter in named],
            first_nbytes=self.reduction.first_bucket_bytes,
            nbytes=self.reduction.bucket_bytes,
        )
        self.buckets: list[Bucket] = buckets.cut(
            self._memory, [[named[index] for index in cut] for cut in cuts]
        )
        self._bucket_of: dict[nn.Parameter, Bucket] = {}
        for bucket in self.buckets:
            nbytes = buckets.nbytes(bucket.flat)
            bucket.algorithm = fusion.algorithm(self.reduction, nbytes)
            for name, parameter, view in zip(
                bucket.names, bucket.parameters, buckets.views(bucket), strict=True
            ):
                self._bucket_of[parameter] = bucket
                self._views[parameter] = view
                if kept[name] is not None:
                    parameter.grad = view.copy_(kept[name])
        self._reset()

    def _reset(self) -> None:
        self._next = 0  # index of the first bucket not started
        self._times: list[list[float | None]] = []  # start and end of each bucket
        for bucket in self.buckets:
            bucket.work = None
            bucket.missing = set(bucket.parameters)

    def _on_gradient(self, parameter: nn.Parameter) -> None:
        bucket = self._bucket_of[parameter]
        if not self._syncing:
            self._keep(parameter)
            return
        if parameter not in bucket.missing:
            name = bucket.names[bucket.parameters.index(parameter)]
            raise RuntimeError(
                f"Reducer: parameter {name} got a second gradient before finish(); "
                "call finish() after each backward(), or wrap all but the last "
                "backward() of an update in `with reducer.no_sync():`"
            )
        self._keep(parameter, self.share)
        bucket.missing.discard(parameter)
        if self._arrived is not None:
            self._arrived.append(parameter)
        self._start_complete()

    def _keep(self, parameter: nn.Parameter, scale: float = 1.0) -> None:
        """Have the gradient in its bucket, and only there, multiplied by ``scale``.

        Autograd keeps a first gradient as it is: copying it while it is in the cache is
        cheaper than zeroing the bucket and having it added there.
        """
        view, gradient = self._views[parameter], parameter.grad
        if gradient is None:
            view.zero_()
        elif gradient is not view or scale != 1.0:
            torch.mul(gradient.detach(), scale, out=view)
        parameter.grad = view

    def _start_complete(self) -> None:
        while self._next < len(self.buckets) and not self.buckets[self._next].missing:
            bucket = self.buckets[self._next]
            self._next += 1
            times = [perf_counter(), None]
            self._times.append(times)
            bucket.work = self.comm.iallreduce(
                bucket.flat,
                op="sum",
                out=bucket.flat,
                algorithm=bucket.algorithm,
                wire=self.reduction.wire,
            )
            bucket.work.add_done_callback(
                lambda *_, times=times: times.__setitem__(1, perf_counter())
            )

    def _account(self) -> None:
        """Add up the time some bucket was under way; they are carried out in turn."""
        now = perf_counter()
        end = 0.0
        for index, (queued, done) in enumerate(self._times):
            if done is None:  # wait() may return before the callback has run
                done = now
            begin, end = max(queued, end), max(end, done)
            self.allreduce_s += max(0.0, end - begin)
            about = {"bytes": buckets.nbytes(self.buckets[index].flat)}
            self.trace.add(f"bucket {index}", begin, end, track="allreduce", **about)

    def _bucket_as_arrived(self) -> None:
        name_of = {parameter: name for name, parameter in self.named.items()}
        arrived = [name_of[parameter] for parameter in self._arrived]
        silent = [name for name in self.order if name not in set(arrived)]
        self._arrived = None
        self._cut(self.comm.broadcast_object(arrived + silent, root=0))
