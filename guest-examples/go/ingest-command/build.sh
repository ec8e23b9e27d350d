#!/usr/bin/env bash
# Builds this program: ingest-command.wasm beside this file, or where the first argument says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../scripts/build-go-guest --command . "${1:-ingest-command.wasm}"
