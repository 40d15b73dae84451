#!/usr/bin/env bash
# One entry for everything: `./run.sh help` lists the commands. Paths on the
# command line count from the caller's folder.
set -euo pipefail
[[ . -ef $PWD ]] || {
  echo 'error: the folder you are in was deleted; cd to another one (also if one' \
    'of its name is there again)' >&2
  exit 2
}
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)

usage() {
  cat <<'TXT'
usage: ./run.sh [COMMAND ...]

  (none)           set up, train the laptop preset for its first minutes,
                   evaluate it beside a random policy, and write the report
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

AGENT is dreamerv1 (default), dreamerv2, dreamerv3, or a package of yours that
is in this folder. `./run.sh train --help` lists every preset and key. VENV=DIR uses
another folder than .venv: a new one, or one that was made by this; of any other
environment it replaces nothing.
TXT
}

fail() { echo "error: $*" >&2; exit 2; }

absolute() {  # absolute PATH: counted from the caller's folder
  local path=$1
  [[ $path != '~/'* ]] || path=~/${path#'~/'}
  [[ $path == /* ]] || path=$PWD/$path
  while [[ $path == */ && $path != / ]]; do path=${path%/}; done
  echo "$path"
}

search_path() {  # PYTHONPATH, ours first and without the caller's folder
  local entry found=$root entries
  IFS=: read -ra entries <<<"${PYTHONPATH:-}"
  for entry in ${entries[@]+"${entries[@]}"}; do
    [[ -z $entry || $entry -ef . ]] || found+=:$(absolute "$entry")
  done
  echo "$found"
}

venv=$(absolute "${VENV:-$root/.venv}")
python=$venv/bin/python
mark=$venv/made-by-run.sh  # where it stands, run.sh may clear the folder
PYTHONPATH=$(search_path)
export PYTHONPATH

module() {  # module PYTHON NAME ARGS...: no module of the caller's folder
  "$1" "$root/dreamer/launch.py" "${@:2}"
}

PYTHONS='python3.12 python3.11 python3 python'

usable() {  # usable PYTHON: 3.11 or 3.12
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
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
    if usable "$name" &&
        (cd "$root" && "$name" -c 'import venv, ensurepip') 2>/dev/null; then
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
  # Ubuntu 22.04 has it beside 3.10.
  may_install && install_packages python3.11 python3.11-venv &&
    python_with_venv && return
  for name in $PYTHONS; do
    usable "$name" && fail "$name lacks the venv module: install" \
      "$name-venv (Debian, Ubuntu: apt-get install python3-venv)"
  done
  fail 'no Python 3.11 or 3.12 found: install one of them'
}

sees_gpu() { nvidia-smi -L >/dev/null 2>&1 || [[ -e /proc/driver/nvidia/version ]]; }

variant() {  # as asked for, as the environment has it, or as the machine is
  local kept=$venv/variant
  if [[ ${1:-} ]]; then
    echo "$1"
  elif [[ $(cat "$kept" 2>/dev/null) =~ ^(cpu|gpu)$ ]]; then
    echo "${BASH_REMATCH[1]}"
  elif sees_gpu; then
    echo gpu
  else
    echo cpu
  fi
}

# One set-up at a time. The lock is one on an open file: it ends with the
# process and what that has started, however they end.

hold() {  # hold [-n]: 1: another one has it, above: there are no locks here
  local name
  command -v flock >/dev/null && { flock "$@" 9 2>/dev/null; return; }
  for name in $PYTHONS; do  # A parent keeps what its child locks of a file.
    (cd "$root" && "$name" - "$@" <<'PY'
import fcntl, sys
try:
  fcntl.flock(9, fcntl.LOCK_EX | (fcntl.LOCK_NB if sys.argv[1:] else 0))
except BlockingIOError:
  sys.exit(1)
except OSError:
  sys.exit(2)
PY
    ) 2>/dev/null && return
    case $? in 1 | 2) return $? ;; esac
  done
  return 3
}

