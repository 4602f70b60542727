"""The command line: flags, commands and what they print."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence

from fping_exporter.cli.parser import parse_arguments
from fping_exporter.errors import FpingExporterError

__all__ = ["main"]

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (None: that of the process); return its exit code.

    Exit codes above 4 are those of sysexits.h and of the shell: 70 after a bug, 130 after SIGINT, 141 after
    SIGPIPE. Python's own after a bug would be 1, which means that instances are silent.
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:
        logger.exception("a bug ended this command: a report of it needs this traceback")
        return os.EX_SOFTWARE


def _run(argv: Sequence[str]) -> int:
    try:
        args = parse_arguments(argv)
        code: int = args.run(args)
        if sys.stdout:  # else it was closed before the start
            sys.stdout.flush()  # here, so that a reader that is gone is noticed below
    except FpingExporterError as error:
        print(f"fping-exporter: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # as in `list --json | head -1`
        _give_up_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        _give_up_stdout()  # as in `list --json >file`
        print(f"fping-exporter: the output could not be written: {error.strerror}", file=sys.stderr)
        return FpingExporterError.exit_code
    return code


def _give_up_stdout() -> None:
    """Let what is not written yet go nowhere: Python flushes again at exit, which must not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
