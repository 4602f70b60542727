"""The README's screenshots of the demo's status page: ``python -m tests.browser.screenshots FOLDER``."""

import sys
import tempfile
from pathlib import Path
from typing import Literal

from tests.browser.chrome import chrome
from tests.integration.process import Process

__all__ = ["main"]

_INSTANCES = 240
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main(folder: Path) -> None:
    """Write status-light.png and status-dark.png. Needs the permission to ping, like the demo."""
    command = [sys.executable, "-m", "fping_exporter", "demo", "--web.listen-address", "127.0.0.1:0"]
    with (
        tempfile.TemporaryDirectory() as logs,
        Process([*command, "--instances", str(_INSTANCES)], log=Path(logs, "demo.log")) as demo,
        chrome() as browser,
    ):
        address = demo.wait_for(r"msg=listening address=(\S+)")[1]
        url = f"http://{address}"
        browser.get(f"{url}/metrics")  # a scrape waits for the first sweep
        for scheme in _SCHEMES:
            browser.be(1200, 1000, scheme=scheme)
            browser.get(url)
            browser.picture(folder / f"status-{scheme}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
