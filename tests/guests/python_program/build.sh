#!/usr/bin/env bash
# Builds the Python program of this folder into the command OUT.wasm: build.sh OUT.wasm
set -euo pipefail
folder=$(cd "$(dirname "$0")" && pwd)
. "$folder/../../../scripts/guest-common.sh"
scripts=$(cd "$folder/../../../scripts" && pwd)
script=../tests/guests/python_program/build.sh # relative to $scripts
tool=$(sed -n 's/^readonly COMPONENTIZE_PY=//p' "$scripts/build-python-guest")

begin "$1"
lock_cache python
wit=$folder/wit
end_if_built "$tool" "$(sources "$folder" | digest_of_files)"
python_tools "$tool"
# VIRTUAL_ENV is empty, because the tool would otherwise use packages of this machine.
(cd "$scratch" && VIRTUAL_ENV='' within 600 "$python_bin/componentize-py" --wit-path "$wit" --world program \
    componentize --python-path "$folder" app --output guest.wasm) >"$scratch/said" 2>&1 9>&- || die "$(cat "$scratch/said")"
deliver "$scratch/guest.wasm"
