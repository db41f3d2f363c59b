#!/usr/bin/env bash
# Installs what the tests need beside Rust: Debian, Python and npm packages. Does nothing when all of it is there.
source "$(dirname "$0")/lib.sh"

PEERS=tests/peers

debian=()
command -v curl >/dev/null || debian+=(curl)
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || debian+=(nginx)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || debian+=(haproxy)
command -v rsyslogd >/dev/null || [ -x /usr/sbin/rsyslogd ] || debian+=(rsyslog)
[ -n "$(find /usr/lib -name lmnsd_gtls.so 2>/dev/null)" ] || debian+=(rsyslog-gnutls)
command -v node >/dev/null || debian+=(nodejs)
command -v npm >/dev/null || debian+=(npm)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || debian+=(postgresql)
[ -x /usr/bin/chromium ] || debian+=(chromium)
command -v go >/dev/null || debian+=(golang-go)
command -v gcc >/dev/null || debian+=(build-essential)
command -v python3 >/dev/null || debian+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || debian+=(python3-venv)

if [ "${#debian[@]}" -gt 0 ]; then
  line="apt-get update && apt-get install -y --no-install-recommends ${debian[*]}"
  if [ "$(id -u)" = 0 ]; then as_root=(); elif sudo -n true 2>/dev/null; then as_root=(sudo -n); else
    die "the tests need ${debian[*]}; install with: sudo sh -c '$line'"
  fi
  command -v apt-get >/dev/null || die "the tests need ${debian[*]}; install them with this system's package manager"
  say "installing ${debian[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq || die "could not refresh the package lists; the line was: $line"
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${debian[@]}" ||
    die "could not install; the line was: $line"
fi

node_major=$(node -p 'process.versions.node.split(".")[0]')
[ "$node_major" -ge 18 ] || die "the tests need Node.js 18 or newer, found $(node --version)"

# A stamp holds the hash of the list that was installed, so that an unchanged list costs nothing.
stamp_is() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

wanted=$(sha256sum "$PEERS/requirements.txt" | cut -d' ' -f1)
if ! stamp_is "$PEERS/.venv/stamp" "$wanted"; then
  say "installing Python packages into $PEERS/.venv"
  rm -rf "$PEERS/.venv"
  python3 -m venv "$PEERS/.venv"
  "$PEERS/.venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$PEERS/requirements.txt" ||
    die "could not install; the line was: $PEERS/.venv/bin/pip install -r $PEERS/requirements.txt"
  printf '%s' "$wanted" >"$PEERS/.venv/stamp"
fi

wanted=$(sha256sum "$PEERS/package-lock.json" | cut -d' ' -f1)
if ! stamp_is "$PEERS/node_modules/.stamp" "$wanted"; then
  say "installing npm packages into $PEERS/node_modules"
  (cd "$PEERS" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
    die "could not install; the line was: (cd $PEERS && npm ci --ignore-scripts)"
  printf '%s' "$wanted" >"$PEERS/node_modules/.stamp"
fi
