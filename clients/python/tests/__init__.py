"""Tests of the client. Some of them need a host: see `tests.pipeline`.

    python -m unittest discover -t . -s tests
"""
