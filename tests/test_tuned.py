import json
import logging
import os

import pytest
from tables import LINES, line, table

from collectives import Choice, InvalidArgument, tuned

HERE = "1x4", "An MPI 1.0", "a processor"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache folder of the user; return the path of the table in it."""
    monkeypatch.delenv(tuned.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tuned.default_path(*HERE[:2])


def test_what_is_written_is_read(tmp_path):
    path = str(tmp_path / "new" / "folder" / "table.json")
    table(date="today").write(path)
    assert vars(tuned.read(path)) == vars(table(date="today", path=path))
    assert os.listdir(tmp_path / "new" / "folder") == ["table.json"]


def test_a_line_of_the_table_is_a_line_of_the_file(tmp_path):
    path = tmp_path / "table.json"
    table().write(str(path))
    text = path.read_text("utf-8")
    assert text.startswith('{\n "version": 1,\n "layout": "1x4",\n')
    assert sum("measured_us" in row for row in text.splitlines()) == len(LINES)


@pytest.mark.parametrize(
    ("nbytes", "name"),
    [
        *((0, "native"), (4096, "native"), (4097, "ring depth=8")),
        *((1 << 20, "ring depth=8"), ((1 << 20) + 1, None)),
    ],
)
def test_the_line_is_the_one_whose_range_holds_the_bytes(nbytes, name):
    found = table().line("allreduce", "float32", False, nbytes)
    assert (found and str(found.choice)) == name


def test_other_types_memory_and_collectives_have_their_own_lines():
    assert table().line("allreduce", "half", False, 4).choice == Choice("tree")
    assert table().line("allreduce", "float32", True, 4).choice == Choice("torus2d")
    assert table().line("allreduce", "half", True, 4) is None
    assert table().line("allgather", "float32", False, 4) is None


def test_the_nearest_size_is_so_by_ratio():
    sizes = line(0, 1 << 20, "ring", [(n, {"ring": 1.0}) for n in (4, 64, 1024)])
    for nbytes, expected in [(0, 4), (15, 4), (17, 64), (255, 64), (257, 1024)]:
        assert sizes.nearest(nbytes) == expected


def test_the_ranking_begins_with_the_choice_and_goes_on_by_time():
    times = {"ring": 3.0, "tree": 2.0, "ring depth=4": 3.0, "ring segment=4": 3.0}
    found = line(0, 9, "ring depth=4", [(4, times)]).ranking(4)
    names = ["ring depth=4", "tree", "ring", "ring segment=4"]
    assert [str(choice) for _, choice in found] == names
    assert [seconds for seconds, _ in found] == pytest.approx([3e-6, 2e-6, 3e-6, 3e-6])


def altered(change):
    fields = json.loads(tuned.to_json(table()))
    change(fields)
    return json.dumps(fields)


def of_line(**entries):
    return altered(lambda fields: fields["lines"][0].update(entries))


GARBAGE = {
    "nothing": ("", "Expecting value"),
    "no object": ("[]", "got version <class 'list'>, expected 1"),
    "no table": ("{}", "got version None, expected 1"),
    "newer": (altered(lambda f: f.update(version=2)), "got version 2, expected 1"),
    "no lines": (altered(lambda f: f.pop("lines")), "no field 'lines'"),
    "no list": (altered(lambda f: f.update(lines=3)), "not iterable"),
    "no line": (altered(lambda f: f.update(lines=[3])), "not subscriptable"),
    "layout": (altered(lambda f: f.update(layout=4)), "layout, .* must be text"),
    "algorithm": (of_line(algorithm="rings"), "unknown algorithm 'rings'; choose"),
    "dtype": (of_line(dtype="bfloat16"), "choose from float32, half"),
    "registered": (of_line(registered="no"), "registered true or false"),
    "range": (of_line(min=8, max=7), "8 .. 7: expected a range"),
    "bytes": (of_line(min="0"), "expected a range"),
    "overlap": (of_line(max=4097), "two lines for 4097 bytes"),
    "unmeasured": (of_line(measured_us={}), "no time of native"),
    "other": (of_line(measured_us={"4": {"ring": 1}}), "no time of native"),
    "deep": ("[" * 100_000, "recursion"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_by_path_and_ignored_by_default(name, cache, caplog):
    text, what = GARBAGE[name]
    os.makedirs(os.path.dirname(cache))
    with open(cache, "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(InvalidArgument, match=f"tuned table '{cache}': .*{what}.*tune"):
        tuned.find(cache, *HERE)
    with caplog.at_level(logging.WARNING, "collectives"):
        found = tuned.find(None, *HERE)
    assert found.table is None
    assert [cache in record.getMessage() for record in caplog.records] == [True]


def test_without_a_table_the_note_says_where_one_would_be(cache, caplog):
    assert tuned.find(None, *HERE).table is None
    assert cache in tuned.find(None, *HERE).note
    assert caplog.records == []


def test_a_missing_file_that_was_asked_for_is_an_error(cache):
    with pytest.raises(InvalidArgument, match="No such file"):
        tuned.find(cache, *HERE)


def test_the_argument_goes_before_the_environment_before_the_cache(
    cache, monkeypatch, tmp_path
):
    table(command="cache").write(cache)
    assert tuned.find(None, *HERE).table.command == "cache"
    for name in ("environment", "argument"):
        table(command=name).write(str(tmp_path / name))
    monkeypatch.setenv(tuned.VARIABLE, str(tmp_path / "environment"))
    assert tuned.find(None, *HERE).table.command == "environment"
    argument = str(tmp_path / "argument")
    assert tuned.find(argument, *HERE).table.command == "argument"
    assert tuned.find("off", *HERE).table is None
    monkeypatch.setenv(tuned.VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(InvalidArgument, match=f"^{tuned.VARIABLE}: .*or unset the"):
        tuned.find(None, *HERE)
    monkeypatch.setenv(tuned.VARIABLE, "off")
    assert tuned.find(None, *HERE).table is None


def test_the_cache_of_another_processor_is_not_used(cache):
    table().write(cache)
    found = tuned.find(None, *HERE[:2], "another processor")
    assert found.table is None
    assert "is for a processor, not another processor" in found.note
    assert tuned.find(cache, *HERE[:2], "another processor").table is not None


def test_a_table_of_another_layout_is_not_used(cache):
    table().write(cache)
    found = tuned.find(cache, "2x2", *HERE[1:])
    assert found.table is None
    assert "is for ranks laid out 1x4, not 2x2" in found.note


def test_layouts_and_libraries_have_their_own_files(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    keys = [("1x4", "MPICH 5.0.2"), ("2x2", "MPICH 5.0.2"), ("1x4", "Open MPI 5.0.8")]
    paths = {tuned.default_path(*key) for key in keys}
    assert len(paths) == 3
    assert "/cache/collectives/tuned/1x4-mpich-5.0.2.json" in paths


def test_a_relative_cache_home_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", "/home/someone")
    path = tuned.default_path("1x2", "MPICH")
    assert path == "/home/someone/.cache/collectives/tuned/1x2-mpich.json"


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "half"), ("bfloat16", "half"), ("int8", "float32")],
)
def test_half_types_are_a_class_of_their_own(dtype, expected):
    assert tuned.dtype_class(dtype) == expected
