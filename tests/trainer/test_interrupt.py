import signal

import pytest

from trainer.interrupt import SIGNALS, Interrupt, shield


@pytest.fixture(autouse=True)
def handlers():
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_to_stop(number):
    interrupt = Interrupt()
    interrupt.watch()
    assert not interrupt.requested
    signal.raise_signal(number)
    assert interrupt.requested


def test_a_second_interrupt_stops_at_once():
    Interrupt().watch()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_shield_is_taken_away_again():
    interrupt = Interrupt()
    interrupt.watch()
    with shield():
        for number in SIGNALS:
            signal.raise_signal(number)
    assert not interrupt.requested
    signal.raise_signal(signal.SIGTERM)
    assert interrupt.requested
