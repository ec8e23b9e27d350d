"""Lists whose pages are fetched when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import islice
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")

#: Returns the page at a cursor (`None` for the first): its items, and the cursor of the next page.
Fetch = Callable[["str | None"], "tuple[list[T], str | None]"]

#: Names of members that are points in time.
_TIMES = {"t", "time", "since", "until"}


class Items(Sequence[T], Generic[T]):
    """A list of dicts whose pages are fetched when they are needed, and kept.

    A loop that ends early fetches no more pages than it has seen. `len`, negative indices and
    `to_pandas` fetch all of them.
    """

    def __init__(self, fetch: Fetch[T], limit: int | None = None) -> None:
        self._fetch = fetch
        self._limit = limit
        self._items: list[T] = []
        self._cursor: str | None = None
        self._complete = limit is not None and limit <= 0

    def _next_page(self) -> None:
        items, cursor = self._fetch(self._cursor)
        self._items += items
        # The last page of a list that still grows has a cursor too: it leads to where it is.
        self._complete = cursor is None or (not items and cursor == self._cursor)
        self._cursor = cursor
        if self._limit is not None and len(self._items) >= self._limit:
            del self._items[self._limit :]
            self._complete = True

    def _has(self, count: int) -> bool:
        """Fetches pages until there are `count` items. Returns whether there are so many."""
        while len(self._items) < count and not self._complete:
            self._next_page()
        return len(self._items) >= count

    def _all(self) -> list[T]:
        while not self._complete:
            self._next_page()
        return self._items

    def __iter__(self) -> Iterator[T]:
        at = 0
        while self._has(at + 1):
            yield self._items[at]
            at += 1

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return self._has(1)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            numbers = (index.start or 0, index.stop, index.step or 1)
            if numbers[1] is not None and min(numbers) >= 0:
                return list(islice(self, *numbers))
            return self._all()[index]
        if index >= 0 and self._has(index + 1):
            return self._items[index]
        return self._all()[index]

    def __repr__(self) -> str:
        shown = list(islice(self, 3))
        more = "" if self._complete and len(self._items) <= 3 else ", …"
        return f"[{', '.join(map(repr, shown))}{more}]"

    def to_pandas(self) -> Any:
        """Returns all items as a `pandas.DataFrame`, with points in time as such.

        Needs pandas: `pip install pandas`.
        """
        try:
            # Pandas has no types of its own.
            pandas: Any = import_module("pandas")
        except ImportError as error:
            raise ImportError("`to_pandas` needs pandas: install it with `pip install pandas`") from error
        frame: Any = pandas.DataFrame(self._all())
        for name in frame.columns:
            if str(name).endswith("_at") or name in _TIMES:
                frame[name] = pandas.to_datetime(frame[name], utc=True, format="ISO8601")
        return frame
