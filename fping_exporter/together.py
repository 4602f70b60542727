"""One piece of work for each of several clouds, all at once."""

import queue
from collections.abc import Callable, Collection
from typing import TypeVar

from fping_exporter.errors import FpingExporterError, ResourceError
from fping_exporter.log_context import log_as
from fping_exporter.single_flight import start_daemon_thread

__all__ = ["run_for_each"]

T = TypeVar("T")


def run_for_each(
    names: Collection[str], work: Callable[[str], T]
) -> tuple[dict[str, T], dict[str, FpingExporterError]]:
    """Return what `work` returns for each name, and the errors that it raises, both by name, in their order.

    An error that is a bug is raised. An interrupt is not held up by work that goes on.
    """
    ended: queue.SimpleQueue[tuple[str, T | BaseException]] = queue.SimpleQueue()

    def run(name: str) -> None:
        try:
            with log_as(name if len(names) > 1 else None):
                ended.put((name, work(name)))
        except BaseException as error:  # noqa: BLE001, it is raised or returned below
            ended.put((name, error))

    for name in names:
        try:
            start_daemon_thread(lambda name=name: run(name), name=name)  # type: ignore[misc]
        except ResourceError:
            run(name)
    results: dict[str, T | FpingExporterError] = {}
    for _ in names:
        name, result = ended.get()
        if isinstance(result, BaseException) and not isinstance(result, FpingExporterError):
            raise result
        results[name] = result
    found: dict[str, T] = {}
    errors: dict[str, FpingExporterError] = {}
    for name in names:
        if isinstance(each := results[name], FpingExporterError):
            errors[name] = each
        else:
            found[name] = each
    return found, errors
