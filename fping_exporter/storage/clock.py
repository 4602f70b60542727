"""Time that passes between two processes, told by clocks of which one may have jumped."""

import time
from pathlib import Path

import msgspec

__all__ = ["Moment", "seconds_between"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One time, by the clocks that a later process can read as well."""

    unix: float
    """By the wall clock, in seconds; it may be set forwards and backwards."""
    uptime: float
    """Seconds since this machine booted (CLOCK_BOOTTIME), which never goes back."""
    boot: str
    """Id of the boot that `uptime` counts from; empty if the kernel does not tell."""

    @classmethod
    def now(cls) -> "Moment":
        """Read the clocks."""
        try:
            boot = _BOOT_ID.read_text("ascii").strip()
        except (OSError, ValueError):
            boot = ""
        return cls(unix=time.time(), uptime=time.clock_gettime(time.CLOCK_BOOTTIME), boot=boot)


def seconds_between(earlier: Moment, later: Moment) -> float | None:
    """Return how many seconds have passed; None if nobody knows, because a wall clock is wrong.

    Within one boot, of two clocks that disagree, the one by which more time has passed is believed: a wall
    clock that was set back makes nothing look fresh. After a reboot, or on another machine, there is only
    the wall clock. If it shows an earlier time, one of the two times is wrong.
    """
    by_wall_clock = later.unix - earlier.unix
    if earlier.boot and earlier.boot == later.boot and later.uptime >= earlier.uptime:
        return max(by_wall_clock, later.uptime - earlier.uptime)
    return by_wall_clock if by_wall_clock >= 0 else None
