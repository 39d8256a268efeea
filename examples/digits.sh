#!/usr/bin/env bash
# Installs what is missing, then goes the whole way once: trains an ABC-Net on handwritten digits, generates its
# Verilog, simulates it and compares. Arguments go to abc-hw demo.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../.ci/setup.sh" train,sim

abc-hw demo "$@"
