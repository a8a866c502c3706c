import sys

import pytest
from bench_rows import make

from bench import files, plot
from bench.options import known
from collectives import InvalidArgument, algorithms

META = {"layout": "2 ranks on 1 node", "date": "2020-01-02", "hardware": {}}
ROWS = [
    make(name, size, place, busbw=busbw * size)
    for name, busbw in {"ring": 2.0, "auto": 3.0, "native": 1.0, "gloo": 0.5}.items()
    for size in (8192, 4, 1024)
    for place in (False, True)
]


def test_a_curve_has_the_sizes_of_one_place_in_order():
    found = plot.curves(ROWS, in_place=True)
    assert [curve.name for curve in found] == ["ring", "auto", "native", "gloo"]
    assert found[0].sizes == [4, 1024, 8192]
    assert found[0].busbw == [8.0, 2048.0, 16384.0]


def test_the_legend_begins_with_the_best_at_the_largest_size():
    panels = [plot.curves(ROWS, in_place=place) for place in (False, True)]
    assert plot.ranking(panels) == ["auto", "ring", "native", "gloo"]


def test_every_algorithm_looks_different():
    looks = plot.styles(known())
    assert set(looks) == set(known())
    assert len({str(look) for look in looks.values()}) == len(looks)


def test_baselines_alone_are_dashed():
    dashed = {n for n, look in plot.styles(known()).items() if "linestyle" in look}
    assert dashed == set(known()) - {*algorithms.names(), "auto"} | {"native"}


@pytest.mark.parametrize(
    ("size", "text"),
    [(4, "4"), (1024, "1K"), (1536, "1.5K"), (64 << 20, "64M"), (1 << 40, "1024G")],
)
def test_sizes_have_binary_suffixes(size, text):
    assert plot.binary(size) == text


@pytest.fixture
def measured(tmp_path):
    path = tmp_path / "old.json"
    files.write_json(str(path), META, ROWS)
    return str(path)


@pytest.mark.parametrize(("end", "begin"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_file_becomes_a_picture(measured, tmp_path, end, begin):
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"out.{end}"
    assert plot.main([measured, str(picture)]) == 0
    assert picture.read_bytes().startswith(begin)


def test_one_rank_and_one_size_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    plot.draw(str(tmp_path / "out.svg"), META, [make(busbw=0.0)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["old.json", "out.pdf"], ".svg or .png"),
        (["absent.json", "out.svg"], "cannot read 'absent.json'"),
        (["old.json"], "required: out.svg"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, words, capsys):
    assert plot.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_without_matplotlib_the_message_says_what_to_install(
    measured, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InvalidArgument, match=r"pip install '\.\[plot\]'"):
        plot.check_matplotlib()
    assert plot.main([measured, "out.svg"]) == 2
    assert "pip install '.[plot]'" in capsys.readouterr().err
