#!/usr/bin/env bash
# Checks the code and runs the tests, from a fresh machine: makes .venv first.
#
#   bash launch/run_tests.sh              ruff, mypy and the fast tests
#   bash launch/run_tests.sh -m slow      ... and the slow tests instead
#   bash launch/run_tests.sh -k critic    any pytest argument
#
# Exit codes: 0 all passed, 1 something failed, 2 no usable Python 3.11.
set -euo pipefail
# shellcheck source=launch/_environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_environment.sh"

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit 0
fi
prepare_environment
cd -- "$ROOT"

export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
export MPLBACKEND=Agg
# One thread for each of the two test processes, so that they do not fight.
export TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

failed=()
check() {
  say "== $1"
  shift
  "$PYTHON" -m "$@" || failed+=("$*")
}
check "lint" ruff check .
check "format" ruff format --check .
check "types" mypy
check "tests" pytest -n 2 -m "not slow" -rs "$@"

if ((${#failed[@]})); then
  printf 'failed: python -m %s\n' "${failed[@]}" >&2
  exit 1
fi
say "all passed in $SECONDS s"
