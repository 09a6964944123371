#!/usr/bin/env bash
# The demo: real tasks on one SQLite file, sent by a C++ program and by the command line, run by a worker with child
# processes. Takes the build folder; leaves demo-data/errand.db for looking around. `./dev demo` calls it.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
root=$(readlink -f "$here/../..")
build=$(readlink -f "${1:-$root/build/release}")
data=${2:-$root/demo-data}
mkdir -p "$data"
rm -f "$data"/errand.db* "$data"/worker.log
data=$(readlink -f "$data")
cd "$data"
cp "$here/errand.toml" "$here/count_words.sh" .
# Everything below runs on the defaults: errand.db and errand.toml in this folder.
unset ERRAND_BROKER ERRAND_RESULT_BACKEND ERRAND_CONFIG
log=$data/worker.log

bold='' plain=''
if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# Prints a command as one would type it, then runs it: an argument with anything but plain characters stands in quotes.
show() {
  local program=$1 typed word
  shift
  typed=$(basename "$program")
  for word in "$@"; do
    if [[ "$word" =~ ^[A-Za-z0-9._/:=-]+$ ]]; then typed+=" $word"; else typed+=" '$word'"; fi
  done
  printf '$ %s\n' "$typed"
  "$program" "$@"
}
errand() { show "$build/errand" "$@"; }

# Like show, for a command whose point is that it fails.
fails() {
  local status=0
  errand "$@" || status=$?
  [ "$status" -eq 1 ] || {
    echo "demo: expected exit code 1, got $status" >&2
    exit 1
  }
}

worker=
stop_worker() {
  if [ -n "$worker" ]; then
    kill -TERM "$worker" 2>/dev/null || true
    wait "$worker" || true
    worker=
  fi
}
trap stop_worker EXIT

say "1. A worker: two child processes, five tasks in C++ and one that is a shell script"
printf '$ demo_worker worker -c 2 &\n'
"$build/examples/demo_worker" worker -c 2 >"$log" 2>&1 &
worker=$!
show "$build/examples/demo_worker" tasks

say "2. Typed calls from C++ (examples/demo/sender.cpp): a sum, a task that is retried twice, a failure"
printf '$ demo_sender\n'
"$build/examples/demo_sender"

say "3. The same tasks by name, as any other language would send them; the last one starts a second from now"
errand send demo.add '[1, 2]' --wait
errand send demo.import_rows '[1000]' --wait
errand send demo.count_words '["four words in here"]' --wait
errand send demo.add '[3, 4]' --countdown 1s --wait

say "4. A task that crashes its process three times, and one that nobody knows: neither harms anybody else"
fails send demo.crash --wait
errand send demo.unknown '["hello"]'
errand send demo.add '[20, 22]' --wait

say "5. What could not be done is kept with its reason and its original bytes"
for ((i = 0; i < 100; ++i)); do  # the unknown task had no answer to wait for
  if grep -q 'demo.unknown.*dead-lettered' "$log"; then break; fi
  sleep 0.1
done
errand dead list
errand status

say "6. What the worker wrote about it (all of it: $log)"
grep -E 'will retry|fetch_quote.*succeeded|charge_card.*failed|SIGSEGV while|dead-lettered' "$log" | cut -c12-170

# Counted from the worker's log: every task stands there when it ends, every retry when it is decided.
counted() { grep -cE "$1" "$log" || true; }
say "In short: 10 tasks sent. $(counted '\] .*succeeded') answered with a result, one of them after $(counted 'will retry') retries; $(counted '\] .*failed after') answered with a failure;"
dead=$("$build/errand" dead list --json | grep -c '"reason"' || true)
printf '%s are dead letters (the one that crashed and the unknown one); none is lost.\n' "$dead"

here_now=$(realpath --relative-to="$root" "$data")
program=$(realpath --relative-to="$data" "$build/errand")
cat <<TEXT

Everything is in one file, $data/errand.db. To go on:
  cd $here_now
  $program up                   # a worker for the tasks of errand.toml, until Ctrl-C; then in a second terminal
  $program send demo.count_words '["hello world"]' --wait
  $program dead list            # then dead show, dead requeue, dead drop

The code of these tasks is in examples/demo. README.md has a program of 20 lines to start from, docs/internals.md
says how it works inside, and './dev test' runs every test.
TEXT
