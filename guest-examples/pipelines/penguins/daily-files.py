#!/usr/bin/env python3
"""Fetch the Palmer penguins data, split it into one file for each day, and print the folder with the files.

    ./daily-files.py

The data: 344 penguins of three species, measured on islands of the Palmer Archipelago, Antarctica, 2007 to 2009. Published under
CC0 by K. Gorman and the Palmer Station LTER; A. Horst, A. Hill and K. Gorman (2020), palmerpenguins; see Gorman, Williams and Fraser (2014),
PLoS ONE 9(3): e90081, https://doi.org/10.1371/journal.pone.0090081. The script gets it from the package `palmerpenguins` on PyPI.

The day is in the data: the date on which the nest was first seen with one egg. The same data always leads to the same files.
They are in ${XDG_CACHE_HOME:-~/.cache}/anacostia/data, which may be removed at any time. Only Python is needed, with pip or venv.
"""

import csv
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "palmerpenguins==0.1.6"
TABLE = "palmerpenguins/data/penguins-raw.csv"
TABLE_SHA256 = "144f623143c9360fd77322a4f86acb06dc198814dbd2669724c63e6457b907bd"
DAY = "Date Egg"


def download(scratch: Path) -> Path:
    """Download the package's file, with the pip of this Python, or if it has none, with the pip of a new virtual environment."""
    wish = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", str(scratch), PACKAGE]
    tried = subprocess.run([sys.executable, *wish], stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if tried.returncode != 0 and "No module named pip" in tried.stderr:
        subprocess.run([sys.executable, "-m", "venv", str(scratch / "venv")], stdout=sys.stderr, check=False)
        python = scratch / "venv" / "bin" / "python"
        if not (scratch / "venv" / "bin" / "pip").exists():
            sys.exit("daily-files: this Python has neither pip nor venv; on Debian: apt-get install python3-pip")
        tried = subprocess.run([str(python), *wish], stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if tried.returncode != 0:
        sys.exit(f"daily-files: pip did not fetch {PACKAGE}:\n{tried.stderr}")
    return next(scratch.glob("*.whl"))


def cut(table: bytes, folder: Path) -> None:
    """Write one file for each day, with the rows of that day in the order of the table."""
    rows = csv.DictReader(table.decode("utf-8").splitlines(keepends=True))
    days: dict[str, list[dict]] = {}
    for row in rows:
        days.setdefault(row[DAY], []).append(row)
    for day, penguins in days.items():
        with open(folder / f"{day}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows.fieldnames, lineterminator="\n")
            writer.writeheader()
            writer.writerows(penguins)


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anacostia" / "data"
    folder = cache / PACKAGE.replace("==", "-")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".penguins-") as scratch:
            table = zipfile.ZipFile(download(Path(scratch))).read(TABLE)
            found = hashlib.sha256(table).hexdigest()
            if found != TABLE_SHA256:
                sys.exit(f"daily-files: {TABLE} of {PACKAGE} is not what it was: sha256 {found}")
            days = Path(scratch) / "days"
            days.mkdir()
            cut(table, days)
            try:
                days.rename(folder)  # atomically
            except OSError:
                if not folder.is_dir():  # unless another process was faster
                    raise
    print(folder)


main()
