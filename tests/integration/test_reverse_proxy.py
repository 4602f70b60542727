"""The exporter below a path of a reverse proxy, a real nginx, which passes that path on or removes it."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import bcrypt
import pytest
import requests
import yaml

from fping_exporter.demo import SCENE_SIZE
from tests.integration.nginx import nginx
from tests.integration.process import Process, eventually, free_port

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["passed on", "removed"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address at which people see the demo; the proxy passes the path on, or removes it."""
    removed = request.param == "removed"
    exporter, port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/ops/fping/"
    target = f"http://127.0.0.1:{exporter}{'/' if removed else ''}"
    demo = [".venv/bin/fping-exporter", "demo", f"--web.listen-address=127.0.0.1:{exporter}"]
    demo += [f"--web.external-url={url}"] + ["--web.route-prefix=/"] * removed
    with (
        Process(demo, log=tmp_path / "demo.log") as running,
        nginx(f"location /ops/fping/ {{ proxy_pass {target}; }}", home=tmp_path, port=port),
    ):
        running.wait_for(re.escape(f"{url}metrics"))  # the greeting
        eventually(lambda: expect_ready(url))
        yield url


def get(url: str, *, status: int = 200, password: str = "") -> str:
    response = requests.get(url, timeout=10, auth=("ann", password) if password else None)
    assert response.status_code == status, url
    return response.text


def expect_ready(url: str) -> None:
    try:
        get(f"{url}-/ready")
    except requests.ConnectionError as error:
        raise AssertionError(url) from error


def test_every_link_of_every_page_leads_somewhere(url: str) -> None:
    seen, unseen = set[str](), {url}
    while unseen:
        page = unseen.pop()
        seen.add(page)
        text = get(page, status=401 if page == f"{url}os-fping" else 200)  # it asks for a token
        if not text.startswith("<!doctype html>"):
            continue
        found = re.findall(r'(?:href|src|action)="([^"#]+)', text)
        links = {urljoin(page, link.replace("&amp;", "&")) for link in found}
        assert all(link.startswith(url) for link in links), links
        unseen |= {link for link in links if "?" not in link} - seen
    paths = {page.removeprefix(url) for page in seen}
    assert {"", "metrics", "config", "-/ready", "os-fping", "static/style.css"} <= paths
    assert len([path for path in paths if path.startswith("instance/")]) == SCENE_SIZE


def test_every_kind_of_path_has_the_prefix(url: str) -> None:
    for path in ("-/healthy", "sd", "metrics"):
        assert get(f"{url}{path}")
    get(f"{url}v2.1/os-fping", status=401)  # it asks for a token


def test_below_a_prefix_the_same_paths_need_no_password(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    web = tmp_path / "web.yml"
    web.write_text(yaml.safe_dump({"basic_auth_users": {"ann": hashed}}))
    listen = f"127.0.0.1:{free_port()}"
    url = f"http://{listen}/fping/"
    demo = [".venv/bin/fping-exporter", "demo", f"--web.listen-address={listen}", f"--web.config.file={web}"]
    with Process(
        [*demo, "--web.external-url=https://ops.example.com/fping"], log=tmp_path / "log"
    ) as running:
        running.wait_for(re.escape("https://ops.example.com/fping/metrics"))
        get(f"{url}-/healthy")
        get(f"{url}sd", status=401)
        get(f"{url}sd", password="secret")
        get(f"{url}v2.1/os-fping", status=401)  # of os-fping, which asks for a token
        assert "X-Openstack-Request-Id" in requests.get(f"{url}v2.1/os-fping", timeout=10).headers
        get(f"http://{listen}/-/healthy", status=401)
        get(f"http://{listen}/-/healthy", status=404, password="secret")
