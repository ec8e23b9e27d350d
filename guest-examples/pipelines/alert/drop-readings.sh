#!/bin/sh
# Drops five files of readings into the watched folder of this pipeline, one after another. In the
# third and the fifth, a value leaves its range.
#
#   ./drop-readings.sh [SECONDS]      1 s apart by default
set -eu

pause=${1:-1}
folder=$(cd "$(dirname "$0")" && pwd)/readings
mkdir -p "$folder"

hour=1
for values in "4.1 4.3" "4.0 5.2" "6.9 8.4" "7.1 5.0" "4.8 offline"; do
    name=$(printf 'cold-room-%02d.csv' "$hour")
    set -- $values
    printf '%02d:00,%s\n%02d:30,%s\n' "$hour" "$1" "$hour" "$2" >"$folder/.$name.part"
    mv "$folder/.$name.part" "$folder/$name"
    echo "dropped $name"
    hour=$((hour + 1))
    sleep "$pause"
done
