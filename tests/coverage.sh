#!/usr/bin/env bash
# Which lines the suite runs, by room; pages in coverage/. Arguments go to pytest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh" test

export OMP_NUM_THREADS=1
.venv/bin/python -m pip install -q 'pytest-cov>=6'
python -m pytest -q -n auto --dist worksteal --cov=abc_hw --cov-report=term:skip-covered --cov-report=html:coverage "$@"
