"""Who listens: any callable that takes an event, and as many as one likes."""

import logging
from collections.abc import Iterable
from typing import Any, Protocol

from smtp_transport.observation.events import Event

_log = logging.getLogger("smtp_transport.observation")


class Observer(Protocol):
    """Takes events as they happen, in the thread that sends: be quick, and safe for threads."""

    def __call__(self, event: Event, /) -> None:
        """Take one event. What is raised is logged once, and stops neither the delivery nor other observers."""
        ...


class Observers:
    """Several observers as one; false if there are none. Equal to another of the same observers."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._told_on: set[int] = set()
        for observer in self._observers:
            if not callable(observer):
                raise TypeError(f"an observer is called with an event; {type(observer).__name__} cannot be called")

    @classmethod
    def of(cls, value: Any) -> "Observers":
        """Take one observer, several, or ready `Observers`. Raises TypeError for anything else."""
        if isinstance(value, cls):
            return value
        if not callable(value) and not isinstance(value, Iterable):
            raise TypeError(f"observers are callables that take an event; {type(value).__name__} is none")
        return cls((value,) if callable(value) else value)

    def tell(self, event: Event) -> None:
        """Give everyone the event."""
        for number, observer in enumerate(self._observers):
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - foreign code; a delivery does not depend on who listens
                if number not in self._told_on:
                    self._told_on.add(number)
                    _log.exception("an observer failed, and is not reported again: %s", type(observer).__name__)

    def __add__(self, others: "Observers") -> "Observers":
        return Observers((*self._observers, *others._observers))

    def __bool__(self) -> bool:
        return bool(self._observers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Observers) and self._observers == other._observers

    def __hash__(self) -> int:
        return hash(self._observers)

    def __repr__(self) -> str:
        return f"<Observers: {', '.join(type(observer).__name__ for observer in self._observers) or 'none'}>"
