"""The command ``demo``: an embedded cloud on loopback, and the exporter for it."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from fping_exporter.cli.serve import block_signals, run_server
from fping_exporter.cloud import Cloud
from fping_exporter.config import Config, OsFping
from fping_exporter.demo import CONTACTS, Demo
from fping_exporter.probe import check_permission

__all__ = ["demo"]

_PORT = 10606
"""Where the demo's cloud listens if it can, so that the README can say it."""

_GREETING = """\
fping-exporter shows a cloud of its own. Nova calls most of its instances ACTIVE, and many do not
answer, each for a reason that its name tells. comes-and-goes is dead for 40 seconds of every two
minutes. End this with Ctrl-C.

  {url}/?refresh=15  the instances, silent ones first, loaded again every 15 s
  {url}/metrics      what Prometheus reads

In another terminal, in this directory. The passwords are no secret:

  unset OS_CLOUD
  export OS_AUTH_URL={auth_url} OS_USERNAME={username} OS_PASSWORD={password}
  export OS_PROJECT_NAME={project} OS_USER_DOMAIN_ID={domain} OS_PROJECT_DOMAIN_ID={domain}

What a sweep finds, why one instance does not answer, and when another has died:

  {program} list
  {program} explain blocked-by-security-group
  {program} wait comes-and-goes --down

os-fping, the API that Nova had, with a token of Keystone's:

  LOGIN='{{"auth":{{"identity":{{"methods":["password"],"password":{{"user":
    {{"name":"{username}","password":"{password}","domain":{{"id":"{domain}"}}}}}}}}}}}}'
  TOKEN=$(curl -si $OS_AUTH_URL/auth/tokens -H 'Content-Type: application/json' -d "$LOGIN" |
    sed -n 's/\\r$//; s/^X-Subject-Token: //Ip')
  curl -s -H "X-Auth-Token: $TOKEN" '{url}/v2.1/os-fping?all_tenants'

The same with python-novaclient 7.1.2:

  nova = novaclient.client.Client("2.35", session=session, endpoint_override="{url}/v2.1")

With python-openstackclient and the extra "openstack" (pip install '.[openstack]'): what Nova says, what the
ping says, what explains a guest that does not answer, and what a member of its project sees of it:

  openstack server list --all-projects
  openstack server ping list --all-projects
  openstack console log show {crashed}
  OS_USERNAME=member OS_PASSWORD=member OS_PROJECT_NAME=acceptance openstack server ping show selenium-0
"""


def demo(args: argparse.Namespace) -> int:
    """Serve the metrics of an embedded cloud until SIGTERM, SIGINT or SIGHUP."""
    block_signals()
    check_permission()
    settings = Config(contacts=CONTACTS, os_fping=OsFping(rate_limit="60/minute"))
    with Demo(instances=args.instances, port=_PORT) as stand_in:

        def greet(url: str) -> str:
            stand_in.os_fping_url = f"{url}/v2.1"
            auth = stand_in.cloud()["auth"]
            return _GREETING.format(
                url=url,
                auth_url=auth["auth_url"],
                username=auth["username"],
                password=auth["password"],
                project=auth["project_name"],
                domain=auth["user_domain_id"],
                crashed=stand_in.servers[0].id,
                program=_own_command(),
            )

        return run_server(
            args,
            settings,
            read=lambda: settings,
            connect=lambda settings, observe: Cloud(settings, observe=observe, region=stand_in.region()),
            reload_on_hangup=False,  # to the demo it is a closed terminal
            greet=greet,
        )


def _own_command() -> str:
    """Return how a shell in the same directory starts this program."""
    started = Path(sys.argv[0])
    if started.name != "__main__.py":
        return shlex.quote(sys.argv[0] if os.sep in sys.argv[0] else started.name)
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m fping_exporter"
