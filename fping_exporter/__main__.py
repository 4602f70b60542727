"""``python -m fping_exporter`` and the command ``fping-exporter``."""

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; return the process's exit code.

    SIGHUP asks ``serve`` for a reload, but by default it ends a process. It is blocked before the imports,
    which take a second, so that it stays pending in that time, until ``serve`` waits for it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from fping_exporter import cli  # noqa: PLC0415, see above

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
