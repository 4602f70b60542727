"""A cloud of one's own on loopback, for a first look and for tests: no packet leaves the machine."""

from fping_exporter.demo.scene import make_nodes, make_projects, make_servers, make_users
from fping_exporter.demo.standin import Standin

__all__ = ["Demo"]


class Demo(Standin):
    """The demo's cloud, running within a ``with`` block.

    With the default of four instances it is the well-known case: ``selenium-0`` and ``text-0``
    are ACTIVE and silent, ``selenium-1`` answers, ``text-1`` is SHUTOFF. More make it a large one.

        with Demo(instances=1000) as demo:
            inventory = Cloud(Config(), region=demo.region()).inventory()
    """

    def __init__(self, *, instances: int = 4) -> None:
        """Make up a cloud of so many instances."""
        projects, nodes = make_projects(instances), make_nodes(instances)
        super().__init__(
            servers=make_servers(instances, projects, nodes),
            projects=projects,
            nodes=nodes,
            users=make_users(projects),
        )
