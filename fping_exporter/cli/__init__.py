"""The command line: flags, commands and what they print."""

import errno
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
        if sys.stdout:  # else it was closed before the start
            sys.stdout.flush()  # here, so that a reader that is gone is noticed below
    except FpingExporterError as error:
        print(f"fping-exporter: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # as in `list --json | head -1`
        _give_up_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        # As in `list --json >file`. Python's own exit code, 1, would mean that instances are silent.
        _give_up_stdout()
        print(f"fping-exporter: the output could not be written: {error.strerror}", file=sys.stderr)
        return FpingExporterError.exit_code
    return code


def _give_up_stdout() -> None:
    """Let what is not written yet go nowhere: Python flushes again at exit, which must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
