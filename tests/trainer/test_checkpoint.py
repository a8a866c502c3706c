import pytest
import torch

from collectives import InvalidArgument
from trainer import checkpoint

CONFIG = {
    "model.width": 64, "optimizer.decay_bn": False, "epochs": 90,
    "seed": 1, "data": "digits",
}  # fmt: skip


def write(folder, epoch, *, keep=2, **content):
    position = {"epoch": epoch, "samples_seen": 0}
    path = checkpoint.path_of(str(folder), position)
    checkpoint.write(path, {"value": torch.tensor(epoch), **content}, keep=keep)
    return path


def test_what_was_written_is_read(tmp_path):
    path = write(tmp_path / "new", 3)
    content = checkpoint.read(path)
    assert content["schema"] == checkpoint.SCHEMA and content["value"] == 3


def test_the_newest_are_kept_and_latest_names_the_last(tmp_path):
    for epoch in range(4):
        path = write(tmp_path, epoch)
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == [
        "checkpoint-0002-00000000.pt", "checkpoint-0003-00000000.pt", "latest",
    ]  # fmt: skip
    assert checkpoint.find(str(tmp_path), "auto") == path


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = write(tmp_path, 1)
    with pytest.raises(Exception, match="pickle"):
        write(tmp_path, 1, bad=lambda: None)
    assert checkpoint.read(path)["value"] == 1


def test_resume_finds_files_folders_and_the_latest(tmp_path):
    path = write(tmp_path, 1)
    assert checkpoint.find("elsewhere", str(path)) == path
    assert checkpoint.find("elsewhere", str(tmp_path)) == path
    assert checkpoint.find(str(tmp_path / "nothing"), "auto") is None


def test_a_last_checkpoint_that_was_deleted_is_named(tmp_path):
    write(tmp_path, 1).unlink()
    (tmp_path / "latest").write_text("checkpoint-0001-00000000.pt\n")
    with pytest.raises(InvalidArgument, match="latest names checkpoint-.*not there"):
        checkpoint.find(str(tmp_path), "auto")


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match=r"no checkpoint at .*expected"):
        checkpoint.find("elsewhere", str(tmp_path / "nothing"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "checkpoint-0001-00000000.pt"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        checkpoint.read(path)


def test_another_schema_is_refused(tmp_path):
    path = write(tmp_path, 1, schema=1)
    with pytest.raises(InvalidArgument, match="schema 1, expected 2.*without --resume"):
        checkpoint.read(path)


def test_another_model_is_refused_with_the_difference(tmp_path):
    path = tmp_path / "checkpoint-0001-00000000.pt"
    stored = {"config": {**CONFIG, "model.width": 32}}
    with pytest.raises(InvalidArgument, match="--model.width 32 there, 64 here"):
        checkpoint.check(path, stored, CONFIG)
    checkpoint.check(path, {"config": {**CONFIG, "epochs": 9}}, CONFIG)


@pytest.mark.parametrize(("field", "value"), [("seed", 2), ("data", "synthetic")])
def test_another_seed_or_data_set_is_refused_naming_both(tmp_path, field, value):
    stored = {"config": {**CONFIG, field: value}}
    both = f"--{field} {value} there, {CONFIG[field]} here"
    with pytest.raises(InvalidArgument, match=both):
        checkpoint.check(tmp_path / "checkpoint.pt", stored, CONFIG)


def test_the_settings_to_go_on_with_are_named_where_they_are(tmp_path):
    path, kept = tmp_path / "checkpoint-0001-00000000.pt", tmp_path / "config.yaml"
    stored = {"config": {**CONFIG, "seed": 2}}
    for cure in ["its values", f"--config {kept}"]:
        with pytest.raises(InvalidArgument) as caught:
            checkpoint.check(path, stored, CONFIG)
        assert str(caught.value).endswith(f"or instead of these give {cure}")
        kept.write_text("seed: 2\n", "utf-8")


def test_what_an_earlier_run_has_left_is_set_aside(tmp_path):
    assert checkpoint.set_aside(str(tmp_path)) is None
    for i in (1, 2):
        (tmp_path / "metrics.jsonl").write_text(f"run {i}")
        (tmp_path / "checkpoint-0001-00000000.pt").write_text("weights")
        (tmp_path / "notes.txt").write_text("mine")
        place = checkpoint.set_aside(str(tmp_path))
        assert place == tmp_path / f"earlier-{i}"
        assert (place / "metrics.jsonl").read_text() == f"run {i}"
        assert (place / "checkpoint-0001-00000000.pt").exists()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["earlier-1", "earlier-2", "notes.txt"]
