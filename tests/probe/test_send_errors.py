"""The table of what sendto may say, and whose fault it is."""

import errno

import pytest

from fping_exporter.probe.send_errors import (
    PENDING,
    SEND_ERRORS,
    Fault,
    errno_name,
    explain,
    is_temporary,
)

TARGET = {"EINVAL", "EAFNOSUPPORT", "EDESTADDRREQ"}
ROUTE = {"ENETUNREACH", "EHOSTUNREACH", "EACCES", "ENETDOWN", "ENODEV", "ENXIO", "EMSGSIZE"}
MACHINE = {
    *("EPERM", "EAGAIN", "ENOBUFS", "ENOMEM", "EMFILE", "ENFILE", "EADDRNOTAVAIL"),
    *("ECONNREFUSED", "EHOSTDOWN", "ENONET", "ENOPROTOOPT", "EOPNOTSUPP", "EPROTO"),
}


def test_every_errno_has_one_place() -> None:
    found = {
        fault: {number for number, error in SEND_ERRORS.items() if error.fault is fault} for fault in Fault
    }
    assert found == {
        fault: {getattr(errno, name) for name in names}
        for fault, names in ((Fault.TARGET, TARGET), (Fault.ROUTE, ROUTE), (Fault.MACHINE, MACHINE))
    }


def test_all_but_what_is_the_targets_is_tried_again() -> None:
    assert {number for number in SEND_ERRORS if not is_temporary(number)} == {
        getattr(errno, name) for name in TARGET
    }
    assert is_temporary(errno.EIO)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOBUFS, errno.EAGAIN, errno.EINVAL])
def test_what_no_icmp_error_is_converted_to_is_never_taken_for_one(number: int) -> None:
    assert number not in PENDING


def test_every_refusal_has_a_cause_and_a_remedy() -> None:
    assert explain(errno.EPERM).startswith("Operation not permitted (EPERM): a packet filter of this machine")
    assert "nf_conntrack_count" in explain(errno.EPERM)
    for number in SEND_ERRORS:
        assert explain(number).count("; ") >= 1
    assert explain(0) == "no reason given: the kernel refuses to send; see the kernel's log"
    assert (errno_name(errno.EPERM), errno_name(0)) == ("EPERM", "unknown")
