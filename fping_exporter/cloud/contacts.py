"""Mail addresses of projects: those of the configuration, or those of their users in Keystone."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from fping_exporter.cloud.keystone_lists import KeystoneList, LookedUp, Lookups
from fping_exporter.cloud.session import Client
from fping_exporter.cloud.unreadable import Skip
from fping_exporter.config.mail_address import are_mail_addresses
from fping_exporter.model import Project

__all__ = ["Contacts", "User", "by_project", "list_contacts"]


class Contacts(NamedTuple):
    """Mail addresses of projects, and what was left out."""

    emails: dict[str, str]
    """Mail addresses, joined by commas, by the project's id."""
    faults: tuple[str, ...] = ()
    """What was left out and why, one line each, without a mail address."""
    looked_up: "LookedUp[User]" = LookedUp({}, (), (), ())
    """What is known of users that Keystone's list lacks."""
    truncated: bool = False
    """Whether Keystone said that it cut the role assignments."""


def by_project(given: Mapping[str, str], projects: Mapping[str, Project]) -> Contacts:
    """Return the mail addresses that are `given` for ids or names of `projects`, by id.

    Whoever may create projects in any domain chooses their names. So an id goes before a name, and a
    name counts only if exactly one project has it: nobody can take another project's contact away.
    A key that is neither may be the id of a project that the credentials do not show, and is kept.
    """
    named: dict[str, list[Project]] = {}
    for project in sorted(projects.values(), key=lambda project: project.id):
        named.setdefault(project.name, []).append(project)
    by_name: dict[str, str] = {}
    by_id: dict[str, str] = {}
    unknown: list[str] = []
    faults: list[str] = []
    for key, emails in given.items():
        found = named.get(key, [])
        if key in projects:
            by_id[key] = emails
        elif len(found) == 1:
            by_name[found[0].id] = emails
        elif found:
            faults.append(_ambiguous(key, found))
        else:
            by_id[key] = emails
            unknown.append(f'"{key}"')
    if unknown:
        faults.append(f"neither id nor name of a project that Keystone lists: {', '.join(unknown)}")
    return Contacts(by_name | by_id, tuple(faults))


def _ambiguous(name: str, found: Iterable[Project]) -> str:
    ids = ", ".join(f"{project.id} (domain {project.domain_id})" for project in found)
    return f'"{name}" is left out, as it is the name of several projects; give the id: {ids}'


def list_contacts(
    identity: Client, *, needed: Collection[str], lookups: "Lookups[User]", skip: Skip
) -> Contacts:
    """Return the mail addresses of each project's users, sorted.

    This takes two lists, whatever the number of projects: the users, and the role assignments with
    groups resolved into their users. Users are left out if they are disabled or have no mail address, or
    one that is malformed, which would keep the mail from the others. `skip` gets the users and assignments
    that cannot be read.

    Users of the projects `needed` that the list lacks are looked up one by one: Keystone cuts it at its
    `list_limit`, and leaves out those of domains with a driver of their own.

    Raises ForbiddenError if the credentials may not list either.
    """
    users = _USERS.read(identity)
    assignments = _ASSIGNMENTS.read(identity, {"effective": "true"})
    skip(users.unreadable)
    skip(assignments.unreadable)
    pairs = [
        (assignment.scope.project.id, assignment.user.id)
        for assignment in assignments.entries
        if assignment.scope.project and assignment.user
    ]
    known = {user.id for user in users.entries} | {each.known_id for each in users.unreadable}
    missing = {user for project, user in pairs if project in needed and user not in known}
    looked_up = lookups.look_up(missing, lambda id_: _USERS.find(identity, id_))
    addresses = {
        user.id: user.email
        for user in (*users.entries, *looked_up.found.values())
        if user.email and user.enabled
    }
    found: dict[str, set[str]] = {}
    malformed: set[str] = set()
    for project, user in pairs:
        if user not in addresses:
            continue
        if are_mail_addresses(addresses[user]):
            found.setdefault(project, set()).add(addresses[user])
        else:
            malformed.add(user)
    return Contacts(
        {project: ",".join(sorted(emails)) for project, emails in found.items()},
        _faults(malformed),
        looked_up,
        truncated=assignments.truncated,
    )


def _faults(users: set[str]) -> tuple[str, ...]:
    if not users:
        return ()
    return (
        f"left out are users whose e-mail in Keystone is no mail address: {len(users)}, first {min(users)}",
    )


class User(msgspec.Struct):
    """A user of Keystone."""

    id: str
    email: str | None = None
    enabled: bool = True


class _Assignment(msgspec.Struct):
    scope: "_Scope"
    user: "_Id | None" = None


class _Scope(msgspec.Struct):
    project: "_Id | None" = None


class _Id(msgspec.Struct):
    id: str


_USERS = KeystoneList("users", User)
_ASSIGNMENTS = KeystoneList("role_assignments", _Assignment)
