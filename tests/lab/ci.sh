#!/bin/bash
# Raises the lab, runs the tests marked `lab` against it, and stops it again.
#
#   ci.sh [PYTEST ARGUMENTS]
#
# Run as root, with the project's dependencies in .venv and Debian's prometheus
# installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
trap '"$here/down.sh"' EXIT
"$here/up.sh"
"$here/seed.py" 60 --ipv6 --floating 2
"$here/vms.py" up
cd "$here/../.."
.venv/bin/python -m pytest -m lab --durations=10 "$@"
