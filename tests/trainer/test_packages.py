import subprocess
import sys

import pytest

from collectives import InvalidArgument
from trainer import dataset, packages

BLOCKED = """
import runpy, sys
sys.modules[sys.argv.pop(1)] = None
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def run_without(package, *command):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, package, *command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("package", packages.TRAINING)
@pytest.mark.parametrize("flags", [["--dry-run"], ["--help"]])
def test_a_run_without_a_package_ends_in_a_line_that_names_the_extra(package, flags):
    code, output, errors = run_without(package, "trainer.run", *flags)
    cure = f"{package} is not installed; pip install 'mpi-collectives[train]'"
    assert (code, output, errors) == (2, "", f"trainer.run: {cure}\n")


@pytest.mark.parametrize(("package", "extra"), [("torch", "train"), ("PIL", "data")])
def test_the_images_command_names_the_extra_too(package, extra):
    code, output, errors = run_without(package, "trainer.data", "check", "anywhere")
    assert (code, output) == (2, "") and errors.count("\n") == 1
    assert f"{package} is not installed; pip install 'mpi-col" in errors
    assert f"[{extra}]" in errors


def test_the_export_names_the_extra_too():
    code, output, errors = run_without(
        "torch", "trainer.export", "run", "out.safetensors"
    )
    cure = "torch is not installed; pip install 'mpi-collectives[train]'"
    assert (code, output, errors) == (2, "", f"trainer.export: {cure}\n")


@pytest.mark.parametrize("package", packages.TRAINING)
def test_recipes_are_shown_without_the_packages_of_training(package):
    code, output, errors = run_without(package, "trainer.recipes")
    assert code == 0 and errors == "" and "goyal2017" in output


def test_a_data_set_without_its_package_is_refused(monkeypatch):
    monkeypatch.delitem(sys.modules, "trainer.data.imagefolder", raising=False)
    for name in [name for name in sys.modules if name.startswith("trainer.images.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InvalidArgument, match=r"--data imagefolder: PIL .*\[data\]"):
        dataset.find("imagefolder")


def test_a_package_that_is_broken_says_so_itself():
    error = ImportError("libcudart.so: cannot open\nshared object file")
    assert packages.cure(error, "torch") == (
        "torch cannot be imported: libcudart.so: cannot open shared object file"
    )
    inner = ModuleNotFoundError("No module named 'sympy'", name="sympy")
    assert packages.cure(inner, "torch").endswith("No module named 'sympy'")
