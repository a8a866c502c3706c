import json

import pytest

from bench import data
from bench.data_options import parse
from collectives import InvalidArgument

SMALL = "--workers 0 --sizes 48,16 --images 4 --batch 2 --rounds 1 --decoders pillow"


def test_every_case_is_measured_and_written(tmp_path, capsys):
    path = tmp_path / "data.json"
    assert data.main([*SMALL.split(), "--json", str(path)]) == 0
    found = json.loads(path.read_text("utf-8"))
    rows = found["rows"]
    assert len(rows) == len(data.cases(parse(SMALL.split()))) == 2 * 3 * 2
    assert all(row["images_per_s"] > 0 for row in rows)
    assert {row["ratio"] for row in rows if not row["scaled"]} == {1.0}
    assert found["meta"]["command"].startswith("python -m bench.data --workers 0")
    assert "pillow" in found["meta"]["versions"]
    assert capsys.readouterr().out.count("\n") == 2 + len(rows)


def test_without_pillow_there_is_no_ratio():
    row = data.DataRow(64, "none", "simplejpeg", True, 0, 10.0, None)
    assert data.table({"hardware": {"cpu": "x", "cores": 1}}, [row]).endswith("-")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--no-such-flag", "--no-such-flag .python -m bench.data --help tells more"),
        ("--workers 1,x", "expected numbers from 0 on"),
        ("--sizes 0", "expected numbers from 1 on"),
        ("--sizes 257", "--sizes: got 257, expected 256 or less"),
        ("--decoders opencv", "--decoders: got 'opencv', expected some of pillow"),
        ("--images 4 --batch 5", "--images no less than --batch"),
        ("--rounds 0", "--rounds: expected at least 1"),
        ("--json /no/such/place.json", "no writable directory"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(arguments, words, capsys):
    with pytest.raises(InvalidArgument, match=words):
        parse(arguments.split())
    assert data.main(arguments.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_images_are_the_same_each_time(tmp_path):
    for name in ("one", "other"):
        data.make_images(tmp_path / name, 2)
    for path in (tmp_path / "one").rglob("*.jpg"):
        other = tmp_path / "other" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()
