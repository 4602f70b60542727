"""An embedded cloud on loopback for a first look and for tests. No packet leaves the machine."""

from fping_exporter.demo.scene import make_hypervisors, make_projects, make_servers, make_users
from fping_exporter.demo.standin import Standin

__all__ = ["Demo"]


class Demo(Standin):
    """The demo's cloud; it runs within a ``with`` block.

    The default of four instances is the README's case: ``selenium-0`` and ``text-0`` are ACTIVE and
    silent, ``selenium-1`` answers, ``text-1`` is SHUTOFF. Further instances are a mix of states.

        with Demo(instances=1000) as demo:
            inventory = Cloud(Config(), region=demo.region()).inventory()
    """

    def __init__(self, *, instances: int = 4) -> None:
        """Make a cloud with this number of instances."""
        projects, hypervisors = make_projects(instances), make_hypervisors(instances)
        super().__init__(
            servers=make_servers(instances, projects, hypervisors),
            projects=projects,
            hypervisors=hypervisors,
            users=make_users(projects),
        )
