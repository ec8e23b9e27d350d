"""The pipeline that tests use. `tests/suite/python_client.rs` starts its host.

The environment variable `ANACOSTIA_TEST_URL` has the address. The pipeline has a watched resource
`inbox` that takes uploads, which `measure` copies to `out`; and a watched resource `gate`, which
takes uploads too, and whose action `publish` needs approval.
"""

import os
import unittest

from anacostia import Client

URL = os.environ.get("ANACOSTIA_TEST_URL", "")
#: No wait takes longer unless something is wrong.
DEADLINE = 60.0


class WithHost(unittest.TestCase):
    """A test that needs a host."""

    def setUp(self) -> None:
        if not URL:
            # CI sets the address; without one, nobody should take the rest for all of it.
            self.skipTest("ANACOSTIA_TEST_URL is not set")
        self.client = Client(URL)
