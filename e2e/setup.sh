#!/usr/bin/env bash
# Installs what the tests need, on Debian or Ubuntu: two browsers, Node.js, axe-core and ws,
# of which npm fetches the last two. With the argument proxies it installs nginx and HAProxy,
# too; Debian then starts them as services.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v firefox >/dev/null || missing+=(firefox-esr)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ "${1-}" = proxies ]; then
	[ -x /usr/sbin/nginx ] || missing+=(nginx-light)
	[ -x /usr/sbin/haproxy ] || missing+=(haproxy)
fi
if [ "${#missing[@]}" -gt 0 ]; then
	as_root=()
	[ "$(id -u)" = 0 ] || as_root=(sudo)
	"${as_root[@]}" apt-get update
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "${missing[@]}"
fi
npm ci --ignore-scripts --no-audit --no-fund
