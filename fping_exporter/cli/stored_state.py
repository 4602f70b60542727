"""What a running exporter has stored, for commands that run once."""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from fping_exporter.config import Scope
from fping_exporter.errors import StorageError
from fping_exporter.log_context import prefix
from fping_exporter.storage import State, errors_of_flag, find_directory, read_another
from fping_exporter.storage.directory import file_of

__all__ = ["read_state"]


def read_state(
    path: Path | None, scope: Scope, *, cloud: str, environment: Mapping[str, str] = os.environ
) -> State | None:
    """Return what a running exporter remembers of a `cloud`; None if nothing.

    Its directory is at `path`, else where ``STATE_DIRECTORY`` says. Raises ConfigError if the one at `path`
    cannot be read.
    """
    directory = find_directory(path, environment)
    if directory is None:
        return None
    try:
        with errors_of_flag() if path else contextlib.nullcontext():
            state = read_another(directory, scope, cloud=cloud)
    except StorageError as error:
        print(f"fping-exporter: {prefix()}nobody knows since when: {error}", file=sys.stderr)
        return None
    if path and state is None:
        file = path / file_of(cloud)
        print(f"fping-exporter: nobody knows since when: {file}: no exporter has written it", file=sys.stderr)
    return state
