#!/bin/bash
# Runs the tests marked `lab`, which raise the lab unless it is up, and stops it again.
#
#   ci.sh [PYTEST ARGUMENTS]
#
# Run as root, with the project's dependencies in .venv and Debian's prometheus and chromium
# installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
trap '"$here/down.sh"' EXIT
cd "$here/../.."
.venv/bin/python -m pytest -m lab --durations=10 "$@"
