"""Make a small directory of images, or look through one.

    python -m trainer.data prepare DIR    real JPEGs of handwritten digits
    python -m trainer.data check DIR      counts, damaged files, classes that differ

Exit codes: 0 done, and all is well; 1 `check` found something; 2 usage.
"""

import sys
from collections.abc import Sequence

from collectives import InvalidArgument, usage
from trainer import packages

NAME = "python -m trainer.data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = usage.Parser(prog=NAME, description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="{prepare,check}"
    )
    prepare = commands.add_parser("prepare", help="write JPEGs of handwritten digits")
    prepare.add_argument("directory", help="to be made; must not exist, or be empty")
    prepare.add_argument("--size", type=int, default=64, help="pixels (default 64)")
    check = commands.add_parser("check", help="look through train/ and val/")
    check.add_argument("directory", help="with train/CLASS/NAME and val/CLASS/NAME")
    check.add_argument("--quick", action="store_true", help="decode nothing")
    try:
        options = parser.parse_args(arguments)
        packages.check(packages.missing(*packages.IMAGES))
        from trainer.images import prepared, survey

        if options.command == "prepare":
            print(prepared.write(options.directory, options.size))
            return 0
        found = survey.look(options.directory, decoding=not options.quick)
    except InvalidArgument as error:
        print(f"trainer.data: {error}", file=sys.stderr)
        return 2
    print("\n".join(found.lines()))
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
