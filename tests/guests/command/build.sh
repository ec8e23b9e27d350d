#!/usr/bin/env bash
# Build the C program of this folder into the command OUT.wasm: build.sh OUT.wasm
exec "$(dirname "$0")/../../../scripts/build-wasi-program" c "$(dirname "$0")" "$1" main.c
