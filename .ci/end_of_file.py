"""Fail where a file does not end with one newline: ``end_of_file.py FILE ...``."""

import sys
from pathlib import Path


def ends_well(content: bytes) -> bool:
    """Say whether the content is empty or ends with exactly one newline."""
    return not content or (content.endswith(b"\n") and not content.endswith(b"\n\n"))


if __name__ == "__main__":
    wrong = [name for name in sys.argv[1:] if not ends_well(Path(name).read_bytes())]
    for name in wrong:
        print(f"{name}: must end with exactly one newline")
    sys.exit(bool(wrong))
