"""Imports modules while it runs: examples of Python's own documentation. The param `do` names one of the functions."""

from json import loads

from wit_world import exports
from wit_world.imports import run_context
from wit_world.imports.types import Outcome, Outcome_Done


class raises:
    """A block that must raise this exception, which is then in `error`."""

    def __init__(self, expected):
        self.expected = expected

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert kind is not None, f"no {self.expected.__name__} was raised"
        self.error = error
        return issubclass(kind, self.expected)


def encodings():
    import codecs
    import io

    assert b"\xef\xbb\xbfa".decode("utf-8-sig") == "a"
    assert "a".encode("utf-8-sig") == codecs.BOM_UTF8 + b"a"
    assert "\u20ac".encode("iso8859-15") == b"\xa4"
    assert "pyth\u00f6n".encode("idna") == b"xn--pythn-mua"
    assert codecs.lookup("latin-1").name == "iso8859-1"
    with raises(LookupError):
        codecs.lookup("no-such-codec")
    # Error handlers.
    text = "German \u00df, \u266c"
    assert text.encode("ascii", "backslashreplace") == b"German \\xdf, \\u266c"
    assert text.encode("ascii", "xmlcharrefreplace") == b"German &#223;, &#9836;"
    assert text.encode("ascii", "namereplace") == b"German \\N{LATIN SMALL LETTER SHARP S}, \\N{BEAMED SIXTEENTH NOTES}"
    assert text.encode("ascii", "ignore") == b"German , "
    assert b"a\xff".decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape") == b"a\xff"
    codecs.register_error("dots", lambda error: ("." * (error.end - error.start), error.end))
    assert text.encode("ascii", "dots") == b"German ., ."
    with raises(UnicodeDecodeError) as caught:
        b"a\x80".decode("utf-8")
    assert str(caught.error) == "'utf-8' codec can't decode byte 0x80 in position 1: invalid start byte"
    # Pieces of a stream, and other forms of text and bytes.
    decoder = codecs.getincrementaldecoder("utf-8")()
    assert [decoder.decode(b"\xe2"), decoder.decode(b"\x82\xac", final=True)] == ["", "\u20ac"]
    assert "".join(codecs.iterdecode([b"sp", b"\xc3", b"\xa4m"], "utf-8")) == "sp\u00e4m"
    assert codecs.getreader("utf-16")(io.BytesIO("spam".encode("utf-16"))).read() == "spam"
    assert codecs.encode("Hello", "rot13") == "Uryyb"
    assert codecs.decode(codecs.encode(b"spam", "base64"), "base64") == b"spam"
    assert codecs.decode(codecs.encode(b"spam" * 100, "zlib"), "zlib") == b"spam" * 100
    assert "\u00fc".encode("punycode") == b"tda" and b"\\u20ac".decode("unicode_escape") == "\u20ac"
    from encodings.aliases import aliases

    # These are of Windows, and of a library that this interpreter was built without.
    absent = {"mbcs", "bz2_codec"}
    codec_names = sorted(set(aliases.values()) - absent)
    for name in codec_names:
        codecs.lookup(name)
    text = [name for name in codec_names if codecs.lookup(name)._is_text_encoding]
    for name in text:
        assert "abc".encode(name).decode(name) == "abc", name
    return f"{len(codec_names)} codecs"


