"""An optional part of the listing, which may fail without costing the rest."""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from fping_exporter.errors import CloudError, ForbiddenError

__all__ = ["Part"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Part(Generic[T]):
    """A list that is had over and over: its newest value, and whether the last try had one."""

    def __init__(self, name: str, value: T) -> None:
        """Begin with `value`."""
        self.name = name
        self.value = value
        self.had: bool | None = None
        """None: it was not asked for."""
        self._refused = False

    def refresh(self, listed: Callable[[], T]) -> T | None:
        """Return a new value and keep it; None, with a log line, where there is none to be had."""
        self.had = False
        try:
            self.value = listed()
        except ForbiddenError as error:
            if not self._refused:
                logger.warning(
                    "%s are left out, the credentials have no right to list them: %s", self.name, error
                )
            self._refused = True
            return None
        except CloudError as error:
            logger.warning("%s are left out this time: %s", self.name, error)
            return None
        self._refused, self.had = False, True
        return self.value
