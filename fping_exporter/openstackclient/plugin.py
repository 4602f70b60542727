"""What python-openstackclient asks of a plugin: names, the client, and global options.

https://docs.openstack.org/python-openstackclient/latest/contributor/plugins.html
"""

import argparse

from keystoneauth1.exceptions import CatalogException
from osc_lib import utils
from osc_lib.clientmanager import ClientManager
from osc_lib.exceptions import CommandError

from fping_exporter.openstackclient.client import OsFping

__all__ = [
    "API_NAME",
    "API_VERSIONS",
    "API_VERSION_OPTION",
    "DEFAULT_API_VERSION",
    "build_option_parser",
    "make_client",
]

API_NAME = "fping"
API_VERSION_OPTION = "os_fping_api_version"
"""There is one version only, so that no option of this name is added."""
DEFAULT_API_VERSION = "1"
API_VERSIONS = {"1": "fping_exporter.openstackclient.client.OsFping"}

_SERVICE_TYPES = ("fping", "os-fping")
"""In the catalog, best first."""


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the option that names the endpoint."""
    parser.add_argument(
        "--os-fping-endpoint",
        metavar="<fping-endpoint>",
        default=utils.env("OS_FPING_ENDPOINT"),
        help="URL of os-fping, default: that of the type fping in the catalog (Env: OS_FPING_ENDPOINT)",
    )
    return parser


def make_client(instance: ClientManager) -> OsFping:
    """Return the client of os-fping, which sends the user's own token.

    Raises CommandError if nothing says where os-fping is, or no URL does.
    """
    endpoint = instance.get_configuration().get("fping_endpoint") or _find_in_catalog(instance)
    if not endpoint:
        raise CommandError(
            "nothing says where os-fping is: set OS_FPING_ENDPOINT or --os-fping-endpoint to its URL, as "
            "http://exporter.example:10605/v2.1, or have an admin put that into the catalog: "
            '"openstack service create --name fping-exporter fping", '
            '"openstack endpoint create --region REGION fping public URL"'
        )
    return OsFping(instance.session, endpoint)


def _find_in_catalog(instance: ClientManager) -> str | None:
    for service_type in _SERVICE_TYPES:
        try:
            endpoint = instance.get_endpoint_for_service_type(
                service_type, region_name=instance.region_name, interface=instance.interface
            )
        except CatalogException:
            continue
        if endpoint:
            return endpoint
    return None
