#!/usr/bin/env bash
# Builds this action: metric.wasm beside this file, or where the first argument says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../scripts/build-python-guest . "${1:-metric.wasm}"
