"""Every block of a README is run; what needs MPI is run under MPI, where it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docutils.core
import docutils.nodes
import pytest

ROOT = Path(__file__).parents[2]
READMES = sorted(
    path.relative_to(ROOT)
    for path in [ROOT / "README.rst", *ROOT.glob("*/*.rst")]
    if not path.parent.name.startswith(".")
)


def blocks(path):
    """Yield the text of each literal block, with the comment in front of it."""
    settings = {"report_level": 3, "halt_level": 3}
    tree = docutils.core.publish_doctree(
        (ROOT / path).read_text("utf-8"), settings_overrides=settings
    )
    comment = ""
    for node in tree.findall():
        if isinstance(node, docutils.nodes.comment):
            comment = node.astext()
        elif isinstance(node, docutils.nodes.literal_block):
            yield node.get("classes", []), comment, node.astext()
            comment = ""


def commands(text):
    """Split a console block into commands, each with the output shown below it."""
    found = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return [(command, "\n".join(lines).strip()) for command, lines in found]


def launcher():
    here = Path(sys.executable).parent / "mpiexec"
    return str(here) if here.exists() else shutil.which("mpiexec")


CONSOLE = [
    pytest.param(command, output, comment, id=f"{path}: {command}"[:90])
    for path in READMES
    for classes, comment, text in blocks(path)
    if "console" in classes
    for command, output in commands(text)
]


@pytest.mark.parametrize("path", READMES, ids=str)
def test_readme_is_valid_and_short(path):
    list(blocks(path))
    assert len((ROOT / path).read_text("utf-8").splitlines()) <= 220


@pytest.mark.parametrize("command, output, comment", CONSOLE)
def test_readme_command_prints_what_it_says(command, output, comment, tmp_path):
    needs = comment.removeprefix("needs").split(",") if "needs" in comment else []
    for need in map(str.strip, needs):
        if need == "MPI" and launcher() is None:
            pytest.skip("no mpiexec here")
        if need == "torch":
            pytest.importorskip("torch")
        if need in ("a cluster", "Open MPI"):
            pytest.skip(f"needs {need}")
        if need.endswith(".py"):
            write_example(tmp_path / need)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    if "mpi_hosts/" in command or command.startswith("make"):
        tmp_path = ROOT
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if output and not output.endswith("..."):
        printed = [line.rstrip() for line in done.stdout.strip().splitlines()]
        assert printed == [line.rstrip() for line in output.splitlines()]


def write_example(path):
    """Write down the program that the README shows under this name."""
    for _, _, text in blocks(Path("README.rst")):
        if text.startswith(f"# {path.name}\n"):
            path.write_text(text)


def test_schedule_of_the_readme_is_the_ring():
    from collectives import Chunk, Exchange, Topology, algorithms

    text = next(t for _, _, t in blocks(Path("README.rst")) if "def schedule" in t)
    names = {"Exchange": Exchange}
    exec(text, names)
    topology = Topology.uniform(local=5)
    for rank in range(5):
        shown = names["schedule"](topology, rank, Chunk(0, 17))
        real = algorithms.load("ring").schedule(topology, rank, Chunk(0, 17))
        assert list(shown) == list(real)


def test_algorithm_table_is_complete():
    from collectives import algorithms

    text = (ROOT / "README.rst").read_text("utf-8")
    table = text[text.index("Choose an algorithm") : text.index("Measure\n")]
    assert sorted(re.findall(r"^``(\w+)``", table, re.M)) == algorithms.names()
