import pytest
from alone import Alike, Alone
from jpegs import write_folder

from collectives import InvalidArgument
from trainer import spot_check
from trainer.data import imagefolder
from trainer.fields import Images

COUNT = 3 * (5 + 2)


class Files:
    """A data set of ``count`` images, of which some are damaged."""

    def __init__(self, count, damaged=()):
        self.count, self.damaged, self.asked = count, damaged, []

    def __len__(self):
        return self.count

    def problem(self, index):
        self.asked.append(index)
        return f"image {index} is damaged" if index in self.damaged else None


@pytest.mark.parametrize("count", [0, 1, 5, 100, 1_281_167])
@pytest.mark.parametrize("most", [0, 1, 5, 64])
def test_a_sample_has_different_images_from_first_to_last(count, most):
    chosen = spot_check.sample(count, most).tolist()
    assert len(set(chosen)) == len(chosen) == min(count, most)
    assert chosen == sorted(chosen) and all(0 <= number < count for number in chosen)
    if len(chosen) > 1:
        assert chosen[0] == 0 and chosen[-1] >= count - count / len(chosen) - 1


def test_the_images_of_all_parts_are_decoded_where_there_are_few():
    parts = [Files(7), Files(3)]
    spot_check.look(Alone(), [parts[0], object(), parts[1]], most=10)
    assert [part.asked for part in parts] == [list(range(7)), list(range(3))]


def test_ranks_share_the_images():
    seen = []
    for rank in range(3):
        comm, part = Alike(3), Files(20)
        comm.rank = rank
        comm.gather_objects = lambda value, root: [value]
        comm.broadcast_object = lambda value, root: (None, None)
        spot_check.look(comm, [part], most=4)
        assert len(part.asked) == 4
        seen += part.asked
    assert len(set(seen)) == 12


def test_the_first_damaged_images_are_named_and_the_others_counted():
    with pytest.raises(InvalidArgument, match=r"2 of 9 .*image 3 is .*; image 4 is"):
        spot_check.look(Alone(), [Files(9, damaged=(4, 3))], most=99)
    with pytest.raises(
        InvalidArgument, match=r"image 2 .*; and 6 more\. .*-errors skip"
    ):
        spot_check.look(Alone(), [Files(9, damaged=range(9))], most=99)


def test_no_image_is_decoded_where_none_is_to_be_checked():
    part = Files(9, damaged=range(9))
    spot_check.look(Alone(), [part], most=0)
    assert part.asked == []


@pytest.mark.parametrize("damage", ["cut", "text", "gone"])
def test_a_damaged_file_is_found(tmp_path, damage):
    root = write_folder(tmp_path / "images", {"train": 5, "val": 2})
    parts = [
        imagefolder.load(
            str(root), train=train, images=Images(size=32, resize=36), classes=9, seed=1
        )
        for train in (True, False)
    ]
    spot_check.look(Alone(), parts, most=COUNT)
    path = root / "val" / "dog" / "1.jpg"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_bytes(b"no image at all")
    else:
        path.unlink()
    with pytest.raises(InvalidArgument, match=f"1 of {COUNT} .*val/dog/1.jpg: "):
        spot_check.look(Alone(), parts, most=COUNT)
