#!/usr/bin/env bash
# From a fresh machine to a trained policy and a report, in about eleven minutes.
#
#   bash launch/quickstart.sh
#
# Makes .venv, collects 100,000 steps of a point mass in a maze, trains IDQL on
# them and writes runs/quickstart/report.html. Whatever is done already is
# skipped, and a stopped run goes on where it was.
#
# Exit codes: 0 done, 1 the work failed, 2 no usable Python 3.11, 75 stopped
# after saving (run it again to go on).
set -euo pipefail
# shellcheck source=launch/_environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/_environment.sh"

if (($#)); then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  if [[ "$1" == --help || "$1" == -h ]]; then exit 0; fi
  say "error: quickstart takes no argument, found '$1'; launch/train.py takes many" >&2
  exit 2
fi

data=runs/data/pointmaze-umaze
run=runs/quickstart
step() { printf '\n== %s   [%d:%02d]\n' "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

step "1/3 environment"
prepare_environment
say "ready: .venv"
cd -- "$ROOT"
export MPLBACKEND=Agg

step "2/3 data: 100,000 steps of PointMaze_UMaze-v3"
if [[ -d "$data" ]]; then
  say "there already: $data"
else
  "$PYTHON" launch/collect.py --env_id PointMaze_UMaze-v3 --num_steps 100000 \
    --output "$data"
fi

step "3/3 training, evaluation and report"
"$PYTHON" launch/train.py --dataset "minari:$data" --run_dir "$run" --seeds 0 \
  --gin_file gin/tasks/maze2d.gin --gin_file gin/protocols/quickstart.gin

step "done"
say "report:  $ROOT/$run/report.html"
say "Your own data next (d4rl:FILE.hdf5, ogbench:FILE.npz, npz:FILE.npz or minari:ID):"
say "  .venv/bin/python launch/inspect_data.py --dataset DATASET"
say "  .venv/bin/python launch/train.py --dataset DATASET --run_dir runs/mine"
