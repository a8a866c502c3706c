from types import SimpleNamespace

import pytest

from bench import command


class World:
    """Ranks of which the others come to a barrier, or do not."""

    def __init__(self, come):
        self.come = come

    def Ibarrier(self):  # noqa: N802 - MPI's name
        return SimpleNamespace(Test=lambda: self.come)


@pytest.mark.parametrize("come", [True, False])
def test_a_refusal_waits_for_the_others_but_not_for_ever(monkeypatch, come):
    monkeypatch.setattr(command, "ALL_HERE_S", 0.01)
    assert command.together(World(come)) == come
