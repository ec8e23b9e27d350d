#!/usr/bin/env bash
# Builds comrak.wasm beside this file, or where the first argument says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../scripts/build-wasi-program rust comrak@0.59.0 3adf553d37681e21753316065ad5a763d9513f81c910e250576c572114a8eb06 \
    "${1:-comrak.wasm}" --bin comrak --no-default-features --features cli
