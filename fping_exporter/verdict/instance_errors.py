"""Unexpected errors in planning or judging one instance, which cost no other instance its verdict."""

import logging

from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Instance

__all__ = ["InstanceErrors"]

logger = logging.getLogger(__name__)

_log_limit = LogLimit(interval=24 * 3600)


class InstanceErrors:
    """The instances of one sweep that could not be planned or judged, or not completely."""

    def __init__(self) -> None:
        """Begin with none."""
        self.ids: set[str] = set()

    def note(self, instance: Instance, error: Exception) -> None:
        """Record the error that an instance caused; each kind is logged once a day, with its traceback."""
        self.ids.add(instance.id)
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else None
        if _log_limit.allows((type(error), place)):
            logger.error(
                "instance %s met a bug: %s (others like it are only counted, in "
                "fping_exporter_instances_failed_total)",
                instance.id,
                repr(error)[:200],
                exc_info=error,
            )
