import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jpegs import write_folder

from collectives import InvalidArgument
from trainer.images import index


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "collectives" / "images"


@pytest.fixture
def part(tmp_path):
    return write_folder(tmp_path, {"train": 3}) / "train"


def paths(found):
    return [os.path.relpath(found.path(i), found.part) for i in range(len(found))]


def test_images_are_in_the_order_of_class_and_name(part):
    (part / "cat" / "UPPER.JPEG").write_bytes(b"12345")
    (part / "cat" / "notes.txt").write_bytes(b"no image")
    (part / "cat" / ".hidden.jpg").write_bytes(b"no image")
    (part / ".cache").mkdir()
    found = index.find(part)
    names = {"cat": ["0.jpg", "1.jpg", "2.jpg", "UPPER.JPEG"]}
    expected = [
        f"{name}/{image}"
        for name in ("cat", "dog", "emu")
        for image in names.get(name, names["cat"][:3])
    ]
    assert paths(found) == expected and found.classes == ["cat", "dog", "emu"]
    assert [found.label(i) for i in range(10)] == [0] * 4 + [1] * 3 + [2] * 3
    assert found.rows["size"].tolist() == [
        (part / path).stat().st_size for path in expected
    ]


def test_names_may_be_of_any_bytes(part):
    (part / "cat" / os.fsdecode(b"\xff\xe9.jpg")).write_bytes(b"x")
    found = index.find(part)
    assert {Path(found.path(i)).is_file() for i in range(len(found))} == {True}


def test_a_second_process_maps_the_listing_of_the_first(part, cache, monkeypatch):
    first = index.find(part)
    monkeypatch.setattr(index, "list_images", None)  # to list again would fail
    second = index.find(part)
    assert isinstance(second.rows, np.memmap) and second.file == first.file
    np.testing.assert_array_equal(first.rows, second.rows)


def test_processes_that_start_together_list_once(part, cache):
    code = (
        "import sys, time\n"
        "from trainer.images import index\n"
        "listing = index.list_images\n"
        "def slow(*arguments):\n"
        "    print('listed', flush=True); time.sleep(0.5)\n"
        "    return listing(*arguments)\n"
        "index.list_images = slow\n"
        "assert len(index.find(sys.argv[1])) == 9\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, part], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(outputs) == [b"", b"", b"listed\n"]


def change(part, kind):
    if kind == "image":
        (part / "dog" / "new.jpg").write_bytes(b"x")
    elif kind == "removal":
        (part / "dog" / "1.jpg").unlink()
    elif kind == "name":
        (part / "dog" / "1.jpg").rename(part / "dog" / "one.jpg")
    else:
        (part / "fox").mkdir()


@pytest.mark.parametrize("kind", ["image", "removal", "name", "class"])
def test_what_changes_a_directory_makes_a_new_listing(part, kind):
    for directory in part.iterdir():  # changed long ago
        os.utime(directory, ns=(0, 10**18))
    before = index.find(part)
    change(part, kind)
    after = index.find(part)
    assert after.file != before.file
    assert [str(Path(after.part, path)) for path in paths(after)] == sorted(
        str(path) for path in part.rglob("*.jpg")
    )


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array"])
def test_a_damaged_listing_is_made_anew(part, damage):
    first = index.find(part)
    expected, file = paths(first), Path(first.file)
    file.unlink()  # what is mapped must not shrink
    file.write_bytes(damage)
    assert paths(index.find(part)) == expected
    assert file.read_bytes() != damage


def test_without_a_cache_each_process_lists(part, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = index.find(part)
    assert found.file is None and len(found) == 9
    assert paths(pickle.loads(pickle.dumps(found))) == paths(found)


def test_a_cached_index_is_sent_to_workers_without_its_rows(part):
    found = index.find(part)
    sent = pickle.dumps(found)
    assert b"0.jpg" not in sent
    assert paths(pickle.loads(sent)) == paths(found)


def test_a_directory_that_cannot_be_read_is_named(part):
    with pytest.raises(InvalidArgument, match="nowhere cannot be read .No such file"):
        index.find(part / "nowhere")
    with pytest.raises(InvalidArgument, match="0.jpg cannot be read .Not a directory"):
        index.find(part / "cat" / "0.jpg")
    with pytest.raises(InvalidArgument, match="yak cannot be read .* --data-dir"):
        index.list_images(part, ["cat", "yak"])


def test_a_link_to_nothing_has_no_bytes(part):
    (part / "cat" / "link.jpg").symlink_to(part / "nowhere.jpg")
    assert index.find(part).empty() == [str(part / "cat" / "link.jpg")]
