"""``python -m fping_exporter``: the command ``fping-exporter``."""

import sys

from fping_exporter.cli.parser import main

if __name__ == "__main__":
    sys.exit(main())
