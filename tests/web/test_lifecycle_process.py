"""Reload and quit of a running exporter, over HTTP and by signals."""

import contextlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fping_exporter.demo import SCENE_SIZE, Demo
from tests.cli.test_cli import SECONDS, fetch, serving
from tests.permission import need_ping


class Running(NamedTuple):
    process: subprocess.Popen[str]
    url: str
    file: Path

    def logged(self, text: str) -> str:
        """Wait for a log line that contains the text, and return it."""
        assert self.process.stderr
        return next(line for line in self.process.stderr if text in line)

    def reloaded(self) -> str:
        """Return whether the last reload succeeded, from fping_exporter_config_last_reload_successful."""
        found = re.search(
            r"(?m)^fping_exporter_config_last_reload_successful (\S+)", fetch(f"{self.url}/metrics")
        )
        assert found
        return found[1]

    def instances(self) -> list[str]:
        return re.findall(r'instance_hypervisor_active{id="([^"]*)"', fetch(f"{self.url}/metrics"))


@contextlib.contextmanager
def run(file: Path, *flags: str) -> Iterator[Running]:
    need_ping()
    with Demo() as demo:
        auth = {f"OS_{name.upper()}": value for name, value in demo.region().get_auth_args().items()}
        with serving(*flags, "--web.enable-lifecycle", cwd=file.parent, env=auth) as (process, url):
            yield Running(process, url, file)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    file = tmp_path / "config.yml"
    file.write_text("{}")
    with run(file, "--config.file", str(file)) as running:
        yield running


def post(url: str) -> str:
    request = urllib.request.Request(url, method="POST")  # noqa: S310, loopback
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310, loopback
        return str(answer.read().decode())


def test_sighup(running: Running) -> None:
    before = running.instances()
    assert len(before) == SCENE_SIZE
    running.file.write_text("cache: {sweep: 0s}")
    running.process.send_signal(signal.SIGHUP)
    refused = running.logged("the configuration stays as it was")
    assert "cache.sweep: expected a duration above zero" in refused
    assert running.reloaded() == "0.0"
    assert running.instances() == before
    assert "sweep: 15s" in fetch(f"{running.url}/config")

    running.file.write_text("instances: {include: [{name: selenium-1}]}\ncache: {sweep: 50ms}")
    running.process.send_signal(signal.SIGHUP)
    running.logged("the configuration was read again")
    assert running.reloaded() == "1.0"
    assert "sweep: 50ms" in fetch(f"{running.url}/config")
    time.sleep(0.1)
    assert len(running.instances()) == 1


def test_a_default_file_that_comes_later(tmp_path: Path) -> None:
    with run(tmp_path / "fping-exporter.yml") as running:
        assert "sweep: 15s" in fetch(f"{running.url}/config")
        running.file.write_text("cache: {sweep: 50ms}")
        post(f"{running.url}/-/reload")
        assert "sweep: 50ms" in fetch(f"{running.url}/config")


def test_a_reload_forgives_no_request_of_os_fping(running: Running) -> None:
    def ask() -> int:
        try:
            fetch(f"{running.url}/os-fping")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code
        return 200

    running.instances()  # there is a list to answer from
    running.file.write_text("os_fping: {auth: none, rate_limit: 2/hour}")
    post(f"{running.url}/-/reload")
    assert [ask(), ask(), ask()] == [200, 200, 429]
    post(f"{running.url}/-/reload")
    assert ask() == 429


def test_reload_over_http(running: Running) -> None:
    running.file.write_text("cache: {swep: 1s}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{running.url}/-/reload")
    with refused.value as answer:
        assert answer.code == 500
        text = answer.read().decode()
        assert text == (
            f'failed to reload config: {running.file}: cache.swep: unknown key; did you mean "sweep"?\n'
        )
    assert running.reloaded() == "0.0"
    running.file.write_text("{}")
    assert post(f"{running.url}/-/reload") == "The configuration was read again.\n"
    assert running.reloaded() == "1.0"


def test_quit(running: Running) -> None:
    assert post(f"{running.url}/-/quit") == "Requesting termination... Goodbye!\n"
    assert running.process.wait(SECONDS) == 0