def datetime():
    from datetime import UTC, date, datetime, time, timedelta, timezone

    assert datetime.strptime("21/11/06 16:30", "%d/%m/%y %H:%M") == datetime(2006, 11, 21, 16, 30)
    assert date.fromisoformat("2019-W49-3") == date(2019, 12, 4)
    assert datetime.fromisoformat("2011-11-04T00:05:23+04:00").tzinfo == timezone(timedelta(hours=4))
    assert datetime(2019, 5, 18, 15, 17, tzinfo=UTC).isoformat() == "2019-05-18T15:17:00+00:00"
    assert date(2002, 12, 4).strftime("%A %d. %B %Y") == "Wednesday 04. December 2002"
    # Spans of time.
    span = timedelta(days=50, seconds=27, microseconds=10, milliseconds=29000, minutes=5, hours=8, weeks=2)
    assert (span.days, span.seconds, span.microseconds) == (64, 29156, 10)
    year = timedelta(days=365)
    assert (year.total_seconds(), 10 * year // (2 * year), str(-timedelta(hours=1))) == (31536000.0, 5, "-1 day, 23:00:00")
    assert divmod(timedelta(days=3, hours=7), timedelta(days=1)) == (3, timedelta(hours=7))
    # Dates of the calendar.
    assert date(2024, 2, 28) + timedelta(days=1) == date(2024, 2, 29)
    assert date.fromordinal(730920) == date(2002, 3, 11)
    assert tuple(date(2004, 1, 4).isocalendar()) == (2004, 1, 7) and date.fromisocalendar(2004, 1, 7) == date(2004, 1, 4)
    assert date(2002, 3, 11).timetuple().tm_yday == 70 and date(2002, 3, 11).isoweekday() == 1
    # Moments and zones.
    tz1, tz2 = timezone.utc, timezone(timedelta(hours=-6, minutes=-30))
    moment = datetime(2006, 6, 14, 13, 0, tzinfo=tz1)
    assert str(moment.astimezone(tz2)) == "2006-06-14 06:30:00-06:30"
    assert moment.utctimetuple().tm_hour == 13 and datetime.fromtimestamp(moment.timestamp(), UTC) == moment
    assert datetime.strptime("2024-02-29T12:30:15.5+0200", "%Y-%m-%dT%H:%M:%S.%f%z").utcoffset() == timedelta(hours=2)
    assert time.fromisoformat("T04:23:01.000384") == time(4, 23, 1, 384)
    assert f"{time(12, 10, 30):%H:%M}" == "12:10" and time(12, 34, 56, 123456).isoformat("milliseconds") == "12:34:56.123"
    with raises(TypeError):
        moment < datetime(2006, 6, 14)
    with raises(ValueError):
        date(2023, 2, 29)
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
    from decimal import (
        ROUND_HALF_EVEN,
        ROUND_UP,
        Context,
        Decimal,
        DivisionByZero,
        ExtendedContext,
        FloatOperation,
        Inexact,
        InvalidOperation,
        Overflow,
        getcontext,
        localcontext,
    )

    assert Decimal("1.1") + Decimal("2.2") == Decimal("3.3")
    getcontext().prec = 6
    assert str(Decimal(1) / Decimal(7)) == "0.142857"
    with localcontext() as context:
        context.prec = 28
        assert str(Decimal(2).sqrt()) == "1.414213562373095048801688724"
    assert str(Decimal("7.325").quantize(Decimal(".01"), rounding="ROUND_DOWN")) == "7.32"
    # Rounding to a number of places.
    cent = Decimal(10) ** -2
    assert str(Decimal("3.214").quantize(cent)) == "3.21" and str(Decimal("7.325").quantize(Decimal("1."), ROUND_UP)) == "8"
    with raises(Inexact):
        Decimal("3.21999").quantize(cent, context=Context(traps=[Inexact]))
    with raises(InvalidOperation):
        Decimal("1e9").quantize(Decimal("1e-9"), context=Context(prec=9, traps=[InvalidOperation]))
    assert [str(round(Decimal(text), 1)) for text in ("0.25", "0.35")] == ["0.2", "0.4"]
    # Exact forms.
    assert Decimal((0, (3, 1, 4), -2)) == Decimal("3.14") and Decimal("-1.23E+5").as_tuple().exponent == 3
    assert str(Decimal(3.14)) == "3.140000000000000124344978758017532527446746826171875"
    assert Decimal("0.25").as_integer_ratio() == (1, 4) and Decimal("1.00").normalize() == 1
    assert f"{Decimal('1234567.891'):,.2f}" == "1,234,567.89" and Decimal("12E3").to_eng_string() == "12E+3"
    # Contexts and signals.
    assert str(ExtendedContext.divide(1, 0)) == "Infinity" and ExtendedContext.flags[DivisionByZero]
    with raises(DivisionByZero):
        Decimal(42) / Decimal(0)
    context = Context(prec=5, rounding=ROUND_HALF_EVEN, Emax=99, Emin=-99, traps=[])
    assert str(context.multiply(Decimal("9e99"), Decimal(10))) == "Infinity" and context.flags[Overflow]
    context.clear_flags()
    assert str(context.create_decimal("1.2345678")) == "1.2346" and context.flags[Inexact]
    with localcontext(traps=[FloatOperation]), raises(FloatOperation):
        Decimal(3.14)
    assert Decimal("NaN").is_nan() and Decimal("-0").is_signed() and Decimal("Infinity") > Decimal("1e999")
    assert Decimal("1.5").compare(Decimal("NaN")).is_nan() and str(Decimal("1").exp(Context(prec=10))) == "2.718281828"
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
    # Readers.
    assert list(csv.reader(["a,'b,c'"], quotechar="'")) == [["a", "b,c"]]
    assert list(csv.reader(['1.5,"2"'], quoting=csv.QUOTE_NONNUMERIC)) == [[1.5, "2"]]
    assert list(csv.reader(['"two\n', 'lines",x'])) == [["two\nlines", "x"]]
    assert list(csv.reader(["a, b|"], lineterminator="|", skipinitialspace=True)) == [["a", "b|"]]
    short_and_long = csv.DictReader(["a,b", "1", "1,2,3"], restkey="more", restval="none")
    assert list(short_and_long) == [{"a": "1", "b": "none"}, {"a": "1", "b": "2", "more": ["3"]}]
    reader = csv.reader(["a", "b"])
    assert next(reader) == ["a"] and reader.line_num == 1
    with raises(csv.Error):
        list(csv.reader(['"a"b'], strict=True))
    # Dialects.
    csv.register_dialect("unixpwd", delimiter=":", quoting=csv.QUOTE_NONE)
    assert next(csv.reader(["root:x:0"], "unixpwd")) == ["root", "x", "0"] and "unixpwd" in csv.list_dialects()
    csv.unregister_dialect("unixpwd")
    with raises(csv.Error):
        csv.get_dialect("unixpwd")

    class Semicolons(csv.excel):
        delimiter = ";"
        lineterminator = "\n"

    # Writers.
    written = io.StringIO()
    csv.writer(written, Semicolons).writerows([["a;b", 'say "x"'], [None, 1.5]])
    assert written.getvalue() == '"a;b";"say ""x"""\n;1.5\n'
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_NONE, escapechar="\\").writerow(["a,b"])
    assert written.getvalue() == "a\\,b\r\n"
    with raises(ValueError):
        csv.DictWriter(written, ["a"]).writerow({"b": 1})
    # Guesses.
    assert csv.Sniffer().has_header("name,year\nann,1982\nbob,1983\n")
    assert csv.Sniffer().sniff("'a'\t'b'\n'c'\t'd'\n").quotechar == "'"
    assert csv.field_size_limit() == 131072
    return "rows"


