"""Which GPU a rank takes, and what is told of a choice that does not fit."""

import sys

import fake_cupy
import pytest

from collectives import gpu
from collectives.gpu import Claim


@pytest.fixture
def cupy(monkeypatch):
    for name in (*gpu.LOCAL_RANKS, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return lambda devices: fake_cupy.install(monkeypatch, fake_cupy.Gpu(), devices)


@pytest.mark.parametrize("name", gpu.LOCAL_RANKS)
def test_a_rank_takes_the_gpu_of_its_local_rank(cupy, monkeypatch, name):
    cupy(4)
    monkeypatch.setenv(name, "3")
    mine = gpu.claim()
    assert (mine.number, mine.visible, mine.told, mine.problem) == (3, 4, True, None)
    assert fake_cupy.Device().id == 3


def test_where_the_launcher_masks_all_but_one_that_one_is_taken(cupy, monkeypatch):
    cupy(1)
    monkeypatch.setenv("SLURM_LOCALID", "7")
    assert gpu.claim().number == 0


def test_a_launcher_that_does_not_tell_is_remembered(cupy):
    cupy(2)
    assert not gpu.claim().told
    assert gpu.claim(1)[1:3] == (True, 1)


def test_a_claim_never_fails(cupy, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install" in gpu.claim().problem
    cupy(0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "(CUDA_VISIBLE_DEVICES=)" in gpu.claim().problem
    monkeypatch.setenv("SLURM_LOCALID", "x")
    assert "'x'" in gpu.claim().problem


def mine(host, number):
    return Claim(host, True, number, 2, f"0000:{number}")


def test_two_ranks_on_one_gpu_are_told_unless_they_may():
    claims = [mine("a", 0), mine("a", 1), mine("b", 0), mine("b", 1), mine("a", 1)]
    assert gpu.wrong(claims[:4], share=False) is None
    text = gpu.wrong(claims, share=False)
    assert "ranks 1 and 4 would share GPU 0000:1 of a" in text and "--share-gpu" in text
    assert gpu.wrong(claims, share=True) is None


def test_the_first_rank_without_a_gpu_is_named():
    claims = [mine("a", 0), Claim("b", True, problem="no driver")]
    for share in (False, True):
        text = gpu.wrong(claims, share)
        assert text == "rank 1 on b has no GPU to use: no driver"
