"""The command ``demo``: an embedded cloud on loopback, and the exporter for it."""

import argparse

from fping_exporter.cli.serve import block_signals, run_server
from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.demo import CONTACTS, Demo
from fping_exporter.probe import check_permission

__all__ = ["demo"]

_GREETING = """\
fping-exporter shows a cloud of its own. Nova calls most of its instances ACTIVE, and many do not
answer, each for a reason that its name tells. comes-and-goes is dead for 40 seconds of every two
minutes.

  {url}/         the instances, silent ones first
  {url}/metrics  what Prometheus reads

In the metrics, compare instance_hypervisor_active, Nova's word, with instance_alive, the
ping's; instance_silent has the reason. End this with Ctrl-C.
"""


def demo(args: argparse.Namespace) -> int:
    """Serve the metrics of an embedded cloud until SIGTERM, SIGINT or SIGHUP."""
    block_signals()
    check_permission()
    settings = Config(contacts=CONTACTS)
    with Demo(instances=args.instances) as stand_in:
        return run_server(
            args,
            settings,
            read=lambda: settings,
            connect=lambda settings, observe: Cloud(settings, observe=observe, region=stand_in.region()),
            reload_on_hangup=False,  # to the demo it is a closed terminal
            greeting=_GREETING,
        )
