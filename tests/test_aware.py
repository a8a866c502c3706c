import ctypes
import ctypes.util

import pytest

from collectives import InvalidArgument, aware, mapped
from collectives.aware import Verdict
from collectives.mapped import Mapped

YES, NO, UNKNOWN = (Verdict(answer, ("because",)) for answer in (True, False, None))

MAPS = """\
55d0-55d1 r--p 00000000 08:01 1 /usr/bin/python3
7f00-7f01 r--p 00000000 08:01 2 /opt/a b/lib/libmpi.so.40
7f01-7f02 r-xp 00001000 08:01 2 /opt/a b/lib/libmpi.so.40
7f02-7f03 r--p 00000000 08:01 3 /opt/lib/libmpi_mpifh.so.40
7f03-7f04 r--p 00000000 08:01 4 /opt/lib/libmpi_gtl_cuda.so.0
7f04-7f05 r--p 00000000 08:01 5 /venv/nvidia/nccl/lib/libnccl.so.2
7f05-7f06 r--p 00000000 08:01 6 /other/libcudart-8d2a1b3c.so.12 (deleted)
7f06-7f07 rw-p 00000000 00:00 0
7f07-7f08 rw-p 00000000 00:00 0 [heap]
7f08-7f09 r--p 00000000 08:01 7 /venv/lib/libnccl-net.so
"""


class Library:
    """A library that has the functions whose answers are given."""

    def __init__(self, cuda=None, gpu=None, failed=0):
        if cuda is not None:
            self.MPIX_Query_cuda_support = lambda: cuda
        if gpu is not None:
            self.MPIX_GPU_query_support = lambda kind, to: self.fill(kind, to, gpu)
        self.failed = failed

    def fill(self, kind, to, answer):
        assert kind == 0
        ctypes.cast(to, ctypes.POINTER(ctypes.c_int))[0] = answer
        return self.failed


class Comm:
    """A communicator of one rank whose info holds what is given."""

    rank = 0

    def __init__(self, kinds=None, error=None):
        self.kinds, self.error, self.freed = kinds, error, False

    def Get_info(self):
        if self.error:
            raise self.error
        return self

    def Get(self, key):
        assert key == "mpi_memory_alloc_kinds"
        return self.kinds

    def Free(self):
        self.freed = True


@pytest.fixture
def verdict(monkeypatch):
    """Return the verdict on a made-up library, info and environment."""

    def judge(library=None, kinds=None, name="MPICH 5.0.2", error=None, **environment):
        for variable in aware.HINTS:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        found = [("mpi", "/lib/libmpi.so")] if library else []
        monkeypatch.setattr(aware.host, "library", lambda: name)
        monkeypatch.setattr(aware.mapped, "paths", lambda maps: found)
        monkeypatch.setattr(aware.mapped, "opened", lambda path: library)
        return aware.verdict(Comm(kinds, error))

    return judge


def test_libraries_are_found_by_their_path_once(tmp_path):
    (tmp_path / "maps").write_text(MAPS)
    assert mapped.paths(str(tmp_path / "maps")) == [
        ("mpi", "/opt/a b/lib/libmpi.so.40"),
        ("nccl", "/venv/nvidia/nccl/lib/libnccl.so.2"),
        ("cudart", "/other/libcudart-8d2a1b3c.so.12"),
    ]
    found = mapped.libraries(str(tmp_path / "maps"))
    assert [library.version for library in found] == ["", "", ""]  # there is no such


@pytest.mark.parametrize(
    "name",
    [
        *("libmpi.so", "libmpi.so.12", "libmpi.so.40.40.7", "libmpich.so.12"),
        *("libmpi_abi.so.0", "libmpi_cray.so.12", "libmpi_gnu_123.so.12"),
        *("libmpich_gnu_82.so.3", "libmpi_intel.so.12", "libmpi-0a1b2c3d.so.40"),
    ],
)
def test_an_mpi_library_is_known_by_its_name(name):
    assert mapped.named([f"0-1 r-xp 0 08:01 1 /x/{name}\n"]) == [("mpi", f"/x/{name}")]


@pytest.mark.parametrize(
    "name",
    [
        *("libmpicxx.so.12", "libmpifort.so.12", "libmpi_usempif08.so.40"),
        *("libmpi_cxx.so.40", "libmpijava.so.1", "libmpi_shm_heap_proxy.so"),
        *("libmpi_ilp64.so.4", "libmpi.so.conf", "mylibmpi.so", "libmpi4.so"),
    ],
)
def test_what_comes_with_an_mpi_library_is_none(name):
    assert mapped.named([f"0-1 r-xp 0 08:01 1 /x/{name}\n"]) == []


def test_libraries_differ_by_version_or_else_by_file():
    def nccl(*found):
        every = [Mapped("nccl", path, version) for path, version in found]
        every.append(Mapped("mpi", "/c"))
        return [library.path for library in mapped.differing(every, "nccl")]

    assert nccl(("/a", "2.28.9")) == []
    assert nccl(("/a", "2.28.9"), ("/b", "2.28.9")) == []
    assert nccl(("/a", "2.28.9"), ("/b", "2.27.3")) == ["/a", "/b"]
    assert nccl(("/a", ""), ("/b", "")) == ["/a", "/b"]


