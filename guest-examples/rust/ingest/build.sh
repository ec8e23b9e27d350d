#!/usr/bin/env bash
# Builds this action: ingest.wasm beside this file, or where the first argument says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../scripts/build-rust-guest . "${1:-ingest.wasm}"
