#!/bin/sh
# Inserts the daily files of the Palmer penguins into the database that postgres.toml watches, one
# after another.
#
#   DATABASE_URL=postgres://anna@db.example.com/lab ./insert-days.sh [SECONDS]      1 s apart by default
#
# The first time, the data is fetched from PyPI (see daily-files.py). Needs psql.
set -eu

pause=${1:-1}
here=$(cd "$(dirname "$0")" && pwd)
days=$("$here/../../../scripts/python" "$here/daily-files.py")

for day in "$days"/*.csv; do
    columns=$(head -n 1 "$day" | sed 's/[^,]*/"&"/g')
    psql --quiet --command "\\copy penguins ($columns) from '$day' (format csv, header, null 'NA')" "$DATABASE_URL"
    echo "inserted $(basename "$day"): $(($(wc -l <"$day") - 1)) penguins"
    sleep "$pause"
done
