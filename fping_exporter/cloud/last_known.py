"""Optional lists of a cloud: each may fail without costing the rest of the listing."""

import copy
import logging
import math
import time
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from fping_exporter.errors import CloudError, ForbiddenError

__all__ = ["LastKnown"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class LastKnown(Generic[T]):
    """What an optional list last contained, and whether the last try to read it succeeded."""

    def __init__(self, name: str, empty: T, *, outlives_failure: bool = True) -> None:
        """Begin with `empty`. `name` is the value of the label `part`, and names the list in the log.

        What changes from minute to minute should not outlive a failure: then the value is `empty` again.
        """
        self.name = name
        self.value = empty
        self.succeeded: bool | None = None
        """Whether the last try succeeded; None: the list was not asked for."""
        self.complete = True
        """Whether the value is all there is, for all that is known."""
        self._empty = empty
        self._outlives_failure = outlives_failure
        self._listed_at: float | None = None
        """When the value was listed, by the monotonic clock; None: it is `empty`."""
        self._refusal_logged = False

    @property
    def age(self) -> float:
        """Seconds since the value was listed; infinite where it never was."""
        return math.inf if self._listed_at is None else time.monotonic() - self._listed_at

    def copy(self) -> Self:
        """Return another one with the same value; what is done to either leaves the other as it is."""
        return copy.copy(self)

    def set(self, value: T) -> None:
        """Use a value that was obtained without the list."""
        self.complete = True
        self._keep(value)

    def _keep(self, value: T) -> None:
        self.value, self.succeeded, self._listed_at = value, True, time.monotonic()

    def recall(self, value: T, *, listed_at: float) -> None:
        """Begin with what an earlier process listed `listed_at` or before, by the monotonic clock."""
        self.value, self._listed_at = value, listed_at

    def skip(self) -> None:
        """Record that the list is not asked for."""
        self.succeeded = None

    def fail(self) -> None:
        """Record that the list could not be asked for."""
        self.succeeded = False
        if not self._outlives_failure:
            self.value, self._listed_at = self._empty, None

    def refresh(self, read_list: Callable[[], T]) -> bool:
        """Read the list again and return whether that succeeded; a CloudError is logged, not raised.

        A missing right is logged once, and again only after the list could be read. `read_list` may note
        that the value is not `complete`.
        """
        self.complete = True
        try:
            value = read_list()
        except ForbiddenError as error:
            self.fail()
            if not self._refusal_logged:
                logger.warning(
                    "%s are left out, the credentials have no right to list them: %s", self.name, error
                )
            self._refusal_logged = True
            return False
        except CloudError as error:
            self.fail()
            if self._listed_at is None:
                logger.warning("%s are left out this time: %s", self.name, error)
            else:
                logger.warning(
                    "%s could not be listed, those listed %.0f s ago or before stay in use: %s",
                    self.name,
                    self.age,
                    error,
                )
            return False
        self._keep(value)
        self._refusal_logged = False
        return True
