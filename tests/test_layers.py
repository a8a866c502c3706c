"""Imports point down only, and what a command does not need it does not import."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import collectives

ROOT = Path(__file__).parents[1]
LAYERS = [
    "abort errors chunk step job usage",
    "topology algorithms machine lowering order",
    "world proof verify simulate show",
    "device arrays kernels ops scratch reduction transports plan mapped",
    "patience executor work select agreement watch device_side endpoint operations "
    "objects choice host once tuned explain allreduce aware pingpong gpu layout quick "
    "persistent",
    "communicator",
    "frameworks testing doctor",
]
LAYER = {name: i for i, names in enumerate(LAYERS) for name in names.split()}
# Imported by the file that needs it.
OPTIONAL = ["mpi4py", "torch", "cupy", "jax", "nccl"]
NEAR_THE_WIRE = {"transports", "frameworks"}
PACKAGES = ["trainer", "bench", "mpi_hosts"]  # users of the public API


def modules(package):
    """Return the source files of a package by dotted name."""
    paths = sorted((ROOT / package).rglob("*.py"))
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in paths}


def imports(name, path, *, loading=False):
    """Yield what a module imports: dotted names, with the names taken from them.

    ``loading`` leaves out what is imported later, inside functions.
    """
    package = name.split(".")[:-1]
    nodes = [ast.parse(path.read_text("utf-8"))]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield from ((source, alias.name) for alias in node.names)
        elif not (loading and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            nodes.extend(ast.iter_child_nodes(node))


def unit(source, taken):
    """Return the module of `collectives`, or its subpackage, that an import names."""
    parts = [*source.split("."), *([taken] if taken else [])]
    if parts[0] != "collectives":
        return None
    known = {name.split(".")[1] for name in OURS if name.count(".")}
    return parts[1] if len(parts) > 1 and parts[1] in known else "__init__"


OURS = modules("collectives")
every_module = pytest.mark.parametrize("name", OURS)


def own(name):
    return name.split(".")[1]


def test_imports_are_seen_in_whatever_form(tmp_path):
    path = tmp_path / "source.py"
    path.write_text(
        "import a.b, c\nfrom . import d\nfrom ..e import f\nfrom g.h import i\n"
        "def later():\n    if c:\n        import j\n"
    )
    found = [("a.b", None), ("c", None), ("p.q", "d"), ("p.e", "f"), ("g.h", "i")]
    assert list(imports("p.q.source", path, loading=True)) == found
    assert list(imports("p.q.source", path)) == [*found, ("j", None)]


def test_every_module_has_a_layer():
    assert {own(name) for name in OURS} - {"__init__"} <= set(LAYER)


@every_module
def test_imports_point_down(name):
    for source, taken in imports(name, OURS[name]):
        target = unit(source, taken)
        if target is not None and own(name) != "__init__":
            assert target != "__init__", f"{name} imports the package itself"
            assert LAYER[target] <= LAYER[own(name)], f"{name} imports {target}"


def test_imports_have_no_cycle():
    graph = {
        own(name): set() for name in OURS if own(name) not in ("__init__", "algorithms")
    }
    for name in OURS:
        if own(name) in graph:
            targets = {unit(*found) for found in imports(name, OURS[name])}
            graph[own(name)] |= targets - {None, own(name), "algorithms"}
    list(TopologicalSorter(graph).static_order())


@every_module
def test_the_core_needs_the_standard_library_and_numpy_above_the_algorithms(name):
    layer = LAYER.get(own(name), 0)
    allowed = {"collectives", *sys.stdlib_module_names}
    if layer >= 2:
        allowed |= {"numpy"}
    if layer <= 2:
        assert {source.split(".")[0] for source, _ in imports(name, OURS[name])} <= (
            allowed
        )


@every_module
def test_optional_packages_are_not_imported_on_loading(name):
    if own(name) not in NEAR_THE_WIRE:
        for source, _ in imports(name, OURS[name], loading=True):
            assert source.split(".")[0] not in OPTIONAL


@pytest.mark.parametrize(
    "name", [name for package in PACKAGES for name in modules(package)]
)
def test_users_take_the_public_names_only(name):
    path = ROOT / Path(*name.split(".")).with_suffix(".py")
    for source, taken in imports(name, path):
        if source.split(".")[0] == "collectives":
            assert source == "collectives", f"{name} imports {source}"
            assert taken is None or taken in collectives.__all__


def without(packages, folder):
    """Return an environment in which these packages cannot be imported."""
    for package in packages:
        (folder / f"{package}.py").write_text(f"raise ImportError('no {package}')\n")
    return os.environ | {"PYTHONPATH": str(folder)}


def python(*arguments, env=None):
    """Run Python at the root of the source; return its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import collectives; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = set(python("-c", code).split())
    assert loaded - {"collectives"} <= sys.stdlib_module_names
    # Slow to load, or of no use to who only names things.
    assert not loaded & {"asyncio", "unittest", "subprocess", "multiprocessing"}
    code = "import sys, collectives; print('collectives.world' in sys.modules)"
    assert python("-c", code).strip() == "False"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("show ring -n 4", "ring: 4 ranks on 1 node"),
        ("show --help", "usage: python -m collectives.show"),
        ("verify torus2d --max 3", "exactly once, equal everywhere, no deadlock"),
        ("verify --help", "usage: python -m collectives.verify"),
        ("simulate -n 4", "# abci: Mikami et al. 2018"),
        ("simulate --help", "usage: python -m collectives.simulate"),
        ("explain 4096 --nodes 2x4", "8 ranks on 2 nodes of 4"),
        ("explain --help", "usage: python -m collectives.explain"),
        ("doctor --help", "usage: python -m collectives.doctor"),
    ],
)
def test_commands_run_where_there_is_no_mpi(arguments, expected, tmp_path):
    command, *rest = arguments.split()
    env = without(OPTIONAL, tmp_path)
    assert expected in python("-m", f"collectives.{command}", *rest, env=env)
