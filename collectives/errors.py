"""Everything this package raises on purpose."""


class CollectiveError(Exception):
    """A collective could not do what was asked; the message says what to change."""


class InvalidArgument(CollectiveError, ValueError):
    """An argument is not one of the valid choices, or does not fit the others."""


class ShapeMismatch(CollectiveError, ValueError):
    """The ranks, or the arrays of one call, disagree on count, dtype or operation."""


class UnsupportedArray(CollectiveError, TypeError):
    """An array's kind, dtype or layout cannot take part in a collective."""


class UnsupportedTopology(CollectiveError, ValueError):
    """An algorithm does not run on these ranks, nodes or grid."""


class Stalled(CollectiveError, TimeoutError):
    """An operation passed its deadline; the message names the ranks waited for."""


class RankFailed(CollectiveError, ConnectionError):
    """Another rank died, or left the operation with an error."""


class Deadlock(CollectiveError):
    """The schedules wait for each other for ever (verifier and in-process world)."""


class WrongResult(CollectiveError, AssertionError):
    """A verified schedule leaves a wrong, missing or doubled contribution."""
