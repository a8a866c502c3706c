"""Settings of the whole suite."""

import os
import tempfile

import pytest
from hypothesis import settings

from collectives import UnsupportedTopology

# The same examples in every run and on every rank.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")

# What somebody has measured on this machine must not decide what is tested.
os.environ["COLLECTIVES_TUNED"] = "off"

# Nor what is in the user's cache; and nothing is left there.
CACHE = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = CACHE.name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    # The only exception that becomes a skip, and only here; that no algorithm is
    # refused everywhere is a test of its own.
    try:
        return (yield)
    except UnsupportedTopology as refusal:
        pytest.skip(str(refusal))


@pytest.fixture
def gpu(monkeypatch):
    """Return a stand-in for a GPU; ``import cupy`` finds it."""
    import fake_cupy

    made = fake_cupy.Gpu()
    fake_cupy.install(monkeypatch, made)
    return made


@pytest.fixture(params=["cupy", "nccl4py"])
def library(gpu, monkeypatch, request):
    """Return a stand-in for NCCL, which a package calls."""
    import fake_nccl

    return fake_nccl.install(monkeypatch, gpu, request.param)
