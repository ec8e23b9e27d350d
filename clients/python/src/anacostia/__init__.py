"""A client of Anacostia: runs, metrics and artifacts of a pipeline.

    from anacostia import Client

    client = Client()
    client.runs(state="failed").to_pandas()

It needs nothing but Python's standard library; `to_pandas` needs pandas.
"""

from . import types
from .client import Client
from .errors import AnacostiaError
from .items import Items

__all__ = ["AnacostiaError", "Client", "Items", "types"]
__version__ = "0.1.0"
