import csv
import json

import pytest
from bench_rows import make

from bench import files
from bench.row import Row
from collectives import InvalidArgument

META = {"layout": "2 ranks on 1 node", "versions": {"mpi": "MPI 5"}}
ROWS = [make(), make(in_place=True, wrong=None), make("auto", 8192, roof=71.5)]


def test_json_holds_meta_and_rows(tmp_path):
    path = tmp_path / "out.json"
    files.write_json(str(path), META, ROWS)
    found = json.loads(path.read_text("utf-8"))
    assert found["meta"] == META
    assert [Row(**row) for row in found["rows"]] == ROWS
    assert files.read_json(str(path)) == (META, ROWS)


def test_csv_is_the_same_but_flat(tmp_path):
    path = tmp_path / "out.csv"
    files.write_csv(str(path), [*ROWS, make(wrong=None, ratio=None)])
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(ROWS) + 1
    assert found[0]["wrong"] == "0"
    assert found[1]["in_place"] == "True"
    assert float(found[0]["p99_us"]) == 12.0
    assert float(found[2]["roof"]) == 71.5
    assert found[-1]["wrong"] == found[-1]["ratio"] == found[-1]["roof"] == ""


def test_rows_from_before_there_was_a_roof_are_read(tmp_path):
    path = tmp_path / "out.json"
    files.write_json(str(path), META, ROWS)
    found = json.loads(path.read_text("utf-8"))
    for row in found["rows"]:
        del row["roof"]
    path.write_text(json.dumps(found), "utf-8")
    assert {row.roof for row in files.read_json(str(path))[1]} == {None}


def altered(change):
    found = {"meta": dict(META), "rows": [dict(vars(row)) for row in ROWS]}
    change(found)
    return json.dumps(found)


STRANGE = {
    "is no JSON": "{",
    "is not {'meta'": "[]",
    "has no 'layout'": altered(lambda found: found["meta"].pop("layout")),
    "has versions = 'old' in 'meta'": altered(
        lambda found: found["meta"].update(versions="old")
    ),
    "has no rows": altered(lambda found: found["rows"].clear()),
    "row 3 is 4": altered(lambda found: found["rows"].append(4)),
    "lacks some: busbw": altered(lambda found: found["rows"][1].pop("busbw")),
    "unknown fields or lacks some: speed": altered(
        lambda found: found["rows"][1].update(speed=1)
    ),
    "row 0 has size = '4K'": altered(lambda found: found["rows"][0].update(size="4K")),
    "row 0 has busbw = None": altered(
        lambda found: found["rows"][0].update(busbw=None)
    ),
    "row 0 has wrong = -1": altered(lambda found: found["rows"][0].update(wrong=-1)),
    "row 0 has in_place = 1": altered(
        lambda found: found["rows"][0].update(in_place=1)
    ),
    "row 0 has percentiles_us = {}": altered(
        lambda found: found["rows"][0].update(percentiles_us={})
    ),
}


@pytest.mark.parametrize("words", STRANGE)
def test_a_file_of_another_making_is_refused_with_the_reason(tmp_path, words):
    path = tmp_path / "old.json"
    path.write_text(STRANGE[words], "utf-8")
    with pytest.raises(InvalidArgument) as caught:
        files.read_json(str(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(InvalidArgument, match="cannot read"):
        files.read_json(str(tmp_path / name))


def test_bytes_that_are_no_text_are_no_json(tmp_path):
    path = tmp_path / "old.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArgument, match="is no JSON"):
        files.read_json(str(path))
