#!/usr/bin/env bash
# Builds the console's pages into console/dist, from where the program embeds them. Does nothing when they are built.
source "$(dirname "$0")/lib.sh"

command -v npm >/dev/null || die "the console's pages need Node.js and npm; install with: apt-get install -y nodejs npm"
cd console
wanted=$(cat package-lock.json index.html vite.config.ts tsconfig.json src/* | sha256sum | cut -d' ' -f1)
[ -f dist/.stamp ] && [ "$(cat dist/.stamp)" = "$wanted" ] && exit 0
lock=$(sha256sum package-lock.json | cut -d' ' -f1)
if ! { [ -f node_modules/.stamp ] && [ "$(cat node_modules/.stamp)" = "$lock" ]; }; then
  say "installing npm packages into console/node_modules"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  printf '%s' "$lock" >node_modules/.stamp
fi
say "building the console's pages"
# The folder's own .gitignore stays.
rm -rf dist/assets dist/index.html* dist/.stamp
npm run --silent build -- --logLevel warn
printf '%s' "$wanted" >dist/.stamp
