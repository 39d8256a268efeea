#!/usr/bin/env bash
# Installs what is missing, then checks style, types and behaviour. Arguments go to pytest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh" test

export OMP_NUM_THREADS=1 # the workers of pytest share the cores
unset PYTHONDONTWRITEBYTECODE # hundreds of processes load the same modules
ruff check .
said="$(mktemp)"
trap 'rm -f "$said"' EXIT
mypy >"$said" 2>&1 &
types=$!
failed=0
python -m pytest -q -n auto --dist worksteal "$@" || failed=$?
wait "$types" || failed=$?
cat "$said"
exit "$failed"
