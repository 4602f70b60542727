"""E-mail addresses in the plain form, which every mail program parses in the same way."""

import re

__all__ = ["are_mail_addresses"]

_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATEXT}+(?:\.{_ATEXT}+)*@{_LABEL}(?:\.{_LABEL})*")
"""A dot-atom (RFC 5322) and a host name, with the lengths of RFC 5321; no quotes, comments or literals."""


def are_mail_addresses(text: str) -> bool:
    """Return whether `text` is an e-mail address, or several separated by commas without spaces.

    If Alertmanager cannot parse one address of a list, it sends to none of them. Go's
    ``mail.ParseAddressList``, which it uses, accepts every address of this form.
    """
    return all(_ADDRESS.fullmatch(address) for address in text.split(","))
