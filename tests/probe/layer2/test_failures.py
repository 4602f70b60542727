"""What is logged of vantages that cannot be asked at layer 2; no packet is sent."""

import errno
import os

import pytest

from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget

NAMES = [f"qdhcp-{number}" for number in range(500)]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EPERM, "CAP_NET_RAW"), (errno.EAFNOSUPPORT, "Address family not supported")]
)
def test_one_cause_is_one_line_once(number: int, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """As where systemd's RestrictAddressFamilies lacks AF_PACKET."""
    prober = Layer2Prober(timeout=1, pacer=Pacer(rate=1000), sockets=SocketBudget(9))
    for names in (NAMES, reversed(NAMES)):
        prober._report_failures({name: OSError(number, os.strerror(number)) for name in names})  # noqa: SLF001
    (line,) = caplog.messages
    assert words in line
