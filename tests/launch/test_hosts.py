"""Host files, read at full size by the launchers' own dry runs.

Open MPI maps the job and prints the map without starting anything.  MPICH prints its
plan before it calls the remote shell, for which the command ``false`` stands in.
"""

import os
import re
import shlex
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from mpi_hosts.generate import generate
from mpi_hosts.systems import SYSTEMS

HOSTS = Path(__file__).parents[2] / "mpi_hosts"
CLUSTERS = [name for name, system in SYSTEMS.items() if system.slots]
DRY = ["--rtos", "donotlaunch", "--display", "map"]
REFUSED = "not enough slots|more processes than the ppr"


def read_map(output):
    """Return the ranks of each node, in the order of Open MPI's printed map."""
    ranks = defaultdict(list)
    for line in output.splitlines():
        if found := re.match(r"Data for node: (\S+)", line):
            host = found[1]
        elif found := re.match(r"\s+Data for proc: \[.*,(\d+)\]", line):
            ranks[host].append(int(found[1]))
    return dict(ranks)


def blocks(nodes):
    """Return the ranks of each node when the nodes are filled one after the other."""
    ranks, start = {}, 0
    for host, slots in nodes:
        ranks[host] = list(range(start, start + slots))
        start += slots
    return ranks


def header_command(name, *, ranks=None):
    """Return the arguments of the launch line in a host file's own header."""
    text = (HOSTS / f"{name}.hosts").read_text("utf-8")
    line = re.search(r"^# Open MPI +mpirun (.*) python -m trainer.run$", text, re.M)[1]
    arguments = shlex.split(line)
    arguments[1] = str(HOSTS.parent / arguments[1])
    if ranks is not None:
        arguments[-1] = str(ranks)
    return arguments


@pytest.mark.parametrize("name", CLUSTERS)
def test_header_line_fills_the_whole_cluster_in_blocks(name, mpirun, launch):
    code, output = launch([mpirun, *DRY, *header_command(name), "true"])
    assert code == 0, output
    assert read_map(output) == blocks(SYSTEMS[name].nodes())


@pytest.mark.parametrize("name", CLUSTERS)
def test_one_rank_too_many_is_refused(name, mpirun, launch):
    system = SYSTEMS[name]
    arguments = header_command(name, ranks=system.count * system.slots + 1)
    code, output = launch([mpirun, *DRY, *arguments, "true"])
    assert code != 0
    assert read_map(output) == {}
    assert re.search(REFUSED, output), output


def test_local_file_offers_this_machine_and_not_one_rank_more(mpirun, launch):
    arguments = [mpirun, *DRY, *header_command("local", ranks=1), "true"]
    code, output = launch(arguments)
    assert code == 0, output
    assert list(read_map(output).values()) == [[0]]
    slots = int(re.search(r"Num slots: (\d+)", output)[1])
    arguments[-2] = str(slots)
    code, output = launch(arguments)
    assert list(read_map(output).values()) == [list(range(slots))]
    arguments[-2] = str(slots + 1)
    code, output = launch(arguments)
    assert code != 0
    assert re.search(REFUSED, output), output


@pytest.mark.parametrize(
    ("shape", "grid"), [("4,4,2", None), ("4,2,4,2", "4x3"), ("544x4", "64x34")]
)
def test_generated_file_and_rankfile_give_the_same_map(
    shape, grid, mpirun, launch, tmp_path
):
    hostfile, rankfile = tmp_path / "hosts", tmp_path / "ranks"
    hostfile.write_text(generate("openmpi", shape=shape, grid=grid), "utf-8")
    rankfile.write_text(generate("rankfile", shape=shape, grid=grid), "utf-8")
    lines = generate("slurm", shape=shape, grid=grid).splitlines()
    expected = {host: [] for host in lines}
    for rank, host in enumerate(lines):
        expected[host].append(rank)
    # Rank files bind to cores, and a dry run knows those of this machine only.
    for mapping in ("slot", f"rankfile:file={rankfile}"):
        code, output = launch(
            [mpirun, *DRY, "--hostfile", hostfile, "--map-by", mapping]
            + ["--bind-to", "none", "-n", len(lines), "true"]
        )
        assert code == 0, output
        assert read_map(output) == expected


def test_mapping_by_node_is_not_block_order_and_is_seen(mpirun, launch, tmp_path):
    hostfile = tmp_path / "hosts"
    hostfile.write_text(generate("openmpi", shape="2x2"), "utf-8")
    arguments = ["--hostfile", hostfile, "--map-by", "node", "--bind-to", "none"]
    code, output = launch([mpirun, *DRY, *arguments, "-n", 4, "true"])
    assert code == 0, output
    assert read_map(output) == {"node0": [0, 2], "node1": [1, 3]}


@pytest.mark.parametrize("shape", [[2, 2], [4, 4, 2]])
def test_mpich_plans_the_generated_file_in_blocks(shape, mpiexec, launch, tmp_path):
    hostfile = tmp_path / "hosts"
    hostfile.write_text(generate("mpich", shape=",".join(map(str, shape))), "utf-8")
    _, output = launch(
        [mpiexec, "-v", "-genvnone", "-f", hostfile, "-n", sum(shape)]
        + ["-launcher", "ssh", "-launcher-exec", shutil.which("false"), "true"]
    )
    planned = re.findall(
        r"--hostname (\S+) .*--exec-rank (\d+) --exec-proc-count (\d+)", output
    )
    starts = [sum(shape[:i]) for i in range(len(shape))]
    assert planned == [
        (f"node{i}", str(start), str(count))
        for i, (start, count) in enumerate(zip(starts, shape, strict=True))
    ], output


def test_mpich_refuses_open_mpis_form(mpiexec, launch, tmp_path):
    hostfile = tmp_path / "hosts"
    hostfile.write_text(generate("openmpi", shape="1x2"), "utf-8")
    code, output = launch([mpiexec, "-f", hostfile, "-n", 2, "true"])
    assert code != 0
    assert "slots" in output


PRINT_RANK = ["sh", "-c", "echo rank ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} $COLLECTIVES_X"]


@pytest.mark.parametrize("script", ["openmpi.sh", "mpich.sh"])
def test_script_starts_the_ranks_of_the_local_file(script, request, launch):
    fixture = {"openmpi.sh": "mpirun", "mpich.sh": "mpiexec"}[script]
    folder = Path(request.getfixturevalue(fixture)).parent
    ranks = min(2, len(os.sched_getaffinity(0)))
    code, output = launch(
        ["sh", HOSTS / script, HOSTS / "local.hosts", ranks, *PRINT_RANK],
        PATH=f"{folder}{os.pathsep}{os.environ['PATH']}",
        COLLECTIVES_X="seen",
    )
    assert code == 0, output
    assert sorted(output.split("\n")[:-1]) == [f"rank {r} seen" for r in range(ranks)]


@pytest.mark.parametrize("script", ["openmpi.sh", "mpich.sh"])
def test_script_without_arguments_says_its_usage(script, launch):
    code, output = launch(["sh", HOSTS / script])
    assert (code, output) == (
        2,
        f"usage: {script} HOSTFILE RANKS COMMAND [ARGUMENT ...]\n",
    )
