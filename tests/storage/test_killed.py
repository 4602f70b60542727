"""``kill -9`` while the state is written."""

import re
import subprocess
import sys
from pathlib import Path

from tests.storage import killed

KILLS = 100


def test_a_killed_process_leaves_a_whole_file(tmp_path: Path) -> None:
    # In a process of its own, which may fork: it has no threads.
    done = subprocess.run(
        [sys.executable, "-m", killed.__name__, str(tmp_path), str(KILLS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    halves = re.match(r"\d+", done.stdout)
    assert halves
    assert int(halves[0]) > 0, "none was killed in the middle"
