"""Progress on standard error."""

from typing import NoReturn

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(title: str, *, unit: str, total: int | None = None) -> "tqdm[NoReturn]":
    """Return a progress bar on standard error, if that is a terminal and the work takes a second or more."""
    return tqdm(desc=title, unit=unit, total=total, leave=False, delay=1, disable=None)