@pytest.mark.parametrize(
    ("library", "kinds", "expected"),
    [
        (Library(cuda=1), None, True),
        (Library(cuda=0), None, False),
        (Library(cuda=0, gpu=1), "cuda", False),
        (Library(gpu=1), "mpi,system", True),
        (Library(gpu=0), "mpi,system,cuda:device", False),
        (Library(gpu=1, failed=1), "mpi, system, cuda:device", True),
        (Library(), "mpi,system,cuda:device,cuda:host", True),
        (Library(), "mpi,system", False),
        (Library(), "mpi,notcuda", False),
        (Library(), None, None),
        (None, None, None),
    ],
)
def test_the_first_source_that_answers_decides(verdict, library, kinds, expected):
    found = verdict(library, kinds)
    assert found.aware is expected
    assert found.reasons


def test_every_source_that_was_asked_is_a_reason(verdict):
    assert verdict(Library(cuda=0, gpu=1), "mpi,system").reasons == (
        "MPIX_Query_cuda_support() is 0",
        "MPIX_GPU_query_support(CUDA) is 1",
        "mpi_memory_alloc_kinds is mpi,system",
    )
    failed = "MPIX_GPU_query_support(CUDA) failed with code 5"
    assert verdict(Library(gpu=1, failed=5)).reasons == (failed,)


HINTED = [
    ("CRAY MPICH version 8.1.28", "MPICH_GPU_SUPPORT_ENABLED"),
    ("MVAPICH2 2.3.7", "MV2_USE_CUDA"),
    ("Open MPI v4.1.4", "OMPI_MCA_opal_cuda_support"),
    ("Intel MPI 2021.8", "I_MPI_OFFLOAD"),
]


@pytest.mark.parametrize(("name", "variable"), HINTED)
def test_a_hint_decides_only_where_the_library_is_silent(verdict, name, variable):
    on = {variable: "1"}
    assert verdict(Library(), name=name, **on).aware is True
    assert verdict(Library(), "mpi,system", name=name, **on).aware is False
    found = verdict(Library(cuda=0), name=name, **on)
    assert found == (False, ("MPIX_Query_cuda_support() is 0", f"{variable}=1"))


@pytest.mark.parametrize("value", ["0", "false", "", "OFF"])
@pytest.mark.parametrize(("name", "variable"), HINTED)
def test_what_is_switched_off_is_off_however_it_was_built(
    verdict, name, variable, value
):
    found = verdict(Library(cuda=1), name=name, **{variable: value})
    assert found.aware is False
    assert found.reasons[0] == f"{variable}={value}"


def test_hints_for_another_vendors_library_are_none(verdict):
    every = dict.fromkeys(aware.HINTS, "1")
    assert verdict(Library(), name="Some MPI", **every).aware is None
    assert verdict(Library(), name="MPICH 5.0.2", **every).aware is None


def test_an_info_that_cannot_be_had_is_no_answer(verdict):
    found = verdict(Library(), error=RuntimeError("no info today"))
    assert found.aware is None
    assert "mpi_memory_alloc_kinds: no info today" in found.reasons


def test_where_nothing_tells_what_is_mapped_there_is_no_answer(tmp_path):
    ((answer, reason),) = aware.of_library(str(tmp_path / "absent"))
    assert answer is None
    assert "the MPI library cannot be asked: [Errno 2] No such file" in reason


def test_a_mapped_file_that_is_no_library_is_no_answer(tmp_path):
    (tmp_path / "libmpi.so").write_text("not an ELF file")
    (tmp_path / "maps").write_text(f"0-1 r-xp 0 08:01 1 {tmp_path}/libmpi.so\n")
    ((answer, reason),) = aware.of_library(str(tmp_path / "maps"))
    assert answer is None
    assert "cannot be asked" in reason


def test_no_mpi_library_in_the_maps_is_no_answer(tmp_path):
    (tmp_path / "maps").write_text("")
    assert list(aware.of_library(str(tmp_path / "maps"))) == [
        (None, f"no MPI library in {tmp_path / 'maps'}")
    ]


def test_a_library_that_is_mapped_is_asked_by_its_path():
    code = ctypes.util.find_library("c")
    with open(mapped.MAPS) as lines:
        path = next(line.split()[-1] for line in lines if code in line)
    assert list(aware.of_functions(mapped.opened(path))) == [
        (None, "the library has no function that tells")
    ]


@pytest.mark.parametrize(
    ("asked", "verdicts", "expected"),
    [
        ("auto", [YES, YES], "device"),
        ("auto", [YES, NO], "staged"),
        ("auto", [UNKNOWN, YES], "staged"),
        ("device", [YES, YES], "device"),
        ("staged", [YES, YES], "staged"),
        ("staged", [NO, UNKNOWN], "staged"),
    ],
)
def test_device_memory_goes_to_mpi_only_where_all_can_take_it(
    asked, verdicts, expected
):
    assert aware.decided(asked, verdicts, "An MPI") == expected


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        (
            [YES, NO],
            r"on rank 1 An MPI is not CUDA-aware \(because\); take 'auto' or 'staged'",
        ),
        ([UNKNOWN], "on rank 0 An MPI is not known to be CUDA-aware"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_cure(verdicts, message):
    with pytest.raises(InvalidArgument, match=message) as error:
        aware.decided("device", verdicts, "An MPI")
    assert "\n" not in str(error.value)
