"""Imports modules while it runs: examples of Python's own documentation. The param `do` names one of the functions."""

from json import loads

from wit_world import exports
from wit_world.imports import run_context
from wit_world.imports.types import Outcome, Outcome_Done


def encodings():
    assert b"\xef\xbb\xbfa".decode("utf-8-sig") == "a"
    assert "\u20ac".encode("iso8859-15") == b"\xa4"
    assert "pyth\u00f6n".encode("idna") == b"xn--pythn-mua"
    from encodings.aliases import aliases

    # These are of Windows, and of a library that this interpreter was built without.
    absent = {"mbcs", "bz2_codec"}
    import codecs

    codec_names = sorted(set(aliases.values()) - absent)
    for name in codec_names:
        codecs.lookup(name)
    text = [name for name in codec_names if codecs.lookup(name)._is_text_encoding]
    for name in text:
        assert "abc".encode(name).decode(name) == "abc", name
    return f"{len(codec_names)} codecs"


def datetime():
    from datetime import UTC, date, datetime, timedelta, timezone

    assert datetime.strptime("21/11/06 16:30", "%d/%m/%y %H:%M") == datetime(2006, 11, 21, 16, 30)
    assert date.fromisoformat("2019-W49-3") == date(2019, 12, 4)
    assert datetime.fromisoformat("2011-11-04T00:05:23+04:00").tzinfo == timezone(timedelta(hours=4))
    assert datetime(2019, 5, 18, 15, 17, tzinfo=UTC).isoformat() == "2019-05-18T15:17:00+00:00"
    assert date(2002, 12, 4).strftime("%A %d. %B %Y") == "Wednesday 04. December 2002"
    return "dates"


def zoneinfo():
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    before = datetime(2020, 10, 31, 12, tzinfo=ZoneInfo("America/Los_Angeles"))
    assert str(before) == "2020-10-31 12:00:00-07:00"
    assert before.tzname() == "PDT"
    after = before + timedelta(days=1)
    assert str(after) == "2020-11-01 12:00:00-08:00"
    assert after.tzname() == "PST"
    assert len(available_timezones()) > 400
    try:
        ZoneInfo("Nowhere/Atall")
    except ZoneInfoNotFoundError as error:
        return str(error)
    raise AssertionError("a zone that is not there")


def decimal():
    from decimal import Decimal, getcontext, localcontext

    assert Decimal("1.1") + Decimal("2.2") == Decimal("3.3")
    getcontext().prec = 6
    assert str(Decimal(1) / Decimal(7)) == "0.142857"
    with localcontext() as context:
        context.prec = 28
        assert str(Decimal(2).sqrt()) == "1.414213562373095048801688724"
    assert str(Decimal("7.325").quantize(Decimal(".01"), rounding="ROUND_DOWN")) == "7.32"
    import _pydecimal

    assert _pydecimal.Decimal("1.20") + _pydecimal.Decimal("2.10") == _pydecimal.Decimal("3.30")
    return "decimals"


def csv():
    import csv
    import io

    written = io.StringIO()
    writer = csv.DictWriter(written, fieldnames=["first_name", "last_name"])
    writer.writeheader()
    writer.writerow({"first_name": "Baked", "last_name": "Beans, and Spam"})
    assert written.getvalue() == 'first_name,last_name\r\nBaked,"Beans, and Spam"\r\n'
    written.seek(0)
    assert [row["last_name"] for row in csv.DictReader(written)] == ["Beans, and Spam"]
    assert csv.Sniffer().sniff("a;b;c\n1;2;3\n").delimiter == ";"
    return "rows"


def json():
    import json

    assert json.dumps(["foo", {"bar": ("baz", None, 1.0, 2)}]) == '["foo", {"bar": ["baz", null, 1.0, 2]}]'
    assert json.loads('"\\"foo\\bar"') == '"foo\x08ar'
    assert json.dumps({"4": 5, "6": 7}, sort_keys=True, indent=4) == '{\n    "4": 5,\n    "6": 7\n}'
    try:
        json.loads("{")
    except json.JSONDecodeError as error:
        return str(error)
    raise AssertionError("half an object")


