"""A map that forgets what was not looked at for longest, so that it never outgrows its budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Lru(Generic[Value]):
    """Keeps values while their sizes stay within `budget`; safe to use from several threads."""

    def __init__(self, budget: int, size: Callable[[Value], int]) -> None:
        self._budget, self._size = budget, size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()
        self.used = 0

    def get(self, key: Hashable) -> Value | None:
        """Return the value of `key`, or None."""
        with self._lock:
            if (value := self._values.get(key)) is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value, unless it alone exceeds the budget."""
        size = self._size(value)
        if size > self._budget:
            return
        with self._lock:
            if (old := self._values.pop(key, None)) is not None:
                self.used -= self._size(old)
            self._values[key] = value
            self.used += size
            while self.used > self._budget:
                _, gone = self._values.popitem(last=False)
                self.used -= self._size(gone)

    def __len__(self) -> int:
        return len(self._values)
