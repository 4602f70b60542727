"""Logging to standard error, as logfmt or JSON, for our own lines and for those of libraries."""

import logging
import sys
from typing import Literal

import structlog

__all__ = ["FORMATS", "LEVELS", "set_up"]

Level = Literal["debug", "info", "warn", "error"]
Format = Literal["logfmt", "json"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warn", "error")
FORMATS: tuple[Format, ...] = ("logfmt", "json")

_CHATTY = ("openstack", "stevedore", "urllib3", "werkzeug")
"""Libraries of which only warnings are of use to an operator."""
_INDISCREET = "keystoneauth"
"""Warns with the whole URL of Keystone, which may hold a password; our own error says as much without it."""


def set_up(*, level: Level, style: Format) -> None:
    """Send everything from `level` on to standard error, a line each.

    A line has ts, level, logger and msg, then what the call passed as ``extra``.
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
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_INDISCREET).setLevel(logging.ERROR)
