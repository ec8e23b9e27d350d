#!/bin/sh
# Drops files into the watched folder of this pipeline, one after another.
#
#   ./drop-files.sh [COUNT] [SECONDS]      ten files, 1.5 s apart by default
#
# Writes each file under a temporary name and then renames it, as a careful producer does. Files that
# are written in place work as well: Anacostia waits until the writer has closed them.
set -eu

count=${1:-10}
pause=${2:-1.5}
folder=$(cd "$(dirname "$0")" && pwd)/data_store
mkdir -p "$folder"

i=1
while [ "$i" -le "$count" ]; do
    [ "$i" -eq 1 ] || sleep "$pause"
    name=$(printf 'arrival-%s-%02d.txt' "$(date +%Y%m%dT%H%M%S)" "$i")
    printf 'file %s of %s\ndropped at %s\n' "$i" "$count" "$(date)" >"$folder/.$name.part"
    mv "$folder/.$name.part" "$folder/$name"
    echo "dropped $name"
    i=$((i + 1))
done
