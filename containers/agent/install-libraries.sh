#!/bin/sh
# Makes /opt/nanoclaw: a virtual environment with exactly what requirements.txt names, without pip.
set -eu

if ! python3 -c 'import ensurepip' 2>/dev/null; then
  apt-get update -q -o Acquire::Retries=3
  apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 python3-venv
fi
python3 -m venv /opt/nanoclaw
/opt/nanoclaw/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: \
  --timeout 60 --requirement /usr/local/lib/nanoclaw/requirements.txt
/opt/nanoclaw/bin/python -m pip --disable-pip-version-check check
/opt/nanoclaw/bin/python -m pip uninstall --quiet --yes --disable-pip-version-check setuptools pip

# The program is not in site-packages, whose path has Python's version in it; a line there says where it is.
site_packages=$(/opt/nanoclaw/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo /opt/nanoclaw/program > "$site_packages/nanoclaw.pth"