lock() {
  local status=0 held
  { held=$(cat "$venv.lock"); } 2>/dev/null || true
  [[ -z $held || $held == "process "*" on "* ]] ||
    fail "$venv.lock, which keeps a second set-up out, is there already and was" \
      'not written by ./run.sh; name another folder by VENV, or move it away'
  mkdir -p "$(dirname "$venv")" 2>/dev/null || true
  { exec 9<>"$venv.lock"; } 2>/dev/null ||
    fail "can not write $venv.lock, which keeps a second set-up out"
  hold -n || status=$?
  if [[ $status == 1 ]]; then
    echo "Waiting for $(cat "$venv.lock"), which sets up $venv." >&2
    status=0
    hold || status=$?
  fi
  [[ $status == 0 ]] || echo "warning: $venv.lock can not be locked there:" \
    'start no second ./run.sh before this one has set up' >&2
  echo "process $$ on $(uname -n)" >"$venv.lock"
}

unlock() { exec 9>&-; }

ensure_venv() {  # ensure_venv [cpu|gpu]
  files=("$root/requirements.txt" "$root/.ci/requirements-cluster.txt"
    "$root/.ci/requirements-test.txt")
  kind=$(variant "${1:-}")
  [[ $kind == cpu ]] || files+=("$root/.ci/requirements-gpu.txt")
  stamp=$(cat "${files[@]}" | sha256sum)
  is_set_up && return
  lock
  is_set_up || install_venv  # Another one may have done it meanwhile.
  unlock
}

is_set_up() {
  [[ $(cat "$venv/requirements.sha256" 2>/dev/null) == "$stamp" ]] &&
    usable "$python"
}

install_venv() {
  if [[ -e $mark ]]; then
    usable "$python" && module "$python" pip --version >/dev/null 2>&1 ||
      make_venv
  elif [[ -L $venv && ! -e $venv ]]; then
    fail "$venv is a link to a folder that is not there; is a disk not mounted?"
  elif [[ ! -e $venv ]] || is_empty_folder "$venv"; then
    make_venv
  else
    check_foreign
  fi
  if [[ $kind == gpu ]]; then
    echo "Installing requirements.txt and NVIDIA's libraries for TensorFlow" \
      '(7 GB, some minutes); ./run.sh setup --cpu goes without them.' >&2
  else
    echo 'Installing requirements.txt for the CPU (2.5 GB, a minute or two);' \
      "./run.sh setup --gpu adds NVIDIA's libraries." >&2
  fi
  by_uv || module "$python" pip install --quiet "${files[@]/#/-r}" >&2 ||
    fail 'pip could not install the requirements: see its lines above'
  keep "$kind" "$venv/variant"
  keep "$stamp" "$venv/requirements.sha256"
}

by_uv() {  # installs several times faster than pip, and what pip would
  local line told options=() uv=$venv/bin/uv cache=$venv/.cache-uv
  [[ -e $mark ]] || return 1  # Nothing is added to a folder of others.
  if ! told=$(module "$python" pip config list |
      "$python" "$root/.ci/uv_options.py"); then
    echo "By pip: uv does not know its setting $told." >&2
    return 1
  fi
  module "$python" pip install --quiet -r "$root/.ci/requirements-uv.txt" \
    >/dev/null 2>&1 || { echo 'By pip: uv can not be had here.' >&2; return 1; }
  while IFS= read -r line; do
    case $line in
      [A-Z]*=*) local -x "${line?}" ;;
      ?*) options+=("$line") ;;
    esac
  done <<<"$told"
  echo "By $("$uv" --version)." >&2
  local -x UV_CACHE_DIR=${UV_CACHE_DIR:-$cache}
  local status=0
  "$uv" pip install --quiet --python "$python" --directory "$root" \
    "${options[@]}" "${files[@]/#/-r}" >&2 || status=$?
  rm -rf "$cache"
  [[ $status == 0 ]] || echo 'By pip: uv could not, see its lines above.' >&2
  return $status
}

is_empty_folder() { [[ -d $1 && -r $1 && -z $(ls -A "$1") ]]; }

make_venv() {  # in a new or an empty folder, or one that was made here
  local base
  base=$(find_python)
  echo "Creating $venv with $("$base" --version)." >&2
  mkdir -p "$venv" && echo 'run.sh made this folder, and clears it where its
Python does not work any more. Keep nothing of your own here.' >"$mark" ||
    fail "can not create $venv"
  find "$venv/" -mindepth 1 -maxdepth 1 ! -name "${mark##*/}" \
    -exec rm -rf -- {} +
  module "$base" venv "$venv" >&2 ||
    fail "could not create $venv: see the lines above"
}

