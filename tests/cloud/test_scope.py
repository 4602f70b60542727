"""Which projects are listed, and what the credentials' rights have to do with it."""

import pytest

from fping_exporter.demo.http import Answer
from fping_exporter.errors import CloudError, ConfigError, ForbiddenError
from fping_exporter.model import Inventory, Project
from tests.cloud.faulty import ALPHA, BETA, MEMBER, SERVERS, FaultyCloud, connect

PROJECTS = "/identity/v3/projects"
FORBIDDEN = Answer(403, {"error": {"code": 403, "message": "You are not authorized."}})


def projects_of(inventory: Inventory) -> set[str]:
    return {instance.project_id for instance in inventory.instances}


def test_an_admin_lists_all_projects(standin: FaultyCloud) -> None:
    inventory = connect(standin).cloud.inventory()
    assert len(inventory.instances) == 4
    assert inventory.projects == {project.id: project for project in standin.projects}
    assert inventory.parts == {"hypervisors": True, "projects": True}


@pytest.mark.parametrize("given", ["beta", BETA.id])
def test_a_project_is_listed_by_id_at_nova_whether_named_or_not(standin: FaultyCloud, given: str) -> None:
    inventory = connect(standin, projects=(given,)).cloud.inventory()
    assert projects_of(inventory) == {BETA.id}
    assert inventory.projects == {BETA.id: BETA}
    assert inventory.parts["projects"]
    assert {request.query["project_id"] for request in standin.asked(SERVERS)} == {BETA.id}


def test_several_projects_are_several_listings_and_none_twice(standin: FaultyCloud) -> None:
    inventory = connect(standin, projects=("beta", "alpha", ALPHA.id)).cloud.inventory()
    assert len(inventory.instances) == 4
    assert [request.query["project_id"] for request in standin.asked(SERVERS)] == [BETA.id] * 2 + [
        ALPHA.id
    ] * 2


def test_an_unknown_project_is_one_clear_error(standin: FaultyCloud) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(standin, projects=("alpha", "gamma/../x y")).cloud.inventory()
    assert str(caught.value) == (
        'projects: Keystone has no project "gamma/../x y", neither by name nor by id'
    )
    assert not standin.asked(SERVERS)


def test_a_name_that_several_projects_have_is_an_error_that_lists_them(standin: FaultyCloud) -> None:
    standin.projects.append(Project("d" * 32, "alpha", "other"))
    with pytest.raises(ConfigError) as caught:
        connect(standin, projects=("alpha",)).cloud.inventory()
    assert str(caught.value) == (
        f'projects: "alpha" is the name of several; give the id: {ALPHA.id} (domain default), '
        f"{'d' * 32} (domain other)"
    )


def test_a_project_that_is_deleted_later_costs_the_others_nothing(
    standin: FaultyCloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = connect(standin, projects=("alpha", "beta")).cloud
    before = cloud.inventory()
    standin.projects.remove(BETA)

    after = cloud.inventory()

    assert after.instances == before.instances, "Nova keeps the servers of a deleted project"
    assert after.projects == before.projects
    assert f'Keystone has no project "beta", neither by name nor by id; Nova is asked for {BETA.id}' in (
        caplog.text
    )


def test_without_the_right_to_all_projects_the_error_names_it_and_the_way_out(standin: FaultyCloud) -> None:
    with pytest.raises(ForbiddenError) as caught:
        connect(standin, MEMBER).cloud.inventory()
    assert str(caught.value) == (
        "all_projects: true needs the right os_compute_api:servers:detail:get_all_tenants, which Nova grants "
        f"to admins; without it, set all_projects: false ({standin.url}{SERVERS}: HTTP 403: "
        "Policy doesn't allow os_compute_api:servers:detail:get_all_tenants to be performed.)"
    )


@pytest.mark.parametrize("projects", [(), ("alpha",), (ALPHA.id,)])
def test_a_member_lists_the_own_project(standin: FaultyCloud, projects: tuple[str, ...]) -> None:
    listed = connect(standin, MEMBER, all_projects=False, projects=projects)
    inventory = listed.cloud.inventory()
    assert projects_of(inventory) == {ALPHA.id}
    assert inventory.projects == {ALPHA.id: ALPHA}
    assert inventory.hypervisors == ()
    assert inventory.parts == {"hypervisors": False, "projects": True}
    assert not standin.asked(PROJECTS)
    assert "all_tenants" not in standin.asked(SERVERS)[0].query


def test_an_admin_may_list_the_own_project_only(standin: FaultyCloud) -> None:
    inventory = connect(standin, all_projects=False).cloud.inventory()
    assert inventory.instances == ()
    assert inventory.parts == {"hypervisors": True, "projects": True}


def test_a_member_cannot_list_another_project(standin: FaultyCloud) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(standin, MEMBER, all_projects=False, projects=("beta",)).cloud.inventory()
    assert str(caught.value) == (
        'projects: "beta" is not "alpha", which the credentials belong to, and all_projects is false'
    )


def test_a_member_forbidden_to_list_at_all_gets_novas_words(standin: FaultyCloud) -> None:
    standin.fail(SERVERS, Answer(403, {"forbidden": {"code": 403, "message": "Policy says no."}}))
    with pytest.raises(ForbiddenError, match="HTTP 403: Policy says no"):
        connect(standin, MEMBER, all_projects=False).cloud.inventory()


def test_without_the_right_to_list_projects_the_own_name_is_left(standin: FaultyCloud) -> None:
    standin.fail(PROJECTS, FORBIDDEN)
    inventory = connect(standin).cloud.inventory()
    assert len(inventory.instances) == 4
    assert [project.name for project in inventory.projects.values()] == ["admin"]
    assert not inventory.parts["projects"]


def test_without_the_right_to_look_projects_up_ids_and_the_own_name_do(standin: FaultyCloud) -> None:
    for path in (PROJECTS, f"{PROJECTS}/{BETA.id}"):
        standin.fail(path, *[FORBIDDEN] * 9)
    inventory = connect(standin, projects=("admin", BETA.id)).cloud.inventory()
    assert projects_of(inventory) == {BETA.id}
    with pytest.raises(
        ForbiddenError, match=r'no right \(identity:list_projects\) to look up "beta" by name'
    ):
        connect(standin, projects=("beta",)).cloud.inventory()


def test_names_that_were_had_once_outlive_a_failure_of_keystone(
    standin: FaultyCloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = connect(standin).cloud
    names = cloud.inventory().projects
    standin.fail(PROJECTS, Answer(200, b"<html>"))
    inventory = cloud.inventory()
    assert inventory.projects == names
    assert not inventory.parts["projects"]
    assert (
        "projects could not be listed, those listed 0 s ago or before stay in use: "
        "Keystone's answer is no list" in caplog.text
    )


def test_a_failure_of_nova_is_an_error_and_the_next_listing_is_whole(standin: FaultyCloud) -> None:
    cloud = connect(standin).cloud
    standin.fail(SERVERS, None, *[Answer(503, b"not here")] * 4)
    with pytest.raises(CloudError, match="HTTP 503"):
        cloud.inventory()
    assert len(cloud.inventory().instances) == 4
