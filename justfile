# Shortcuts; each is one ordinary command. `just` lists them.

_default:
    @just --list

# Build and start the smallest example.
demo:
    cargo run -- run --build guest-examples/pipelines/simplest

# All tests.
test:
    cargo test

# Everything that a change has to pass.
ci:
    .ci/run

# Format and lint.
lint:
    cargo fmt --all
    cargo clippy --all-targets -- -D warnings

# Accept new snapshots after looking at them.
review:
    cargo insta review

# Known vulnerabilities; needs the advisory database.
advisories:
    cargo deny check advisories
