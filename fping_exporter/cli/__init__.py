"""The command line: flags, commands and what they print."""

import os
import signal
import sys
from collections.abc import Sequence

from fping_exporter.cli.parser import parse_arguments
from fping_exporter.errors import FpingExporterError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (None: that of the process); return its exit code.

    Exit codes above 3 that no command documents are the shell's: 130 after SIGINT, 141 after SIGPIPE.
    """
    try:
        args = parse_arguments(sys.argv[1:] if argv is None else argv)
        code: int = args.run(args)
        sys.stdout.flush()  # here, so that a reader that is gone is noticed below
    except FpingExporterError as error:
        print(f"fping-exporter: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # As in `list --json | head -1`. Python flushes again at exit, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code
