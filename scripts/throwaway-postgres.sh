#!/usr/bin/env bash
# A PostgreSQL server for tests: in a temporary folder, on a Unix socket there, gone when standard input ends. Says
# `ready FOLDER` (where the socket is). Takes commands, a line each, and answers `done`: `kill` stops it as a crash
# does, `start` starts it again. Whoever is root lends it another user, which PostgreSQL asks for.
#
# With `--tls FOLDER` it also listens on a port of this machine, says `ready FOLDER PORT`, and offers TLS there with
# FOLDER/server.pem and FOLDER/server.key. Users of the role `scram` show a password (SCRAM), those of `plain` show it
# as it is, those of `certified` a certificate of FOLDER/ca.pem; nobody gets in without TLS.
set -euo pipefail

tls=
case "${1:-}" in
  --tls) tls=$(realpath "${2:?--tls wants a folder}") ;;
  "") ;;
  *) echo "error: $1 is no option" >&2; exit 1 ;;
esac

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

secure() {
  for name in server.pem server.key ca.pem; do
    install -m 600 "$tls/$name" "$folder/data/$name"
    [ ${#as[@]} = 0 ] || chown nobody "$folder/data/$name"
  done
  cat >>"$folder/data/postgresql.conf" <<CONFIG
listen_addresses = '127.0.0.1'
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
ssl_ca_file = 'ca.pem'
password_encryption = 'scram-sha-256'
CONFIG
  cat >"$folder/data/pg_hba.conf" <<RULES
local   all all                          trust
hostssl all +scram     127.0.0.1/32      scram-sha-256
hostssl all +plain     127.0.0.1/32      password
hostssl all +certified 127.0.0.1/32      cert
RULES
}

if [ -z "$tls" ]; then
  control --wait start
  echo "ready $folder"
else
  secure
  # A port that nobody has is found by trying: PostgreSQL does not take one that is free by itself.
  for _ in $(seq 30); do
    port=$((20000 + RANDOM % 12000))
    control --wait --options "-p $port" start && break
    port=
  done
  [ -n "$port" ] || { tail -n 20 "$folder/log" >&2; exit 1; }
  echo "ready $folder $port"
fi

while read -r command; do
  case "$command" in
    kill) control --mode immediate --wait stop ;;
    start) control --wait start ;;
    *) echo "error: $command is no command" >&2; exit 1 ;;
  esac
  echo done
done
