#!/usr/bin/env bash
# The demo: real tasks on one SQLite file, sent by a C++ program and by the command line, run by a worker with child
# processes. Takes the build folder; leaves demo-data/errand.db for looking around. `./dev demo` calls it.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
build=$(readlink -f "${1:-$here/../../build/release}")
data=${2:-$here/../../demo-data}
mkdir -p "$data"
rm -f "$data"/errand.db* "$data"/worker.log
data=$(readlink -f "$data")
export ERRAND_BROKER="sqlite:///$data/errand.db"
errand=$build/errand

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
  printf '$ errand %s\n' "$(printf '%q ' "$@")"
  "$errand" "$@" -b "$ERRAND_BROKER"
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
cp "$here/errand.toml" "$here/count_words.sh" "$data/"
(cd "$data" && exec "$build/examples/demo_worker" worker --config errand.toml -b "$ERRAND_BROKER" -c 2) >"$data/worker.log" 2>&1 &
worker=$!
show tasks

say "2. Typed calls from C++ (examples/demo/sender.cpp): a sum, a task that is retried twice, a failure"
"$build/examples/demo_sender" "$ERRAND_BROKER"

say "3. The same tasks by name, as any other language would"
show send demo.add '[1, 2]' --wait
show send demo.import_rows '[1000]' --wait
show send demo.count_words '["four words in here"]' --wait

say "4. A task that crashes its process, and one that nobody knows: neither harms anybody else"
show send demo.crash --wait || true
show send demo.unknown '["hello"]'
show send demo.add '[20, 22]' --wait

say "5. What the file knows now"
show status
show queues
show dead list