check_foreign() {  # Installs only where nothing of somebody else's is replaced
  local other='name a new folder by VENV, or move this one away' name=
  for name in variant requirements.sha256; do
    [[ ! -s $venv/$name || $(cat "$venv/$name") =~ ^(cpu|gpu|[0-9a-f]{64} .*)$ ]] ||
      fail "$venv/$name is there already, and was not written by ./run.sh; $other"
  done
  usable "$python" || fail "$venv was not made by ./run.sh, and no Python 3.11" \
    "or 3.12 runs in it; $other"
  [[ -e $venv/requirements.sha256 ]] && return  # It was asked before.
  local report replaced
  report=$(module "$python" pip install --quiet --dry-run --report - \
    "${files[@]/#/-r}") ||
    fail "pip could not find out what it would replace in $venv, which was" \
      "not made by ./run.sh: see its lines above; or $other"
  replaced=$("$python" "$root/.ci/replaced.py" <<<"$report")
  [[ -z $replaced ]] || fail "$venv was not made by ./run.sh, and has other" \
    "versions than are needed: $replaced; $other"
}

keep() {  # keep TEXT FILE: whole, or as it was
  echo "$1" >"$2.$$.tmp" && mv -f "$2.$$.tmp" "$2"
}

ensure_gl() {
  module "$python" dreamer.envs.gl >&2 && return
  local packages='libegl1 libegl-mesa0 libgl1-mesa-dri libgl1'
  if may_install; then
    lock  # apt-get ends at once where another one is at work.
    install_packages $packages || true
    unlock
    module "$python" dreamer.envs.gl >&2 && return
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

names_itself() {  # for the commands that are printed
  export DREAMER_RUN_SH
  DREAMER_RUN_SH=$([[ $0 == */* ]] && echo "$0" || echo "$root/run.sh")
}

main_job() {
  local logdir=$root/runs/laptop
  setup
  run scores demo --logdir "$logdir"
}

run_tests() {
  local select=(-m 'not slow') arg args=() before=
  local written='--(junit-?xml|basetemp|log-file)'
  local read='--(ignore|deselect|rootdir|confcutdir)'
  if [[ ${1:-} == --all ]]; then
    select=()
    shift
  fi
  for arg in "$@"; do  # Files count from the caller's folder, if they are there.
    [[ $arg == -* || $before == -[kmnpoWr] || ! -e ${arg%%::*} ]] &&
      [[ $arg == -* || ! $before =~ ^$written$ ]] || arg=$(absolute "$arg")
    [[ ! $arg =~ ^$written= ]] && [[ ! $arg =~ ^$read= || ! -e ${arg#*=} ]] ||
      arg=${arg%%=*}=$(absolute "${arg#*=}")
    args+=("$arg")
    before=$arg
  done
  ensure_venv
  cd "$root"
  # A process per core, whole files each; `-n 0` runs all in one.
  run pytest -n auto --maxprocesses 4 --dist loadfile \
    ${select[@]+"${select[@]}"} ${args[@]+"${args[@]}"}
}

run_module() {
  ensure_venv
  run "$@"
}

run() {  # run MODULE ARGS...: in place of this process
  exec "$python" "$root/dreamer/launch.py" "$@"
}

run_conform() {  # with what there is: any Python since 3.10 that has NumPy
  local name
  for name in "$python" $PYTHONS; do
    if (cd "$root" && "$name" -c \
        'import sys, numpy; sys.exit(sys.version_info < (3, 10))') 2>/dev/null; then
      exec "$name" "$root/dreamer/launch.py" dreamer.conform "$@"
    fi
  done
  fail 'conform needs NumPy in a Python since 3.10: pip install numpy (or' \
    './run.sh setup, for all that is here)'
}

command=${1:-main}
shift || true
case $command in
  main) names_itself; main_job ;;
  setup) setup "$@" ;;
  train | eval) names_itself; run_module dreamer "$command" "$@" ;;
  report) run_module scores report "$@" ;;
  bench | audit) run_module "dreamer.$command" "$@" ;;
  export) run_module dreamer.export "$@" ;;
  conform) run_conform "$@" ;;
  parity) run_module tests.parity "$@" ;;
  scores) names_itself; run_module scores "$@" ;;
  sweep) run_module scores sweep "$@" ;;
  test) run_tests "$@" ;;
  help | -h | --help) usage ;;
  *) fail "unknown command '$command'; commands: setup train eval report" \
    'scores sweep audit bench export conform parity test help (none: the laptop run)' ;;
esac