def statistics():
    from statistics import NormalDist, correlation, linear_regression, mean, median, mode, quantiles, stdev

    assert mean([1, 2, 3, 4, 4]) == 2.8
    assert median([1, 3, 5, 7]) == 4.0
    assert mode(["red", "blue", "blue", "red", "green", "red", "red"]) == "red"
    assert round(stdev([1.5, 2.5, 2.5, 2.75, 3.25, 4.75]), 10) == 1.0810874155
    assert quantiles([1, 2, 3, 4, 5]) == [1.5, 3.0, 4.5]
    assert correlation([1, 2, 3], [1, 2, 3]) == 1.0
    slope, intercept = linear_regression([1971, 1975, 1979, 1982, 1983], [1, 2, 3, 4, 5])
    assert round(slope * 2019 + intercept) == 16
    assert round(1.0 - NormalDist(1060, 195).cdf(1200 - 0.5), 2) == 0.24
    return "statistics"


def zipfile():
    import gzip
    import io
    import tarfile
    import zipfile

    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/eggs.txt", "eggs " * 100)
    with zipfile.ZipFile(memory) as archive:
        assert archive.testzip() is None
        assert archive.read("folder/eggs.txt") == b"eggs " * 100
        assert zipfile.Path(archive, "folder/").joinpath("eggs.txt").read_text("utf-8")[:4] == "eggs"
    assert gzip.decompress(gzip.compress(b"spam")) == b"spam"
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    memory.seek(0)
    with tarfile.open(fileobj=memory) as archive:
        assert archive.getnames() == ["empty"]
    return "archives"


def sqlite3():
    import sqlite3

    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE movie(title, year, score)")
        rows = [("Monty Python Live at the Hollywood Bowl", 1982, 7.9), ("Monty Python's The Meaning of Life", 1983, 7.5)]
        connection.executemany("INSERT INTO movie VALUES(?, ?, ?)", rows)
        found = connection.execute("SELECT title FROM movie ORDER BY score DESC").fetchone()
    assert found == ("Monty Python Live at the Hollywood Bowl",)
    return "a database in memory"


def everything():
    """Every module of the standard library that is in the interpreter, and how long the list is of those that are not."""
    import importlib
    import sys

    absent = set()
    for name in sorted(sys.stdlib_module_names - {"antigravity", "this"}):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            absent.add(error.name)
    import concurrent.futures.thread
    import email.mime.multipart
    import logging.handlers
    import xml.etree.ElementTree
    import unittest.mock

    assert xml.etree.ElementTree.fromstring("<a b='c'/>").attrib == {"b": "c"}
    assert email.mime.multipart.MIMEMultipart().is_multipart()
    return ", ".join(sorted(name for name in absent if not name.startswith("_")))


def packages():
    import importlib.metadata
    import importlib.resources
    import importlib.util
    import pkgutil

    import own_late
    import own_package
    from tabulate import tabulate

    assert own_late.ANSWER == 42
    assert tabulate([["spam", 42]], tablefmt="plain") == "spam  42"
    assert importlib.metadata.version("tabulate") == "0.9.0"
    assert importlib.resources.files(own_package).joinpath("data.txt").read_text() == "a line of data\n"
    assert [file.name for file in importlib.resources.files("own_package").iterdir()] == ["data.txt"]
    assert pkgutil.get_data("own_package", "data.txt") == b"a line of data\n"
    assert importlib.util.find_spec("own_other") is None
    return "packages"


def no_ssl():
    import ssl

    return ssl.OPENSSL_VERSION


def no_package():
    import numpy

    return numpy.__version__


class Action(exports.Action):
    def run(self) -> Outcome:
        do = loads(run_context.params())["do"]
        return Outcome_Done(globals()[do]())
