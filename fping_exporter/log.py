"""Logging to standard error, as logfmt or JSON. Libraries log in the same format."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict

from fping_exporter.log_context import current_cloud

__all__ = ["FORMATS", "LEVELS", "set_up"]

Level = Literal["debug", "info", "warn", "error"]
Format = Literal["logfmt", "json"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warn", "error")
FORMATS: tuple[Format, ...] = ("logfmt", "json")

_WARNINGS_ONLY = ("openstack", "stevedore", "urllib3", "werkzeug")
"""Libraries that log too much below the level of warnings."""
_ERRORS_ONLY = "keystoneauth"
"""Its warnings contain the URL of Keystone, which may have a password; our own errors leave that out."""


def set_up(*, level: Level, style: Format) -> None:
    """Log everything from `level` on to standard error, one line a record.

    A line has the keys ts, level, logger and msg, then those of the call's ``extra``, and the key cloud if it
    is about one of several.
    """
    render = (
        structlog.processors.LogfmtRenderer(key_order=["ts", "level", "logger", "msg"])
        if style == "logfmt"
        else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _add_cloud,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("msg"),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _WARNINGS_ONLY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_ERRORS_ONLY).setLevel(logging.ERROR)


def _add_cloud(_logger: object, _method: str, event: EventDict) -> EventDict:
    cloud = current_cloud()
    return {**event, "cloud": cloud} if cloud else event
