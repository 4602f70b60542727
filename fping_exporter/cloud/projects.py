"""Keystone's projects: all of them, or those that the configuration names."""

import re
from urllib.parse import quote

import msgspec

from fping_exporter.cloud.entries import EntryDecoder
from fping_exporter.cloud.pages import decode
from fping_exporter.cloud.session import Client
from fping_exporter.cloud.unreadable import Skip
from fping_exporter.errors import ConfigError, ForbiddenError, ListingError, NotFoundError
from fping_exporter.model import Project

__all__ = ["find_project", "list_projects"]

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def list_projects(identity: Client, *, skip: Skip) -> dict[str, Project]:
    """Return all projects by id; `skip` gets the entries that cannot be read.

    Raises ForbiddenError if the credentials may not list projects.
    """
    listed = _PROJECTS.decode(identity.get("/projects"))
    skip(listed.unreadable)
    return {project.id: project for project in listed.readable}


def find_project(identity: Client, given: str, *, own: Project | None) -> Project:
    """Return the project that is `given` by name or id.

    Without the right to look projects up, two cases still work: the credentials' `own` project is found,
    and a text that looks like an id is taken as one, without a name.

    Raises ConfigError if there is no such project, or if several have that name.
    """
    if own and given in (own.id, own.name):
        return own
    try:
        found = _PROJECTS.decode(identity.get("/projects", params={"name": given}))
        if not found.readable and not found.unreadable:
            body = identity.get(f"/projects/{quote(given, safe='')}")
            found = _PROJECTS.decode_one(bytes(decode(body, _OneProject).project))
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
    if found.unreadable:  # one that is left out may be the one
        raise ListingError(f'Keystone\'s projects called "{given}" cannot be read: {found.unreadable[0].why}')
    if len(found.readable) > 1:
        ids = ", ".join(f"{project.id} (domain {project.domain_id})" for project in found.readable)
        raise ConfigError(f'projects: "{given}" is the name of several; give the id: {ids}')
    return found.readable[0]


class _OneProject(msgspec.Struct):
    project: msgspec.Raw


_PROJECTS = EntryDecoder("Keystone", "projects", Project, links="links")
