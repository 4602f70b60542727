"""The metrics and labels that a PromQL query reads, found by regular expressions instead of a parser."""

import re
from collections.abc import Mapping

__all__ = ["concrete", "joined", "kept", "matched", "metrics"]

_KEYWORDS = {
    "and",
    "or",
    "unless",
    "by",
    "on",
    "bool",
    "offset",
    "group_left",
    "group_right",
    "without",
    "ignoring",
}


def metrics(expr: str) -> set[str]:
    """Return the names of the metrics that the query selects.

    A metric is a word that is left when strings, matchers, ranges, and lists of labels are
    removed, that is no keyword, and that is not followed by a parenthesis.
    """
    expr = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    expr = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expr)
    expr = re.sub(r"\b(?:by|on|group_left|group_right|without|ignoring)\s*\([^)]*\)", " ", expr)
    words = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])", expr)
    return {word for word in words if word not in _KEYWORDS}


def matched(expr: str) -> list[tuple[str, set[str]]]:
    """Return the metric and the labels of each selector that has matchers."""
    expr = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    selectors = re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expr)
    return [(metric, set(re.findall(r"\w+(?=\s*[=!])", matchers))) for metric, matchers in selectors]


def joined(expr: str) -> set[str]:
    """Return the labels that the query groups by, joins on, or copies in a join."""
    lists = re.findall(r"\b(?:by|on|group_left|group_right|without|ignoring)\s*\(([^)]*)\)", expr)
    return {label for each in lists for label in re.findall(r"\w+", each)}


def kept(expr: str) -> list[set[str]]:
    """Return the labels of each ``by`` and each ``on``: of all others, nothing is left or compared."""
    lists = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expr)
    return [set(re.findall(r"\w+", each)) for each in lists]


def concrete(expr: str, variables: Mapping[str, str]) -> str:
    """Replace Grafana's variables by values; raises KeyError for a variable without a value."""
    return re.sub(r"\$([a-z_]\w*)", lambda found: variables[found[1]], expr)