def json():
    import json

    assert json.dumps(["foo", {"bar": ("baz", None, 1.0, 2)}]) == '["foo", {"bar": ["baz", null, 1.0, 2]}]'
    assert json.loads('"\\"foo\\bar"') == '"foo\x08ar'
    assert json.dumps({"4": 5, "6": 7}, sort_keys=True, indent=4) == '{\n    "4": 5,\n    "6": 7\n}'
    assert json.dumps([1, {"4": 5}], separators=(",", ":")) == '[1,{"4":5}]'
    assert json.dumps("\u20ac") == '"\\u20ac"' and json.dumps("\u20ac", ensure_ascii=False) == '"\u20ac"'
    # Hooks.
    from decimal import Decimal

    def as_complex(members):
        return complex(members["real"], members["imag"]) if "__complex__" in members else members

    assert json.loads('{"__complex__": true, "real": 1, "imag": 2}', object_hook=as_complex) == 1 + 2j
    assert json.loads("1.1", parse_float=Decimal) == Decimal("1.1")
    assert json.loads('{"a": 1, "a": 2}', object_pairs_hook=list) == [("a", 1), ("a", 2)]
    assert json.loads("[NaN, -Infinity]", parse_constant=str) == ["NaN", "-Infinity"]

    class ComplexEncoder(json.JSONEncoder):
        def default(self, value):
            return [value.real, value.imag] if isinstance(value, complex) else super().default(value)

    assert json.dumps(2 + 1j, cls=ComplexEncoder) == "[2.0, 1.0]"
    assert list(ComplexEncoder().iterencode(2 + 1j)) == ["[2.0", ", 1.0", "]"]
    assert json.dumps({1, 2}, default=sorted) == "[1, 2]"
    assert json.dumps({("a",): 1, 2: 3}, skipkeys=True) == '{"2": 3}'
    assert json.JSONDecoder().raw_decode("[1] rest") == ([1], 3)
    # Refusals.
    for refused in (lambda: json.dumps({1, 2}), lambda: json.dumps({("a",): 1})):
        with raises(TypeError):
            refused()
    circle = []
    circle.append(circle)
    for refused in (lambda: json.dumps(circle), lambda: json.dumps(float("nan"), allow_nan=False)):
        with raises(ValueError):
            refused()
    try:
        json.loads("{")
    except json.JSONDecodeError as error:
        return str(error)
    raise AssertionError("half an object")


