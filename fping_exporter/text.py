"""Text that is shown to people."""

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return `text` with characters that are not printable replaced by U+FFFD.

    Names are chosen by tenants: none may control the operator's terminal, or be invisible in a page.
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
