import os
import subprocess
import sys
import threading

import pytest

from collectives.abort import unread, wait_for_reader


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as file:
        yield file, writer
        os.close(writer)


def test_the_writing_end_tells_what_is_unread(pipe):
    reader, writer = pipe
    assert unread(writer) == 0
    os.write(writer, b"last words")
    assert unread(writer) == 10
    reader.read(4)
    assert unread(writer) == 6


def test_what_is_no_pipe_has_nothing_unread(tmp_path):
    with open(tmp_path / "log", "wb", buffering=0) as file:
        file.write(b"last words")
        file.seek(0)
        assert unread(file.fileno()) == 0
        closed = os.dup(file.fileno())
    os.close(closed)
    assert unread(closed) == 0


def test_the_wait_ends_when_all_is_read(pipe):
    reader, writer = pipe
    os.write(writer, b"last words")
    later = threading.Timer(0.05, lambda: reader.read(10))
    later.start()
    assert wait_for_reader(30.0, (writer,))
    assert unread(writer) == 0
    later.join()


def test_the_wait_ends_without_a_reader_too(pipe):
    _, writer = pipe
    os.write(writer, b"last words")
    assert not wait_for_reader(0.01, (writer,))


def test_without_mpi_exceptions_are_told_as_always():
    program = (
        "import threading, sys\n"
        "from collectives import abort_on_exception\n"
        "abort_on_exception()\n"
        "thread = threading.Thread(target=sys.exit)\n"
        "thread.start(); thread.join()\n"
        "thread = threading.Thread(target=lambda: 1 / 0)\n"
        "thread.start(); thread.join()\n"
        "raise ValueError('oops')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Exception in thread")
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.count("Traceback (most recent call last)") == 2
    assert done.stderr.endswith("ValueError: oops\n")
