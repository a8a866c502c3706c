"""Packages that commands need, the extras that bring them, and folders of plug-ins."""

import importlib
import pkgutil
from types import ModuleType

from collectives import InvalidArgument

TRAINING = ("torch", "yaml", "jsonargparse")
IMAGES = ("torch", "PIL")
EXTRAS = dict.fromkeys(TRAINING, "train") | {
    "PIL": "data",
    "sklearn": "demo",
    "safetensors": "safetensors",
}


def missing(*names: str) -> str | None:
    """Import packages; say which is the first that is not there, and the cure."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            return cure(error, name)
    return None


def check(problem: str | None) -> None:
    """Refuse to go on where `missing` has found a problem.

    Raises:
        InvalidArgument: saying what it has found.
    """
    if problem is not None:
        raise InvalidArgument(problem)


def cure(error: ImportError, name: str) -> str:
    """Say what to install for ``name``; of a package that is broken, what it says."""
    if not isinstance(error, ModuleNotFoundError) or error.name != name:
        return f"{name} cannot be imported: {' '.join(str(error).split())}"
    return absent(name, EXTRAS[name]) if name in EXTRAS else f"{name} is not installed"


def absent(name: str, extra: str) -> str:
    """Say that a package is not there, and which extra brings it."""
    return f"{name} is not installed; pip install 'mpi-collectives[{extra}]'"


def modules(folder: ModuleType) -> list[str]:
    """Return the names of the files in a package, but of those that begin with "_"."""
    found = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in found if not name.startswith("_"))
