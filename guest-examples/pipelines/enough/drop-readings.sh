#!/bin/sh
# Drops eight files of readings into the watched folder of this pipeline, one after another. Three
# are enough for a run. The second three have a low mean, so the seventh has a run of its own, and
# the eighth waits for more again.
#
#   ./drop-readings.sh [SECONDS]      1 s apart by default
set -eu

pause=${1:-1}
folder=$(cd "$(dirname "$0")" && pwd)/readings
mkdir -p "$folder"

number=1
for value in 5.1 5.3 4.9 0.7 4.8 5.0 5.2 5.1; do
    name=$(printf 'room-%02d.csv' "$number")
    printf 'sensor,value\nceiling,%s\nfloor,%s\n' "$value" "$value" >"$folder/.$name.part"
    mv "$folder/.$name.part" "$folder/$name"
    echo "dropped $name"
    number=$((number + 1))
    sleep "$pause"
done
