"""The study's picture, of a whole record and of an empty one."""

import pytest

from bench.study import picture, record, task
from bench.study.arms import ARMS
from bench.study.train import Outcome

ROWS = [
    Outcome(name, batch, seed, 0.1, 10.0 + seed, [10.0], 0.5, False, 9, 1.0)
    for name in ARMS
    for batch in ((64,) if name == "M0" else (256, 1024))
    for seed in (1, 2)
]


@pytest.mark.parametrize("rows", [[], ROWS], ids=["empty", "whole"])
@pytest.mark.parametrize(("end", "begin"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_record_becomes_a_picture(tmp_path, rows, end, begin):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"out.{end}"
    found = record.Record({}, task.FULL.describe(), rows=rows)
    picture.draw(str(path), found)
    assert path.read_bytes().startswith(begin)


def test_every_arm_is_drawn():
    drawn = {name for names in picture.PANELS.values() for name in names}
    assert drawn == set(ARMS) - {"M0"}
