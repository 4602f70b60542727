"""The command ``wait``: some instances, pinged until each answers or is down."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

import msgspec
from tqdm import tqdm

from fping_exporter import open_files
from fping_exporter.cli.fleet_words import read_fleet
from fping_exporter.cli.one_sweep import prepare_sweep
from fping_exporter.cli.upstream import connect_upstream
from fping_exporter.config import Config
from fping_exporter.config.duration import Duration
from fping_exporter.model import Inventory
from fping_exporter.probe import check_permission
from fping_exporter.text import printable
from fping_exporter.wait import Ended, InstanceWait, Result, reason_of

__all__ = ["EXIT_TIME_UP", "as_json", "as_text", "wait"]

EXIT_TIME_UP = 1
"""Exit code when the time is up, or an instance was deleted, before all answered or were down."""


def wait(
    settings: Config, instances: Sequence[str], *, timeout: Duration, down: bool, json_lines: bool
) -> int:
    """Wait for `instances` (ids, names or addresses), and print a line for each; return the exit code.

    `down` waits until each is down instead of until it answers.
    """
    check_permission()
    open_files.raise_limit()
    job = InstanceWait(
        settings,
        connect_upstream(settings),
        sweep=prepare_sweep(settings),
        read_fleet=lambda: read_fleet(settings.fleet) if settings.fleet else None,
        down=down,
        timeout=timeout,
    )
    wanted = {Result.DOWN, Result.DELETED} if down else {Result.ANSWERS}
    missing = 0
    with _progress_bar() as bar:
        found = job.begin(instances)
        bar.reset(total=len(found))

        def show(reasons: Counter[str]) -> None:
            bar.set_postfix_str(", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))

        for ended in job.run(after_round=show):
            line = as_json(ended, job.inventory) if json_lines else as_text(ended, down=down)
            bar.write(line, file=sys.stdout)
            sys.stdout.flush()  # each as it comes, into a pipe too
            bar.update()
            missing += ended.result not in wanted
    if missing:
        what = "are not known to be down" if down else "did not answer"
        print(f"fping-exporter: {missing} of {len(found)} {what} within {timeout}", file=sys.stderr)
    return EXIT_TIME_UP if missing else 0


def _progress_bar() -> "tqdm[NoReturn]":
    """Return a line on standard error, if that is a terminal: how many are done, and why others are not."""
    return tqdm(
        desc="waiting",
        bar_format="{desc}: {n_fmt} of {total_fmt} [{elapsed}{postfix}]",
        leave=False,
        disable=None,
    )


def as_text(ended: Ended, *, down: bool) -> str:
    """Return the line on an instance; `down` says what was waited for."""
    return f"{ended.instance.id}  {printable(ended.instance.name)}  {_outcome(ended, down=down)}"


def _outcome(ended: Ended, *, down: bool) -> str:
    verdict, after = ended.verdict, f"after {ended.seconds:.1f} s"
    reason, status = reason_of(verdict), ended.instance.status
    match ended.result:
        case Result.ANSWERS:
            rtt = f" ({verdict.rtt * 1000:.3f} ms)" if verdict and verdict.rtt is not None else ""
            return f"answers {after}{rtt}"
        case Result.DOWN:
            return f"is down {after}: {reason}, {status}"
        case Result.DELETED:
            return f"was deleted {after}"
    if down and verdict and verdict.alive:
        return f"answers still, {status}"
    if verdict and verdict.asked:
        return (
            f"is silent, and not known to be down: {reason}, {status}"
            if down
            else f"does not answer: {reason}, {status}"
        )
    return f"could not be pinged: {reason}, {status}"


def as_json(ended: Ended, inventory: Inventory) -> str:
    """Return a JSON object on one line; times and round trips are in seconds."""
    instance, verdict = ended.instance, ended.verdict
    return msgspec.json.encode(
        {
            "id": instance.id,
            "name": instance.name,
            "project_id": instance.project_id,
            "project": inventory.project_name(instance.project_id),
            "status": instance.status,
            "result": ended.result,
            "seconds": round(ended.seconds, 3),
            "alive": verdict.alive if verdict else None,
            "layer2_alive": verdict.layer2_alive if verdict else None,
            "reason": verdict.reason if verdict else None,
            "rtt_seconds": verdict.rtt if verdict else None,
            "addresses": [address.ip for address in instance.addresses],
        }
    ).decode()
