"""An embedded cloud on loopback for a first look and for tests. No packet leaves the machine."""

from fping_exporter.demo.scene import (
    CONTACTS,
    SCENE_SIZE,
    make_hypervisors,
    make_neutron,
    make_projects,
    make_servers,
    make_users,
)
from fping_exporter.demo.standin import Standin

__all__ = ["CONTACTS", "SCENE_SIZE", "Demo"]


class Demo(Standin):
    """The demo's cloud; it runs within a ``with`` block.

    Its first instances are the scene: a guest for each reason, named after what is the matter with it.
    Further instances are a mix of states.

        with Demo(instances=1000) as demo:
            inventory = Cloud(Config(), region=demo.region()).inventory()

    The cloud is made up. What is said of its instances is not: they are pinged as any others
    (:mod:`fping_exporter.probe.loopback`), and the verdicts are the exporter's own.
    """

    def __init__(self, *, instances: int = SCENE_SIZE, port: int = 0) -> None:
        """Make a cloud with this number of instances; it listens on `port` if that is free."""
        projects, hypervisors = make_projects(instances), make_hypervisors(instances)
        super().__init__(
            servers=make_servers(instances, projects, hypervisors),
            projects=projects,
            hypervisors=hypervisors,
            users=make_users(projects),
            port=port,
        )
        self.neutron = make_neutron(self.servers)
