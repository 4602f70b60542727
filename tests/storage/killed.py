"""Kills processes while they write the state, and reads what they leave; see test_killed.py."""

import os
import random
import signal
import sys
import time
from pathlib import Path

from fping_exporter.model import Inventory
from fping_exporter.storage.directory import Directory
from tests.build import instance, inventory
from tests.storage.alone import AloneStorage
from tests.storage.worlds import SCOPE, state_of

SIZES = (300, 900)
INVENTORIES = {
    size: inventory(*(instance(str(number), "10.0.0.1") for number in range(size))) for size in SIZES
}


def write_for_ever(path: Path, ready: int) -> None:
    storage = AloneStorage(Directory(path), interval=0)
    storage.read(SCOPE)
    while True:
        for there in INVENTORIES.values():
            storage.save(state_of(there), scope=SCOPE)
            storage.write().wait()
            os.write(ready, b".")


def main(path: Path, kills: int) -> None:
    halves = 0
    for _ in range(kills):
        readable, writable = os.pipe()
        child = os.fork()
        if not child:
            write_for_ever(path, writable)
        os.close(writable)
        os.read(readable, 1)  # it has written once
        time.sleep(random.uniform(0, 0.01))  # noqa: S311
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(readable)
        halves += len(list(path.glob("*.tmp")))

        storage = AloneStorage(Directory(path))
        state = storage.read(SCOPE)
        storage.close(0)
        assert state is not None
        found: Inventory = state.inventory
        assert found.instances == INVENTORIES[len(found.instances)].instances
    sys.stdout.write(f"{halves} of {kills} kills left half a file")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
