"""Processes that load end with the loader, and with the process they load for."""

import gc
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
import torch

from trainer import loader
from trainer.dataset import UnreadableImage
from trainer.place import Place
from trainer.sampler import Sampler

DEADLINE_S = 60


class Fails:
    """Images that are there, but one."""

    def __getitem__(self, key):
        if key[1] == 5:
            raise ValueError("image 5 is bad")
        return torch.zeros(3, 2, 2), os.getpid()


class Numbers:
    """Images whose label is their number."""

    def __getitem__(self, key):
        return torch.zeros(3, 2, 2), key[1]


class Damaged:
    """Images of which one cannot be read."""

    def __getitem__(self, key):
        if key[1] == 5:
            raise UnreadableImage("5.jpg is no image")
        return torch.zeros(3, 2, 2), key[1]


def load(images=None, *, count=20, workers=2):
    sampler = Sampler(count, rank=0, size=1, per_worker=1, seed=1)
    images = Fails() if images is None else images
    return loader.load(images, sampler, workers=workers, place=Place())


@pytest.fixture
def started():
    """Return a function that gives the loading processes started since."""
    before = set(multiprocessing.active_children())
    return lambda: set(multiprocessing.active_children()) - before


def test_processes_end_with_their_loader(started):
    batches = load(count=5)
    begun = iter(batches)
    next(begun)
    assert len(started()) == 2
    del begun, batches
    assert not started()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_told_as_the_data_set_does(workers):
    with pytest.raises(UnreadableImage) as caught:
        list(load(Damaged(), workers=workers))
    assert str(caught.value) == "5.jpg is no image"


def test_processes_end_when_asked_to(started):
    batches = load(count=5)
    assert len(list(batches)) == 5 and len(started()) == 2
    batches.close()
    assert not started()


def test_an_epoch_that_is_given_up_leaves_nothing_to_the_next():
    batches = load(Numbers())
    whole = [int(label) for _, label in batches]
    begun = iter(batches)
    assert [int(next(begun)[1]) for _ in range(3)] == whole[:3]
    assert [int(label) for _, label in batches] == whole


def test_an_exception_comes_from_the_process_and_the_processes_end(started):
    batches = load()
    with pytest.raises(ValueError, match="image 5 is bad") as caught:
        list(batches)
    assert len(started()) == 2
    del batches, caught  # a cycle: the traceback holds what holds the exception
    gc.collect()
    assert not started()


def alive(process):
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc")
def test_processes_end_with_a_rank_that_is_killed():
    code = (
        "import sys, time; sys.path[:0] = sys.argv[1:]\n"
        "import test_loader\n"
        "if __name__ == '__main__':\n"
        "    batches = test_loader.load(count=5)\n"
        "    print(*{int(label) for _, label in batches}, flush=True)\n"
        "    time.sleep(600)\n"
    )
    folder = os.path.dirname(__file__)
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True
    )
    try:
        loading = list(map(int, process.stdout.readline().split()))
        assert loading and all(map(alive, loading))
    finally:
        process.kill()
        process.communicate()
    deadline = time.monotonic() + DEADLINE_S
    while any(map(alive, loading)):
        assert time.monotonic() < deadline, "they still run"
        time.sleep(0.05)
