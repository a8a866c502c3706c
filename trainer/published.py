"""What a recipe's source published: figures to compare with, none of them a setting."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """The machine of the published run, as far as a time can be computed from it.

    ``compute_s`` are seconds of forward, backward and update for ``compute_images``
    images on one worker, without communication.
    """

    machine: str  # a preset of collectives.Machine
    algorithm: str  # of the gradients' allreduce
    compute_s: float
    compute_images: int
    source: str  # of these
    processor: str = ""  # one of layers.PROCESSORS; "": not known well enough
    grids: tuple[tuple[int, int], ...] = ()  # X x Y, where not the default
    rates: tuple[tuple[int, int], ...] = ()  # (workers, images/s), the base first


@dataclass(frozen=True)
class Published:
    """Accuracy, time and hardware of the source's own run, and what to beware of."""

    batch: str  # as printed, or in images
    workers: int = 0  # most at a time; 0: not known
    hardware: str = ""
    top1: str = ""  # percent of ImageNet's validation images
    median_of: int = 1  # last epochs of a run, whose median top1 is
    seconds: float | None = None  # of the whole run
    baseline: str = ""  # what the source's scaling efficiency refers to
    source: str = "paper"  # of these figures
    begins: str = ""  # with which weights, where not with random ones
    notes: tuple[str, ...] = ()
    cluster: Cluster | None = None

    @property
    def footnotes(self) -> tuple[str, ...]:
        """What to beware of, and which weights the run needs."""
        needed = f"begins with the weights {self.begins}: --start-from"
        return (*self.notes, needed) if self.begins else self.notes

    @property
    def time(self) -> str:
        """The time in the unit in which it is usually told.

        >>> Published(batch="", seconds=122.0).time
        '122 s'
        """
        if self.seconds is None:
            return ""
        if self.seconds < 1000:
            return f"{self.seconds:g} s"
        minutes = self.seconds / 60
        return f"{minutes:g} min" if minutes < 600 else f"{minutes / 60:g} h"
