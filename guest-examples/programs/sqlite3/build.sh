#!/usr/bin/env bash
# Builds sqlite3.wasm beside this file, or where the first argument says. The options disable SQLite
# features that WASI lacks: threads, shared libraries, other programs, locks and a folder for
# temporary files. Only the attempt can open its own files, so they need no locks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec ../../../scripts/build-wasi-program c sqlite3-src@0.7.1 2739bac4e1ca6527391698167b1392332d00123c9fc11eca16311291db6829f3 \
    "${1:-sqlite3.wasm}" source/sqlite3.c source/shell.c \
    -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_NOHAVE_SYSTEM \
    '-DSQLITE_DEFAULT_UNIX_VFS="unix-none"' -DSQLITE_TEMP_STORE=3
