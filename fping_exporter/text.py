"""Untrusted text, made safe to show."""

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return `text` with U+FFFD in place of each character that is not printable.

    Tenants choose names. None may control the operator's terminal or be invisible in a page.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
