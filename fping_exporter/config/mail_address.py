"""What counts as a mail address: the plain form, which every mail program reads in the same way."""

import re

__all__ = ["are_mail_addresses"]

_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATEXT}+(?:\.{_ATEXT}+)*@{_LABEL}(?:\.{_LABEL})*")
"""A dot-atom of RFC 5322 and a host's name, in the lengths of RFC 5321: no quotes, comments or literals."""


def are_mail_addresses(text: str) -> bool:
    """Whether `text` is a mail address, or several joined by commas alone.

    Alertmanager writes to nobody of a list in which it cannot read one, hence a form that Go's
    ``mail.ParseAddressList`` never refuses.
    """
    return all(_ADDRESS.fullmatch(address) for address in text.split(","))
