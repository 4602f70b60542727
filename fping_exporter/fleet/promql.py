"""Pieces of PromQL."""

from collections.abc import Mapping

__all__ = ["matchers", "quote"]


def quote(value: str) -> str:
    """Return a string literal."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def matchers(labels: Mapping[str, str]) -> str:
    """Return what stands between the braces of a selector of series that have these labels."""
    return ",".join(f"{name}={quote(value)}" for name, value in labels.items())
