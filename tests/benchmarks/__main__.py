"""All benchmarks, one after the other, each in a process of its own: ``make bench``."""

import subprocess
import sys

BENCHMARKS = (
    "sweep",
    "layer2",
    "listing",
    "changes",
    "scrape",
    "large",
    "pages",
    "os_fping",
    "memory",
    "namespaces",
    "storage",
    "rules",
    "agents",
    "fleet",
    "clouds",
)


def main() -> int:
    """Return 1 if a mark is missed anywhere."""
    missed = 0
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        missed |= subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