def statistics():
    from fractions import Fraction
    from statistics import (
        NormalDist,
        StatisticsError,
        correlation,
        covariance,
        fmean,
        geometric_mean,
        harmonic_mean,
        kde,
        linear_regression,
        mean,
        median,
        median_grouped,
        median_high,
        median_low,
        mode,
        multimode,
        pstdev,
        pvariance,
        quantiles,
        stdev,
        variance,
    )

    assert mean([1, 2, 3, 4, 4]) == 2.8
    assert median([1, 3, 5, 7]) == 4.0
    assert mode(["red", "blue", "blue", "red", "green", "red", "red"]) == "red"
    assert round(stdev([1.5, 2.5, 2.5, 2.75, 3.25, 4.75]), 10) == 1.0810874155
    assert quantiles([1, 2, 3, 4, 5]) == [1.5, 3.0, 4.5]
    assert correlation([1, 2, 3], [1, 2, 3]) == 1.0
    slope, intercept = linear_regression([1971, 1975, 1979, 1982, 1983], [1, 2, 3, 4, 5])
    assert round(slope * 2019 + intercept) == 16
    assert round(1.0 - NormalDist(1060, 195).cdf(1200 - 0.5), 2) == 0.24
    # Averages and spread.
    assert mean([Fraction(3, 7), Fraction(1, 21), Fraction(5, 3), Fraction(1, 3)]) == Fraction(13, 21)
    assert fmean([85, 92, 83, 91], weights=[0.20, 0.20, 0.30, 0.30]) == 87.6
    assert round(geometric_mean([54, 24, 36]), 1) == 36.0 and harmonic_mean([40, 60]) == 48.0
    assert (median_low([1, 3, 5, 7]), median_high([1, 3, 5, 7]), median_grouped([1, 2, 2, 3, 4, 4, 4, 4, 4, 5])) == (3, 5, 3.7)
    assert multimode("aabbbbccddddeeffffgg") == ["b", "d", "f"]
    assert pvariance([0.0, 0.25, 0.25, 1.25, 1.5, 1.75, 2.75, 3.25]) == 1.25 and variance([1, 2, 3, 4]) == 5 / 3
    assert pstdev([1.5, 2.5, 2.5, 2.75, 3.25, 4.75]) == 0.986893273527251
    with raises(StatisticsError):
        mean([])
    # Quantiles.
    marks = [105, 129, 87, 86, 111, 111, 89, 81, 108, 92, 110, 100, 75, 105, 103, 109, 76, 119, 99, 91, 103, 129]
    marks += [106, 101, 84, 111, 74, 87, 86, 103, 103, 106, 86, 111, 75, 87, 102, 121, 111, 88, 89, 101, 106, 95]
    marks += [103, 107, 101, 81, 109, 104]
    assert [round(q, 1) for q in quantiles(marks, n=10)] == [81.0, 86.2, 89.0, 99.4, 102.5, 103.6, 106.0, 109.8, 111.0]
    assert quantiles([1, 2, 3, 4, 5], method="inclusive") == [2.0, 3.0, 4.0]
    # Two variables.
    assert covariance([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 1, 2, 3, 1, 2, 3]) == 0.75
    assert correlation([1, 2, 3, 4], [1, 4, 9, 16], method="ranked") == 1.0
    assert linear_regression([1, 2, 3], [2, 4, 6], proportional=True).slope == 2.0
    # Normal distributions.
    temperature = NormalDist(5, 2.5)
    assert temperature * (9 / 5) + 32 == NormalDist(mu=41.0, sigma=4.5)
    assert NormalDist.from_samples([4, 5, 6]) == NormalDist(5, 1) and NormalDist().zscore(2) == 2.0
    assert [round(q) for q in NormalDist(100, 15).quantiles(4)] == [90, 100, 110]
    assert round(NormalDist(2.4, 1.6).overlap(NormalDist(3.2, 2.0)), 10) == 0.8035050657
    assert NormalDist(10, 3) + NormalDist(1, 4) == NormalDist(11, 5) and round(NormalDist().inv_cdf(0.975), 2) == 1.96
    estimate = kde([-2.1, -1.3, -0.4, 1.9, 5.1, 6.2], h=1.5)
    assert round(estimate(0), 3) == 0.11
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
    with zipfile.ZipFile(memory, "w") as archive:
        about = zipfile.ZipInfo("about.txt", date_time=(2026, 3, 1, 12, 0, 0))
        about.comment = b"a note"
        archive.writestr(about, "stored")
        archive.mkdir("empty")
        with archive.open("large.bin", "w", force_zip64=True) as large:
            large.write(bytes(range(256)) * 100)
        archive.comment = b"the end"
    with zipfile.ZipFile(memory, "a", compression=zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("added.txt", "x" * 1000)
    assert zipfile.is_zipfile(memory) and not zipfile.is_zipfile(io.BytesIO(b"no archive"))
    with zipfile.ZipFile(memory) as archive:
        assert archive.namelist() == ["about.txt", "empty/", "large.bin", "added.txt"] and archive.comment == b"the end"
        about, added = archive.getinfo("about.txt"), archive.getinfo("added.txt")
        assert (about.date_time, about.comment, about.compress_type) == ((2026, 3, 1, 12, 0, 0), b"a note", zipfile.ZIP_STORED)
        assert added.file_size == 1000 and added.compress_size < 50 and archive.getinfo("empty/").is_dir()
        with archive.open("large.bin") as large:
            large.seek(256 * 50 + 7)
            assert large.read(3) == b"\x07\x08\x09"
        assert [line for line in io.TextIOWrapper(archive.open("about.txt"))] == ["stored"]
        assert sorted(path.name for path in zipfile.Path(archive).iterdir()) == ["about.txt", "added.txt", "empty", "large.bin"]
        with raises(KeyError):
            archive.read("missing")
    with raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"no archive"))
    damaged = memory.getvalue().replace(b"stored", b"stroed")
    assert zipfile.ZipFile(io.BytesIO(damaged)).testzip() == "about.txt"
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
        assert connection.execute("SELECT score FROM movie WHERE year = :year", {"year": 1983}).fetchall() == [(7.5,)]
    assert found == ("Monty Python Live at the Hollywood Bowl",)
    # Values.
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT 1 AS earth, x'00ff' AS bytes, NULL AS nobody, 2.5 AS number").fetchone()
    assert row.keys() == ["earth", "bytes", "nobody", "number"] and tuple(row) == (1, b"\x00\xff", None, 2.5)
    assert row["EARTH"] == 1
    # Functions of Python.
    connection.create_function("reversed", 1, lambda text: text[::-1], deterministic=True)
    assert connection.execute("SELECT reversed('spam')").fetchone()[0] == "maps"
    connection.create_collation("reverse", lambda one, other: (one < other) - (one > other))
    titles = connection.execute("SELECT title FROM movie ORDER BY title COLLATE reverse").fetchall()
    assert titles[0]["title"].startswith("Monty Python's")

    class Product:
        def __init__(self):
            self.value = 1

        def step(self, factor):
            self.value *= factor

        def finalize(self):
            return self.value

    connection.create_aggregate("product", 1, Product)
    assert connection.execute("SELECT product(column1) FROM (VALUES (2), (3), (7))").fetchone()[0] == 42
    # Transactions: one that fails is rolled back.
    connection.execute("CREATE TABLE lang(name TEXT UNIQUE)")
    with connection:
        connection.execute("INSERT INTO lang VALUES ('Python')")
    with raises(sqlite3.IntegrityError) as caught, connection:
        connection.execute("INSERT INTO lang VALUES ('C')")
        connection.execute("INSERT INTO lang VALUES ('Python')")
    assert caught.error.sqlite_errorname == "SQLITE_CONSTRAINT_UNIQUE"
    assert connection.execute("SELECT count(*) FROM lang").fetchone()[0] == 1
    # Copies.
    copy = sqlite3.connect(":memory:")
    connection.backup(copy)
    assert copy.execute("SELECT name FROM lang").fetchone() == ("Python",)
    again = sqlite3.connect(":memory:")
    again.executescript("\n".join(copy.iterdump()))
    assert again.execute("SELECT count(*) FROM movie").fetchone() == (2,) and again.total_changes > 0
    with raises(sqlite3.OperationalError):
        again.execute("SELECT a FROM no_such_table")
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
