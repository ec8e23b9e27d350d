#!/bin/sh
# Drops the daily files of the Palmer penguins into the watched folder of this pipeline, one after
# another.
#
#   ./drop-days.sh [SECONDS]      1 s apart by default
#
# The first time, the data is fetched from PyPI (see daily-files.py). A day that is already there is
# dropped again, which changes nothing.
set -eu

pause=${1:-1}
here=$(cd "$(dirname "$0")" && pwd)
days=$("$here/../../../scripts/python" "$here/daily-files.py")

for day in "$days"/*.csv; do
    name=$(basename "$day")
    cp "$day" "$here/data/raw/.$name.part"
    mv "$here/data/raw/.$name.part" "$here/data/raw/$name"
    echo "dropped $name: $(($(wc -l <"$day") - 1)) penguins"
    sleep "$pause"
done
