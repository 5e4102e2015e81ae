# shellcheck shell=bash
# Shell helpers shared by the project's scripts: one voice for steps, errors and progress.
# Usage: source "$(dirname "$0")/lib/log.sh"

# say TEXT: a line about what is going on, on stderr so that stdout stays a result.
say() { printf '[%s] %s\n' "${0##*/}" "$*" >&2; }

# die TEXT: one clear line, then a non-zero exit.
die() {
  say "error: $*"
  exit 1
}

# with_progress LABEL LOG COMMAND...: runs COMMAND with its output in LOG; says every 20 s how far LOG has grown, so a
# long step is never silent, and shows LOG's tail when COMMAND fails.
with_progress() {
  local label=$1 log=$2 start=$SECONDS pid ticks=0
  shift 2
  mkdir -p "$(dirname "$log")"
  say "$label ..."
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.5
    ticks=$((ticks + 1))
    if ((ticks % 40 == 0)); then
      say "$label: $((SECONDS - start)) s, $(wc -l <"$log") lines of output, last: $(tail -n 1 "$log" | cut -c1-80)"
    fi
  done
  if ! wait "$pid"; then
    say "$label failed after $((SECONDS - start)) s; the end of $log:"
    tail -n 30 "$log" >&2
    return 1
  fi
  say "$label: done in $((SECONDS - start)) s"
}
