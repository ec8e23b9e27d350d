"""Data frames, with pandas and without it."""

import importlib.util
import math
import os
import unittest

from anacostia import Items

from .pipeline import WithHost

ROWS = [
    {"number": 2, "created_at": "2026-03-01T12:00:01.000000Z", "ended_at": None, "params": {"a": 1}},
    {"number": 1, "created_at": "2026-03-01T12:00:00.000001Z", "ended_at": "2026-03-01T12:00:00.5Z", "params": {}},
]
HAS_PANDAS = importlib.util.find_spec("pandas") is not None


class Frames(unittest.TestCase):
    def test_the_caller_knows_whether_pandas_is_there(self):
        # So that no run of the tests leaves out half of them unseen.
        if (expected := os.environ.get("ANACOSTIA_TEST_PANDAS")) is not None:
            self.assertEqual(HAS_PANDAS, expected == "1")

    @unittest.skipIf(HAS_PANDAS, "pandas is installed")
    def test_without_pandas_the_error_says_what_to_install(self):
        with self.assertRaises(ImportError) as raised:
            Items(lambda cursor: (ROWS, None)).to_pandas()
        self.assertEqual(str(raised.exception), "`to_pandas` needs pandas: install it with `pip install pandas`")

    @unittest.skipUnless(HAS_PANDAS, "pandas is not installed")
    def test_columns_have_types(self):
        frame = Items(lambda cursor: (ROWS, None)).to_pandas()
        self.assertEqual(list(frame.columns), ["number", "created_at", "ended_at", "params"])
        self.assertEqual(str(frame["created_at"].dt.tz), "UTC")
        self.assertEqual(frame["created_at"][1].microsecond, 1)
        self.assertTrue(frame["ended_at"].isna()[0])
        self.assertEqual((frame["ended_at"] - frame["created_at"])[1].total_seconds(), 0.499999)
        self.assertEqual(len(Items(lambda cursor: ([], None)).to_pandas()), 0)

    @unittest.skipUnless(HAS_PANDAS, "pandas is not installed")
    def test_metrics_are_numbers(self):
        words = [{"value": float(word)} for word in ("0.5", "NaN", "Infinity", "-Infinity")]
        frame = Items(lambda cursor: (words, None)).to_pandas()
        self.assertEqual(str(frame["value"].dtype), "float64")
        self.assertTrue(math.isinf(frame["value"][2]))


class Real(WithHost):
    @unittest.skipUnless(HAS_PANDAS, "pandas is not installed")
    def test_every_list_of_a_host_makes_a_frame(self):
        client = self.client
        client.upload("inbox", "frame.csv", b"1\n")
        for event in client.events(after=0):
            if event["type"] == "run_created":
                client.wait(event["run_id"], 60)
                break
        run = client.runs(limit=1)[0]
        lists = [
            client.runs(), client.metrics(), client.params(), client.tags(), client.artifacts(), client.logs(run),
            client.inputs(run), client.lineage(run), client.triggers(), client.nodes(), client.approvals(),
        ]
        for items in lists:
            self.assertEqual(len(items.to_pandas()), len(items))


if __name__ == "__main__":
    unittest.main()
