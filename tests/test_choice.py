import pytest

from collectives import Choice, InvalidArgument, algorithms


@pytest.mark.parametrize("name", algorithms.names())
@pytest.mark.parametrize("knobs", [(), (4096,), (None, 8), (4096, 8)], ids=str)
def test_what_is_written_is_read(name, knobs):
    choice = Choice(name, *knobs)
    assert Choice.parse(str(choice)) == choice


@pytest.mark.parametrize(
    "text",
    [
        *("", "ring ", "ring depth=0", "ring depth=-1", "ring depth=x"),
        *("ring depth=8 segment=4", "ring segment=", "ring width=3", "a ring"),
    ],
)
def test_another_form_is_refused_with_an_example_and_the_names(text):
    with pytest.raises(InvalidArgument, match="like 'ring segment=.*, ring, "):
        Choice.parse(text)


def test_an_unknown_name_is_refused_with_the_names():
    with pytest.raises(InvalidArgument, match="'rign'; choose from .*, ring,"):
        Choice.parse("rign depth=8")
