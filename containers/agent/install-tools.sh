#!/bin/sh
# Adds what the base image lacks of bash, git, curl, certificates and Python. Runs once, in the build, as root.
set -eu

extra=/usr/local/share/ca-certificates/nanoclaw.crt
apt_trust=/etc/apt/apt.conf.d/99nanoclaw-certificates
if [ -s "$extra" ]; then
  # apt may speak TLS before ca-certificates is there to collect them.
  printf 'Acquire::https::CaInfo "%s";\n' "$extra" > "$apt_trust"
else
  rm "$extra"
fi

new_enough() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

missing=
for tool in bash git curl; do
  command -v "$tool" >/dev/null || missing="$missing $tool"
done
command -v update-ca-certificates >/dev/null || missing="$missing ca-certificates"
new_enough || missing="$missing python3"
if [ -n "$missing" ]; then
  # Nobody reads manuals in here.
  printf 'path-exclude=/usr/share/%s/*\n' doc man locale info > /etc/dpkg/dpkg.cfg.d/nanoclaw
  apt-get update -q -o Acquire::Retries=3
  # shellcheck disable=SC2086 - the words are names of packages
  apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 $missing
  rm -rf /var/lib/apt/lists/* /var/cache/apt/*
fi
new_enough || { echo "the base image has no Python 3.11 or newer, and neither have its packages" >&2; exit 1; }

update-ca-certificates
rm -f "$apt_trust"

# Git and others want the user to have a name. Containers may well run as another number; then it has none.
groupadd --gid 10001 agent
useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /bin/bash agent
