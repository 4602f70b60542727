"""Whom to write to about a project: the e-mail addresses of its users in Keystone."""

import msgspec

from fping_exporter.cloud.pages import decode
from fping_exporter.cloud.session import Client

__all__ = ["list_contacts"]


def list_contacts(identity: Client) -> dict[str, str]:
    """Return the addresses of each project's users, sorted and joined by commas, by the project's id.

    Two requests, whatever the number of projects: the role assignments, groups resolved into
    their users, and the users. Who has no e-mail address in Keystone or is disabled is left out.

    Raises ForbiddenError where the credentials may not list either.
    """
    users = decode(identity.get("/users"), _Users).users
    addresses = {user.id: user.email for user in users if user.email and user.enabled}
    assignments = decode(
        identity.get("/role_assignments", params={"effective": "true"}), _Assignments
    ).role_assignments
    found: dict[str, set[str]] = {}
    for assignment in assignments:
        project, user = assignment.scope.project, assignment.user
        if project and user and user.id in addresses:
            found.setdefault(project.id, set()).add(addresses[user.id])
    return {project: ",".join(sorted(emails)) for project, emails in found.items()}


class _User(msgspec.Struct):
    id: str
    email: str | None = None
    enabled: bool = True


class _Users(msgspec.Struct):
    users: list[_User]


class _Assignment(msgspec.Struct):
    scope: "_Scope"
    user: "_Id | None" = None


class _Scope(msgspec.Struct):
    project: "_Id | None" = None


class _Id(msgspec.Struct):
    id: str


class _Assignments(msgspec.Struct):
    role_assignments: list[_Assignment]
