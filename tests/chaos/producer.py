"""A web process of a chaos run: it calls `.delay` and `.many` as fast as it was told, and writes down what came of it.

    python -m tests.chaos.producer --evidence producer-0.3.jsonl --name 0.3 --rate 50 [--before producer-0.2.jsonl]

As a program with an idempotency key would, it repeats what raised, and what its killed predecessor did not finish.
"""

import argparse
import itertools
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailworker import BulkError, LedgerError, send_email
from tests.chaos.evidence import Evidence, read_calls
from tests.chaos.letters import email_of, lane_of_tag

_AGAIN_SECONDS = 0.5


class Producer:
    def __init__(self, options: argparse.Namespace) -> None:
        self._evidence = Evidence(options.evidence)
        self._name = options.name
        self._rate = options.rate
        self._before = options.before
        self._chance = random.Random(f"producer {options.name} {options.seed}")
        self._calls = itertools.count()
        self._is_stopping = False

    def stop(self, *_: object) -> None:
        self._is_stopping = True

    def run(self) -> None:
        for call in read_calls(self._before) if self._before else []:
            if call.key and (call.is_open or call.error):
                self._call(call.way, call.tags, call.key)
        began, made = time.monotonic(), 0
        for way, tags, key in self._plans():
            if self._is_stopping:
                return
            time.sleep(max(0.0, began + made / self._rate - time.monotonic()))
            self._call(way, tags, key)
            made += len(tags)

    def _plans(self) -> Iterator[tuple[str, list[str], str | None]]:
        for number in itertools.count():
            way = self._chance.choices(("delay", "countdown", "priority", "many"), (80, 5, 5, 10))[0]
            most = 60 if self._chance.random() < 0.95 else 400
            mails = self._chance.randint(2, most) if way == "many" else 1
            tags = [f"{self._name}.{number}.{place}" for place in range(mails)]
            if way == "many":
                # Mails of one call are of one lane.
                lane = lane_of_tag(tags[0])
                tags = [tag for tag in tags if lane_of_tag(tag) == lane]
            yield way, tags, f"key {self._name} {number}" if self._chance.random() < 0.4 else None

    def _call(self, way: str, tags: list[str], key: str | None) -> None:
        """Make one call, again and again if it has a key to be known by."""
        while not self._is_stopping:
            number = next(self._calls)
            self._evidence.begin(number, way, tags, key)
            try:
                ids = self._post(way, tags, key)
            except (LedgerError, BulkError) as error:
                accepted = error.results if isinstance(error, BulkError) else []
                self._evidence.raised(number, type(error).__name__, [result.id for result in accepted])
                if key is None:
                    return
                time.sleep(_AGAIN_SECONDS)
            else:
                self._evidence.returned(number, ids)
                return

    def _post(self, way: str, tags: list[str], key: str | None) -> list[str]:
        options: dict[str, Any] = {"lane": lane_of_tag(tags[0]), "idempotency_key": key}
        if way == "countdown":
            options["countdown"] = self._chance.random() * 3
        if way == "priority":
            options["priority"] = self._chance.randrange(10)
        if way == "many":
            return [result.id for result in send_email.many([email_of(tag) for tag in tags], **options)]
        return [send_email.delay(email_of(tags[0]), **options).id]


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.chaos.producer")
    options.add_argument("--evidence", type=Path, required=True)
    options.add_argument("--before", type=Path)
    options.add_argument("--name", required=True)
    options.add_argument("--rate", type=float, required=True)
    options.add_argument("--seed", default="")
    producer = Producer(options.parse_args())
    signal.signal(signal.SIGTERM, producer.stop)
    producer.run()


if __name__ == "__main__":
    main()
