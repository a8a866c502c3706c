import pytest

from collectives import Stalled
from collectives.patience import Patience


def test_waiting_ends_at_the_deadline_unless_there_is_progress():
    def waiting():
        while True:
            yield 0

    with pytest.raises(Stalled, match=r"no progress within 0\.05 s"):
        Patience(0.05).drive(waiting())
    with pytest.raises(Stalled, match="within 0 s"):
        Patience(0.0, background=True).drive(waiting())
    Patience(0.0, background=True).drive(iter(range(50)))  # each one is progress


def test_a_long_wait_listens_for_alarms():
    heard = []

    def alarm(late):
        heard.append(late)
        if late:
            raise Stalled("all of it")

    def waiting():
        while True:
            yield 0

    with pytest.raises(Stalled, match="all of it"):
        Patience(0.2, alarm=alarm).drive(waiting())
    assert heard[-1] and not any(heard[:-1]) and len(heard) > 1
