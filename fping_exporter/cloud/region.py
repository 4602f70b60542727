"""The configured cloud and its credentials, from clouds.yaml and the OS_* variables."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import openstack.config
import yaml
from keystoneauth1 import exceptions as ka
from openstack.config import loader
from openstack.config.cloud_region import CloudRegion
from openstack.exceptions import SDKException

from fping_exporter import __version__
from fping_exporter.cloud.faults import UNREADABLE, describe, redact
from fping_exporter.config import Config
from fping_exporter.errors import ConfigError

__all__ = ["identify", "read_region"]

logger = logging.getLogger(__name__)


_OWN_PROJECT = (
    "project_id",
    "project_name",
    "project_domain_id",
    "project_domain_name",
    "application_credential_id",
    "application_credential_name",
    "user_id",
    "username",
)
"""What credentials may have that tells which project they are of. None of it is secret."""


def identify(region: CloudRegion, *, own_project: bool) -> dict[str, str]:
    """Return what tells one cloud and region from others, without secrets.

    With `own_project`, also what tells the project that the credentials belong to.
    """
    auth: Mapping[str, object] = region.config.get("auth", {})
    names = ("auth_url", *(_OWN_PROJECT if own_project else ()))
    given = {f"auth.{name}": redact(str(auth[name])) for name in names if auth.get(name)}
    return {"region_name": region.region_name or "", **given}


def read_region(config: Config) -> CloudRegion:
    """Read clouds.yaml and the OS_* variables as openstacksdk does; raise ConfigError if they are wrong."""
    clouds_unread = _why_unreadable("OS_CLIENT_CONFIG_FILE", loader.CONFIG_FILES)
    hint = f"; {clouds_unread}" if clouds_unread else ""
    if secure_unread := _why_unreadable("OS_CLIENT_SECURE_FILE", loader.SECURE_FILES):
        logger.warning("%s", secure_unread)
    try:
        settings = _Settings(app_name="fping-exporter", app_version=__version__)
        names = [name for name in settings.get_cloud_names() if name != "defaults"]
        cloud = config.cloud or os.environ.get("OS_CLOUD") or None
        if cloud and cloud not in names:
            known = ", ".join(sorted(names)) or ("none" if hint else "none: no clouds.yaml was found")
            where = "cloud" if config.cloud else "OS_CLOUD"
            raise ConfigError(f'{where}: "{cloud}" is not an entry of clouds.yaml; known are {known}{hint}')
        cloud = cloud or settings.default_cloud or ""
        return settings.get_one(cloud=cloud, region_name=_choose_region(config, settings, cloud))
    except ka.MissingRequiredOptions as error:
        missing = ", ".join(sorted(option.dest for option in error.options))
        raise ConfigError(
            f"no complete credentials for OpenStack, missing: {missing}; set `cloud` to an entry of "
            f"clouds.yaml, or the OS_* variables{hint}"
        ) from error
    except yaml.MarkedYAMLError as error:  # its text may quote a line that has a password
        mark = error.problem_mark or error.context_mark
        place = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"clouds.yaml{place}: {error.problem or error.context}") from None
    except (SDKException, ka.ClientException, OSError, *UNREADABLE) as error:
        raise ConfigError(f"the configuration of OpenStack: {describe(error)}") from error


class _Settings(openstack.config.OpenStackConfig):
    """What openstacksdk reads, with the regions that an entry of clouds.yaml has."""

    def regions(self, cloud: str) -> list[str]:
        """Return the names of the regions; where none is configured, one that is empty."""
        return [region["name"] for region in self._get_regions(cloud)]


def _choose_region(config: Config, settings: _Settings, cloud: str) -> str:
    """Return the configured region of `cloud`; empty where none is configured."""
    regions = settings.regions(cloud)
    if chosen := config.region:
        source = "the configuration"
    elif chosen := os.environ.get("OS_REGION_NAME", ""):
        source = "OS_REGION_NAME"
    elif len(regions) > 1:
        raise ConfigError(
            f'region: "{cloud}" in clouds.yaml has several, set one here or in OS_REGION_NAME: '
            f"{', '.join(regions)}"
        )
    else:
        [chosen] = regions
        source = "clouds.yaml"
    if any(regions) and chosen not in regions:
        raise ConfigError(
            f'region: "{chosen}", from {source}, is none of "{cloud}" in clouds.yaml, which has '
            f"{', '.join(regions)}"
        )
    if chosen:
        logger.info("region chosen", extra={"cloud": cloud, "region": chosen, "source": source})
    return chosen


def _why_unreadable(variable: str, places: Sequence[str]) -> str | None:
    """Return why openstacksdk would skip a file that is there, of which it says nothing; None: it would not.

    The file is the first of `places`, or the one that `variable` names: then ConfigError is raised.
    """
    named = os.environ.get(variable)
    path = named or next(filter(os.path.exists, places), None)
    if not path:
        return None
    try:
        with Path(path).open("rb"):
            return None
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        if isinstance(error, PermissionError):
            why += (
                f"; make it readable for uid {os.geteuid()} or gid {os.getegid()}, which the exporter runs as"
            )
    if named:
        raise ConfigError(f"{variable}: {why}")
    return why
