#!/usr/bin/env bash
# A PostgreSQL server for tests: in a temporary folder, on a Unix socket there, gone when standard input ends. Says
# `ready FOLDER` (where the socket is). Takes commands, a line each, and answers `done`: `kill` stops it as a crash
# does, `start` starts it again. Whoever is root lends it another user, which PostgreSQL asks for.
set -euo pipefail

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb || true)")
[ -x "$bin/initdb" ] || { echo "error: PostgreSQL is not installed: run scripts/install-test-tools.sh" >&2; exit 1; }

# Short, because a socket's path is.
folder=$(mktemp -d /tmp/callgate-pg-XXXXXX)
as=()
if [ "$(id -u)" = 0 ]; then
  chown nobody "$folder"
  as=(setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups env HOME="$folder")
fi
chmod 755 "$folder"

control() {
  "${as[@]}" "$bin/pg_ctl" --pgdata "$folder/data" --silent --log "$folder/log" "$@" </dev/null >&2
}
trap 'control --mode immediate stop || true; rm -rf "$folder"' EXIT
trap '' INT

cd "$folder"
"${as[@]}" "$bin/initdb" --pgdata "$folder/data" --username callgate --auth trust --encoding UTF8 --no-locale \
  --no-sync >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; exit 1; }
# Without `fsync` it is quicker, and outlives everything but a power cut.
cat >>"$folder/data/postgresql.conf" <<CONFIG
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 400
fsync = off
CONFIG
control --wait start
echo "ready $folder"

while read -r command; do
  case "$command" in
    kill) control --mode immediate --wait stop ;;
    start) control --wait start ;;
    *) echo "error: $command is no command" >&2; exit 1 ;;
  esac
  echo done
done
