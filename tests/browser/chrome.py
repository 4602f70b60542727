"""Headless Chromium, driven over the DevTools protocol."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

__all__ = ["Chrome", "chrome"]

_FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium refuses to run as root with one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # Without these it contacts Google's servers at every start.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Chrome(webdriver.Chrome):
    """Chromium with the screen sizes, colour schemes, screenshots and checks that the tests use."""

    def be(self, width: int, height: int, *, scheme: Literal["light", "dark"] = "light") -> None:
        """Set the screen size in CSS pixels and the colour scheme; a narrow screen emulates a phone."""
        self.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < _PHONE},
        )
        self.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )

    def picture(self, path: Path) -> None:
        """Save a screenshot of the visible part of the page as a PNG file."""
        answer = self.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(answer["data"]))

    def violations(self) -> list[str]:
        """Return the accessibility violations that axe-core finds, by WCAG 2.1 AA and its best practices."""
        self.evaluate(_AXE)
        found = self.execute_async_script(
            "axe.run().then(result => arguments[0](result.violations), error => arguments[0]([error]))"
        )
        return [
            f"{violation['id']}: {node['html']} ({node['failureSummary']})"
            for violation in found
            for node in violation["nodes"]
        ]

    def complaints(self) -> list[str]:
        """Return the browser's console messages since the last call."""
        return [entry["message"] for entry in self.get_log("browser")]  # type: ignore[no-untyped-call]

    def evaluate(self, script: str, *arguments: object) -> Any:
        """Run JavaScript, the body of a function, in the page and return its result."""
        return self.execute_script(script, *arguments)


_PHONE = 600
_AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


@contextmanager
def chrome(*, javascript: bool = True) -> Iterator[Chrome]:
    """Run Debian's Chromium with an empty profile."""
    with TemporaryDirectory(prefix="fping-exporter-chrome-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        if not javascript:
            options.add_experimental_option(
                "prefs", {"profile.managed_default_content_settings.javascript": 2}
            )
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            yield browser
        finally:
            browser.quit()
