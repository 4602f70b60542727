"""``openstack server ping``, by python-openstackclient itself, against an exporter of a stand-in cloud."""

import json
import re
from collections.abc import Iterator

import pytest

from fping_exporter.demo.standin import NovaServer
from tests.build import address
from tests.openstackclient.conftest import Catalog, Run
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import ALPHA, BETA, Guests, uuid

OF_ALPHA = {
    "fixed": True,
    "silent": False,
    "floating": True,
    "v6": True,
    "off": False,
    "new": False,  # it has no address
    "broken": False,
}


@pytest.fixture(autouse=True)
def in_catalog(cloud: Catalog, api: Api) -> Iterator[None]:
    cloud.fping = {"fping": f"{api.url}/v2.1"}
    yield
    cloud.fping = {}


def test_list(run: Run) -> None:
    done = run("server", "ping", "list", "-f", "json")
    assert (done.code, done.err) == (0, "")
    rows = json.loads(done.out)
    assert {row["Name"]: row["Alive"] for row in rows} == OF_ALPHA
    assert list(rows[0]) == ["ID", "Name", "Status", "Alive"]


def test_list_for_people(run: Run) -> None:
    out = run("server", "ping", "list").out
    assert [line.split("|")[2].strip() for line in out.splitlines() if line.endswith("| yes   |")] == [
        name for name, alive in OF_ALPHA.items() if alive
    ]


def test_list_of_all_projects(run: Run) -> None:
    rows = json.loads(run("server", "ping", "list", "--all-projects", "-f", "json", user="admin").out)
    assert {(row["Name"], row["Project ID"], row["Alive"]) for row in rows} == {
        *((name, ALPHA.id, alive) for name, alive in OF_ALPHA.items()),
        ("beta-1", BETA.id, True),
        ("beta-2", BETA.id, False),
    }


def test_a_member_may_not_list_all_projects(run: Run) -> None:
    done = run("server", "ping", "list", "--all-projects")
    assert (done.code, done.out) == (1, "")
    assert done.err == "Policy doesn't allow os_compute_api:os-fping:all_tenants to be performed.\n"


def test_list_of_some(run: Run, cloud: Catalog) -> None:
    cloud.requests.clear()
    include = ("--include", "off", "--include", uuid(1))
    done = run("server", "ping", "list", *include, "-f", "value", "-c", "Name", "-c", "Alive")
    assert done.out == "off False\nfixed True\n"


def test_list_of_some_of_another_project(run: Run) -> None:
    only = ("--include", uuid(9), "--include", uuid(10), "-f", "value", "-c", "Name", "-c", "Alive")
    assert run("server", "ping", "list", *only, user="admin").out == "beta-1 True\nbeta-2 False\n"


def test_list_without_some(run: Run) -> None:
    exclude = [word for name in ("off", "new", "v6") for word in ("--exclude", name)]
    done = run("server", "ping", "list", *exclude, "-f", "value", "-c", "Name")
    assert done.out.split() == ["fixed", "silent", "floating", "broken"]


def test_list_of_silent_ones(run: Run) -> None:
    assert run("server", "ping", "list", "--silent", "-f", "value", "-c", "Name").out == "silent\n"


def test_what_os_fping_leaves_out_is_unknown(run: Run, cloud: Catalog) -> None:
    cloud.servers.append(
        duplicate := NovaServer(
            id=uuid(99), name="twin", project_id=ALPHA.id, addresses=(address("10.0.0.1"),)
        )
    )
    try:
        with serving(cloud.region(), prober=Guests("10.0.0.1")) as api:
            done = run("server", "ping", "list", "--silent", "-f", "json", endpoint=api.url)
            rows = {row["Name"]: row["Alive"] for row in json.loads(done.out)}
            assert rows == {"silent": False, "fixed": None, "twin": None, "floating": False, "v6": False}
            table = run("server", "ping", "list", "--include", "twin", endpoint=api.url).out
            assert "| ACTIVE | unknown |" in table
            shown = run("server", "ping", "show", "twin", endpoint=api.url)
            assert shown.code == 1
            assert shown.err == (
                f"Whether instance {duplicate.id} is alive is not known: its address may be somebody else's "
                "as well. Ask again in 15 s.\n"
            )
            waited = run("server", "ping", "wait", "twin", "--timeout", "1ms", endpoint=api.url)
            assert waited.code == 1
            assert "  twin  is not known to answer or not: Whether instance" in waited.out
    finally:
        cloud.servers.remove(duplicate)


def test_show(run: Run) -> None:
    by_name = json.loads(run("server", "ping", "show", "silent", "-f", "json").out)
    assert by_name == {
        "id": uuid(2),
        "name": "silent",
        "project_id": ALPHA.id,
        "status": "ACTIVE",
        "alive": False,
    }
    assert json.loads(run("server", "ping", "show", uuid(2), "-f", "json").out) == by_name


def test_show_of_another_project(run: Run) -> None:
    assert run("server", "ping", "show", uuid(9), "-f", "value", "-c", "alive", user="admin").out == "True\n"
    done = run("server", "ping", "show", uuid(9))
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1


def lines(out: str) -> str:
    """Return what is printed, with no second gone: a busy machine may be late."""
    return re.sub(r"after \d+ s", "after 0 s", out)


def test_wait(run: Run) -> None:
    done = run("server", "ping", "wait", "fixed", uuid(3), "fixed")
    assert (done.code, done.err) == (0, "")
    assert lines(done.out) == f"{uuid(1)}  fixed  answers after 0 s\n{uuid(3)}  floating  answers after 0 s\n"


def test_wait_in_vain(run: Run) -> None:
    done = run("server", "ping", "wait", "fixed", "silent", "--timeout", "1ms")
    assert done.code == 1
    assert (
        lines(done.out)
        == f"{uuid(1)}  fixed  answers after 0 s\n{uuid(2)}  silent  does not answer after 0 s\n"
    )


def test_wait_until_down(run: Run) -> None:
    done = run("server", "ping", "wait", "--down", "off")
    assert (done.code, lines(done.out)) == (0, f"{uuid(5)}  off  does not answer after 0 s\n")
    done = run("server", "ping", "wait", "--down", "fixed", "--timeout", "1ms")
    assert (done.code, lines(done.out)) == (1, f"{uuid(1)}  fixed  still answers after 0 s\n")


def test_wait_of_an_admin_for_any_project(run: Run) -> None:
    assert run("server", "ping", "wait", uuid(9), user="admin").code == 0


def test_a_wrong_timeout(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("server", "ping", "wait", "fixed", "--timeout", "5")
    assert ended.value.code == 2
    assert "expected a duration above zero such as 500ms, 15s or 1m30s" in capsys.readouterr().err


def test_a_server_that_does_not_exist(run: Run) -> None:
    for command in ("show", "wait"):
        done = run("server", "ping", command, "nobody")
        assert (done.code, done.err) == (1, "No Server found for nobody\n")
