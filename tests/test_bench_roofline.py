import numpy as np
import pytest

from bench.roofline import UNKNOWN, Roofline, cache_nbytes, judge


def fake_cpu(root, cpu, caches):
    for i, (level, size, shared) in enumerate(caches):
        folder = root / f"cpu{cpu}" / "cache" / f"index{i}"
        folder.mkdir(parents=True)
        (folder / "level").write_text(f"{level}\n", "ascii")
        (folder / "size").write_text(f"{size}\n", "ascii")
        (folder / "shared_cpu_list").write_text(f"{shared}\n", "ascii")


def test_caches_of_the_last_level_count_once_each(tmp_path):
    for cpu in range(4):
        inner = [(1, "32K", cpu), (1, "32K", cpu), (2, "1024K", cpu)]
        pair = "0-1" if cpu < 2 else "2-3"
        fake_cpu(tmp_path, cpu, [*inner, (3, "16384K", pair)])
    (tmp_path / "cpu4").mkdir()  # offline
    (tmp_path / "cpufreq").mkdir()
    assert cache_nbytes(tmp_path) == 2 * 16384 << 10


def test_caches_of_different_cores_may_differ(tmp_path):
    fake_cpu(tmp_path, 0, [(1, "32K", 0), (2, "512K", 0)])
    fake_cpu(tmp_path, 1, [(1, "32K", 1), (3, "4096K", 1)])
    assert cache_nbytes(tmp_path) == (512 + 4096) << 10


def test_caches_may_be_unknown(tmp_path):
    assert cache_nbytes(tmp_path / "absent") is None
    fake_cpu(tmp_path, 0, [(3, "many", 0)])
    assert cache_nbytes(tmp_path) is None


def test_all_inputs_together_are_four_times_the_caches():
    for ranks in (2, 3, 8):
        least = judge(ranks, 1000).least
        assert (least - 1) * ranks < 4 * 1000 <= least * ranks
        assert str(least) in judge(ranks, 1000).text


@pytest.mark.parametrize("roofline", [judge(1, 1000), judge(2, None), UNKNOWN])
@pytest.mark.parametrize("in_place", [False, True])
def test_without_a_limit_there_are_no_passes(roofline, in_place):
    assert roofline.passes(1 << 20, in_place=in_place) == []


def test_there_are_no_passes_within_the_caches():
    assert Roofline(64, "").passes(60, in_place=True) == []
    assert len(Roofline(64, "").passes(64, in_place=True)) == 1


@pytest.mark.parametrize("in_place", [False, True])
def test_a_pass_writes_all_of_its_buffer(in_place):
    for call, buffer in Roofline(1, "").passes(400, in_place=in_place):
        assert buffer.nbytes == 400
        buffer[:] = 1 if in_place else np.nan
        call()
        assert set(buffer.tolist()) <= {1.0, 2.0}
