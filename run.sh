#!/usr/bin/env bash
# One entry for everything: `./run.sh help` lists the commands. Paths on the
# command line count from the caller's folder.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
venv=${VENV:-$root/.venv}
python=$venv/bin/python
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}

usage() {
  cat <<'TXT'
usage: ./run.sh [COMMAND ...]

  (none)           set up, train the laptop preset, evaluate it beside a
                   random policy, and write the report
  setup [--cpu|--gpu]  create .venv, install requirements.txt, check rendering;
                   NVIDIA's libraries with --gpu, or where a driver is found
  train [AGENT] [--configs PRESET ...] [--key value ...] --logdir DIR
  eval  [AGENT] --logdir DIR [--episodes N] [--policy trained|random|untrained]
  report RUN ...   what runs have reached: tables, a page, a picture; the same
                   as scores report
  scores ...       the papers' tables, comparisons with them, the runs behind
                   them: ./run.sh scores --help
  sweep NAME ...   all runs of a table, a figure or a file, here or on a Ray
                   cluster: ./run.sh sweep --help
  audit ...        every hyperparameter beside the paper's and the releases';
                   configs and runs compared: ./run.sh audit --help
  bench ...        speed and memory of updates, environments and replay
  export AGENT ... the compiled train and policy steps, for machines without
                   TensorFlow: ./run.sh export --help
  conform CASE [ARRAYS.npz]  another program's arrays beside the released code's;
                   NumPy is enough: ./run.sh conform --help
  parity ...       compare with the golden numbers of the released code
  test [--all] ... pytest; --all also runs what takes minutes
  help             this text

AGENT is dreamerv1 (default), dreamerv2, or a package of yours that is in this
folder. `./run.sh train --help` lists every preset and key. VENV=DIR uses
another folder than .venv.
TXT
}

fail() { echo "error: $*" >&2; exit 2; }

PYTHONS='python3.12 python3.11 python3.10 python3 python'

usable() {  # usable PYTHON: 3.10 to 3.12, able to create environments
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
    >/dev/null 2>&1
}

may_install() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

install_packages() {
  echo "Installing $*." >&2
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
      apt-get install -qq -y --no-install-recommends "$@"; } >&2
}

python_with_venv() {
  local name
  for name in $PYTHONS; do
    if usable "$name" && "$name" -c 'import venv, ensurepip' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

find_python() {
  local name
  python_with_venv && return
  may_install && install_packages python3 python3-venv &&
    python_with_venv && return
  for name in $PYTHONS; do
    usable "$name" && fail "$name lacks the venv module: install" \
      "$name-venv (Debian, Ubuntu: apt-get install python3-venv)"
  done
  fail 'no Python 3.10, 3.11 or 3.12 found: install one of them'
}

sees_gpu() { nvidia-smi -L >/dev/null 2>&1 || [[ -e /proc/driver/nvidia/version ]]; }

variant() {  # as asked for, as the environment has it, or as the machine is
  local kept=$venv/variant
  if [[ ${1:-} ]]; then
    echo "$1"
  elif [[ -s $kept ]]; then
    cat "$kept"
  elif sees_gpu; then
    echo gpu
  else
    echo cpu
  fi
}

ensure_venv() {  # ensure_venv [cpu|gpu]
  local base stamp kind files=("$root/requirements.txt"
    "$root/.ci/requirements-cluster.txt" "$root/.ci/requirements-test.txt")
  kind=$(variant "${1:-}")
  [[ $kind == cpu ]] || files+=("$root/.ci/requirements-gpu.txt")
  stamp=$(cat "${files[@]}" | sha256sum)
  if [[ $(cat "$venv/requirements.sha256" 2>/dev/null) == "$stamp" ]] &&
      usable "$python"; then
    return
  fi
  if ! usable "$python"; then
    base=$(find_python)
    echo "Creating $venv with $("$base" --version)." >&2
    "$base" -m venv --clear "$venv"
  fi
  if [[ $kind == gpu ]]; then
    echo "Installing requirements.txt and NVIDIA's libraries for TensorFlow" \
      '(7 GB, some minutes); ./run.sh setup --cpu goes without them.' >&2
  else
    echo 'Installing requirements.txt for the CPU (2.5 GB, a minute or two);' \
      "./run.sh setup --gpu adds NVIDIA's libraries." >&2
  fi
  "$python" -m pip install --quiet "${files[@]/#/-r}" >&2 ||
    fail 'pip could not install the requirements: see its lines above'
  echo "$kind" >"$venv/variant"
  echo "$stamp" >"$venv/requirements.sha256"
}

ensure_gl() {
  "$python" -m dreamer.envs.gl >&2 && return
  local packages='libegl1 libegl-mesa0 libgl1-mesa-dri libgl1'
  if may_install; then
    install_packages $packages || true
    "$python" -m dreamer.envs.gl >&2 && return
  fi
  fail "MuJoCo cannot render here: install $packages" \
    '(or libosmesa6), then run ./run.sh setup again'
}

setup() {  # setup [--cpu|--gpu]
  case ${1:-} in
    '') ensure_venv ;;
    --cpu | --gpu) ensure_venv "${1#--}" ;;
    *) fail "setup: unknown option '$1'; allowed: --cpu, --gpu (none: as the" \
      'machine is)' ;;
  esac
  ensure_gl
}

main_job() {
  local logdir=$root/runs/laptop
  setup
  exec "$python" -m scores demo --logdir "$logdir"
}

run_tests() {
  local select=(-m 'not slow')
  if [[ ${1:-} == --all ]]; then
    select=()
    shift
  fi
  ensure_venv
  cd "$root"
  # A process per core, whole files each; `-n 0` runs all in one.
  exec "$python" -m pytest -n auto --maxprocesses 4 --dist loadfile \
    "${select[@]}" "$@"
}

run_module() {
  ensure_venv
  exec "$python" -m "$@"
}

run_conform() {  # with what there is: it needs no more than NumPy
  local name
  for name in "$python" $PYTHONS; do
    if usable "$name" && "$name" -c 'import numpy' 2>/dev/null; then
      exec "$name" -m dreamer.conform "$@"
    fi
  done
  fail 'conform needs NumPy: pip install numpy (or ./run.sh setup, for all' \
    'that is here)'
}

command=${1:-main}
shift || true
case $command in
  main) main_job ;;
  setup) setup "$@" ;;
  train | eval) run_module dreamer "$command" "$@" ;;
  report) run_module scores report "$@" ;;
  bench | audit) run_module "dreamer.$command" "$@" ;;
  export) run_module dreamer.export "$@" ;;
  conform) run_conform "$@" ;;
  parity) run_module tests.parity "$@" ;;
  scores) run_module scores "$@" ;;
  sweep) run_module scores sweep "$@" ;;
  test) run_tests "$@" ;;
  help | -h | --help) usage ;;
  *) fail "unknown command '$command'; commands: setup train eval report" \
    'scores sweep audit bench export conform parity test help (none: the laptop run)' ;;
esac
