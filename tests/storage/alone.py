"""The storage of a single cloud, in a directory that it gives back when it is closed."""

from typing import Any

from fping_exporter.storage import Storage
from fping_exporter.storage.directory import Directory

__all__ = ["AloneStorage"]


class AloneStorage(Storage):
    """A storage and its directory."""

    def __init__(self, directory: Directory, **options: Any) -> None:
        super().__init__(directory, **options)
        self._alone = directory

    def close(self, seconds: float) -> bool:
        done = super().close(seconds)
        if done:
            self._alone.close()
        return done
