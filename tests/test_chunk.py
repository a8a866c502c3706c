import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives import Chunk

# Beyond 2**31 and 2**63: lengths are Python integers.
starts = st.integers(0, 2**70)
sizes = st.integers(0, 60) | st.integers(0, 2**70)
chunks = st.builds(lambda start, size: Chunk(start, start + size), starts, sizes)
parts = st.integers(1, 100)


@given(chunks, parts)
def test_pieces_partition_the_chunk(chunk, n):
    pieces = chunk.split(n)
    assert len(pieces) == n
    assert pieces[0].start == chunk.start
    assert pieces[-1].stop == chunk.stop
    for left, right in zip(pieces[:-1], pieces[1:], strict=True):
        assert left.stop == right.start
    assert sum(piece.size for piece in pieces) == chunk.size


@given(chunks, parts)
def test_lengths_differ_by_one_at_most_the_longest_first(chunk, n):
    lengths = [piece.size for piece in chunk.split(n)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1
    assert lengths[-1] >= 0


@given(chunks, parts, st.data())
def test_neighbouring_pieces_together_are_their_span(chunk, n, data):
    first = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(first + 1, n))
    pieces = chunk.split(n)[first:stop]
    assert chunk.pieces(first, stop, n) == (pieces[0].start, pieces[-1].stop)


@given(chunks, parts)
def test_cutting_depends_on_the_length_alone(chunk, n):
    moved = Chunk(0, chunk.size).split(n)
    assert [piece.size for piece in chunk.split(n)] == [piece.size for piece in moved]


@given(st.builds(Chunk, st.integers(0, 9), st.integers(0, 9)), chunks)
def test_overlap_is_symmetric(a, b):
    assert a.overlaps(b) == b.overlaps(a)


short = st.builds(
    lambda start, size: Chunk(start, start + size), st.integers(0, 9), st.integers(0, 9)
)


@given(short, short)
def test_overlap_means_an_element_in_common(a, b):
    assert a.overlaps(b) == bool(set(range(*a)) & set(range(*b)))


@given(chunks, parts)
def test_pieces_do_not_overlap(chunk, n):
    pieces = chunk.split(n)
    assert not any(a.overlaps(b) for a, b in zip(pieces[:-1], pieces[1:], strict=True))


def test_more_elements_than_an_int_holds():
    pieces = Chunk(0, 3 * 2**31 + 1).split(3)
    assert [piece.size for piece in pieces] == [2**31 + 1, 2**31, 2**31]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_an_empty_chunk_has_empty_pieces(n):
    assert Chunk(5, 5).split(n) == [Chunk(5, 5)] * n
