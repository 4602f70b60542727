"""Keystone's projects: all of them, or those that the configuration names."""

import re
from urllib.parse import quote

import msgspec

from fping_exporter.cloud.pages import decode
from fping_exporter.cloud.session import Client
from fping_exporter.errors import ConfigError, ForbiddenError, NotFoundError
from fping_exporter.model import Project

__all__ = ["find_project", "list_projects"]

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def list_projects(identity: Client) -> dict[str, Project]:
    """Return all projects by id. Raises ForbiddenError if the credentials may not list them."""
    return {project.id: project for project in decode(identity.get("/projects"), _Projects).projects}


def find_project(identity: Client, given: str, *, own: Project | None) -> Project:
    """Return the project that is `given` by name or id.

    Without the right to look projects up, two cases still work: the credentials' `own` project is found,
    and a text that looks like an id is taken as one, without a name.

    Raises ConfigError if there is no such project, or if several have that name.
    """
    if own and given in (own.id, own.name):
        return own
    try:
        found = decode(identity.get("/projects", params={"name": given}), _Projects).projects
        if not found:
            found = [decode(identity.get(f"/projects/{quote(given, safe='')}"), _One).project]
    except NotFoundError as error:
        raise ConfigError(
            f'projects: Keystone has no project "{given}", neither by name nor by id'
        ) from error
    except ForbiddenError as error:
        if _ID.fullmatch(given):
            return Project(given, "", "")
        raise ForbiddenError(
            f'projects: no right (identity:list_projects) to look up "{given}" by name; give its id ({error})'
        ) from error
    if len(found) > 1:
        ids = ", ".join(f"{project.id} (domain {project.domain_id})" for project in found)
        raise ConfigError(f'projects: "{given}" is the name of several; give the id: {ids}')
    return found[0]


class _Projects(msgspec.Struct):
    projects: list[Project]


class _One(msgspec.Struct):
    project: Project
