"""The examples of the README, in order, as one program."""

import contextlib
import io
import os
import re
import tempfile
import unittest
from pathlib import Path

from .pipeline import URL, WithHost
from .test_pandas import HAS_PANDAS

README = Path(__file__).parent.parent / "README.md"


class Examples(WithHost):
    def test_they_run(self):
        text = README.read_text(encoding="utf-8")
        examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertGreater(len(examples), 4)
        known: dict[str, object] = {}
        with tempfile.TemporaryDirectory() as folder:
            before = os.getcwd()
            os.chdir(folder)
            self.addCleanup(os.chdir, before)
            Path("rows.csv").write_text("name,value\na,1\n", encoding="utf-8")
            for example in examples:
                if "to_pandas" in example and not HAS_PANDAS:
                    continue
                at = text[: text.index(example)].count("\n")
                # The lines of an error are those of the README.
                code = "\n" * at + example.replace("Client()", f"Client({URL!r})")
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(code, str(README), "exec"), known)
            self.assertEqual(Path("copy.csv").read_text(encoding="utf-8"), "name,value\na,1\n")
            os.chdir(before)


if __name__ == "__main__":
    unittest.main()
