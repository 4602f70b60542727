"""Keystone's projects: all of them, or those that the configuration names."""

import re

from fping_exporter.cloud.keystone_lists import KeystoneList
from fping_exporter.cloud.session import Client
from fping_exporter.errors import ConfigError, ForbiddenError, ListingError, NotFoundError
from fping_exporter.model import Project

__all__ = ["PROJECTS", "find_project"]

_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

PROJECTS = KeystoneList("projects", Project)


def find_project(identity: Client, given: str, *, own: Project | None) -> Project:
    """Return the project that is `given` by name or id.

    Without the right to look projects up, two cases still work: the credentials' `own` project is found,
    and a text that looks like an id is taken as one, without a name.

    Raises ConfigError if there is no such project, or if several have that name.
    """
    if own and given in (own.id, own.name):
        return own
    try:
        found = PROJECTS.read(identity, {"name": given})
        if not found.entries and not found.unreadable:
            return PROJECTS.find(identity, given)
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
    if len(found.entries) > 1:
        ids = ", ".join(f"{project.id} (domain {project.domain_id})" for project in found.entries)
        raise ConfigError(f'projects: "{given}" is the name of several; give the id: {ids}')
    return found.entries[0]
