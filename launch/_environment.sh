# shellcheck shell=bash
# Finds a Python 3.11, makes .venv from requirements.lock, keeps it up to date.
# Sourced by the other scripts, which then call `prepare_environment`.
#
#   IDQL_PYTHON=/path/to/python3.11   use this interpreter and no other
#
# Exit codes: 2 nothing usable to install with, 1 the installation failed.

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"
LOCK="$ROOT/requirements.lock"
LOG="$VENV/install.log"
STAMP="$VENV/.idql-lock-sha256"
# Present while an installation runs: what a killed one leaves is rebuilt.
UNFINISHED="$VENV/.idql-unfinished"

say() { printf '%s\n' "$*"; }

# Prints the path of a usable interpreter behind command $1, or why it is none.
probe_python() {
  local answer
  answer="$("$1" -c '
import platform, sys
if sys.version_info[:2] != (3, 11):
    sys.exit(f"it is Python {platform.python_version()}")
try:
    import ensurepip, venv
except ImportError:
    sys.exit("it cannot make virtual environments: the package python3.11-venv is missing")
print(sys.executable)
' 2>&1)" && [[ -n "$answer" ]] && printf '%s' "$answer" && return
  printf '%s' "${answer##*$'\n'}"
  return 1
}

# Prints every interpreter worth probing, one a line.
list_pythons() {
  if [[ -n "${IDQL_PYTHON:-}" ]]; then
    say "$IDQL_PYTHON"
    return
  fi
  type -aP python3.11 python3 || true
  local python
  for python in "${HOME:-}"/.pyenv/versions/3.11*/bin/python; do
    if [[ -x "$python" ]]; then say "$python"; fi
  done
  if type -P uv >/dev/null; then
    uv python find --no-project 3.11 2>/dev/null || true
  fi
}

# Sets FOUND_PYTHON, or says what is missing and how to get it (exit code 2).
find_python() {
  local candidate answer rejected=""
  FOUND_PYTHON=""
  while IFS= read -r candidate; do
    if answer="$(probe_python "$candidate")"; then
      FOUND_PYTHON="$answer"
      return
    fi
    rejected+="  $candidate: $answer"$'\n'
  done < <(list_pythons)
  {
    say "error: no Python 3.11 that can make a virtual environment was found."
    printf '%s' "${rejected:-  (no python3.11 and no python3 on PATH, none from pyenv or uv)$'\n'}"
    say "Get one in any of these ways, then run the same command again:"
    say "  sudo apt install python3.11 python3.11-venv   (Debian 12; Ubuntu: deadsnakes)"
    say "  pyenv install 3.11"
    say "  uv python install 3.11"
    say "or name one: IDQL_PYTHON=/path/to/python3.11 bash launch/quickstart.sh"
  } >&2
  exit 2
}

check_platform() {
  if [[ "$OSTYPE" != linux-gnu* || "$HOSTTYPE" != x86_64 ]]; then
    say "error: this is $OSTYPE on $HOSTTYPE; requirements.lock is for Linux (glibc)" \
      "on x86_64, the only platform Reverb has wheels for. Use such a machine or a" \
      "container (docker run --platform linux/amd64 python:3.11)." >&2
    exit 2
  fi
}

lock_sum() { sha256sum <"$LOCK" | cut -d ' ' -f 1; }

is_prepared() {
  [[ -x "$PYTHON" && -f "$STAMP" && "$(<"$STAMP")" == "$(lock_sum)" ]]
}

# Makes an empty .venv unless a sound one is there.
make_venv() {
  if [[ -x "$PYTHON" && ! -e "$UNFINISHED" ]]; then
    local version
    version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    if [[ "$version" != 3.11 ]]; then
      say "error: $VENV holds Python $version, wanted 3.11;" \
        "move it away and run the same command again." >&2
      exit 2
    fi
    if "$PYTHON" -c 'import pip' 2>/dev/null; then return; fi
  fi
  find_python
  say "making .venv with $FOUND_PYTHON"
  "$FOUND_PYTHON" -m venv --clear --without-pip "$VENV"
  : >"$UNFINISHED"
  "$PYTHON" -m ensurepip --default-pip >"$LOG" 2>&1 || fail_with_log
}

# Shows the end of the installation's log and the cure, and exits.
fail_with_log() {
  {
    say "error: the installation failed; the last lines of $LOG:"
    tail -n 12 "$LOG" | cut -c 1-200 | sed 's/^/  | /'
    if grep -qi "no space left" "$LOG"; then
      say "The disk is full: free 4 GB (pip also uses \$TMPDIR)."
    elif grep -qiE "connection|timed out|name resolution|proxy|retrying" "$LOG"; then
      say "The package index was not reached: check the network, or set HTTPS_PROXY" \
        "or PIP_INDEX_URL to what this site uses."
    fi
    say "Then run the same command again."
  } >&2
  exit 1
}

# Turns pip's output into one line on a terminal; keeps all of it in the log.
show_progress() {
  local line count=0
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$LOG"
    [[ -t 1 ]] || continue
    case "$line" in
      Collecting*)
        count=$((count + 1))
        printf '\r  downloading: %d of %d packages, %d s ' "$count" "$1" "$SECONDS"
        ;;
      Installing*) printf '\r  unpacking %d packages, about half a minute   ' "$1" ;;
    esac
  done
  if [[ -t 1 ]]; then printf '\r%60s\r' ""; fi
}

install_lock() {
  local packages started=$SECONDS
  packages="$(grep -c == "$LOCK")"
  say "installing $packages packages of requirements.lock (one to five minutes, 3 GB)"
  : >"$LOG"
  PYTHONUNBUFFERED=1 "$PYTHON" -m pip install --disable-pip-version-check --no-input \
    --progress-bar off -r "$LOCK" 2>&1 | show_progress "$packages" || fail_with_log
  say "installed in $((SECONDS - started)) s"
}

# Leaves a working .venv behind; at once when it is up to date. $PYTHON is its
# interpreter. Two runs at a time are safe: the second waits for the first.
prepare_environment() {
  if is_prepared; then return; fi
  check_platform
  # Looked for before locking so that a machine without one hears it at once.
  if [[ ! -x "$PYTHON" ]]; then find_python; fi
  local guard
  # The lock file itself is the mutex: opened for appending, never written.
  exec {guard}>>"$LOCK"
  if type -P flock >/dev/null && ! flock --nonblock "$guard"; then
    say "waiting for another installation into .venv"
    flock "$guard"
  fi
  if ! is_prepared; then
    make_venv
    rm -f -- "$STAMP"
    : >"$UNFINISHED"
    install_lock
    lock_sum >"$STAMP.new"
    rm -f -- "$UNFINISHED"
    mv -- "$STAMP.new" "$STAMP"
  fi
  exec {guard}>&-
}
