"""Every example in a docstring of the core shows what really comes out."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import collectives

NAMES = [
    module.name
    for module in pkgutil.walk_packages(collectives.__path__, "collectives.")
    if ".transports." not in module.name and ".frameworks." not in module.name
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_show_what_comes_out(name):
    assert doctest.testmod(import_module(name)).failed == 0
