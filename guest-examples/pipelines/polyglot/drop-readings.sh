#!/bin/sh
# Drops the sample readings into the watched folder of this pipeline, one file after another.
#
#   ./drop-readings.sh [SECONDS]      three files, 2 s apart by default
set -eu

pause=${1:-2}
cd "$(dirname "$0")"
mkdir -p data/readings

for file in samples/*.csv; do
    name=$(basename "$file")
    cp "$file" "data/readings/.$name.part"
    mv "data/readings/.$name.part" "data/readings/$name"
    echo "dropped $name"
    sleep "$pause"
done
