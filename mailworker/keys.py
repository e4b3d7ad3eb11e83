"""Names in Redis: a lane's keys, its mails' ids, and how to tell one from the other.

Law: every key of a lane bears the hash tag `{lane}`, so a script touches one Cluster slot. A mail's id names its lane,
so the id alone finds the record. Pure: time and randomness are arguments.
"""

import base64
import re
from dataclasses import dataclass

_LANE = re.compile(r"[a-z0-9_-]{1,32}")
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAIL_ID = re.compile(r"([a-z0-9_-]{1,32})-([0-7][0-9A-HJKMNP-TV-Z]{25})")

# A ULID: 48 bits of time and 80 of randomness in Crockford's base 32, whose order is the order of the numbers.
_TIME_BITS, _RANDOM_BITS, _LETTERS = 48, 80, 26
_BASE32_HEX = b"0123456789ABCDEFGHIJKLMNOPQRSTUV"
_CROCKFORD = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_CROCKFORD = bytes.maketrans(_BASE32_HEX, _CROCKFORD)
_FROM_CROCKFORD = bytes.maketrans(_CROCKFORD, _BASE32_HEX)
# 20 octets are 32 letters without padding.
_OCTETS = 20
_PADDING = b"0" * 6


def check_lane(lane: str) -> str:
    """Return the name of a lane. Raises ValueError unless it is 1 to 32 of a-z, 0-9, - and _."""
    if not _LANE.fullmatch(lane):
        raise ValueError("a lane's name is 1 to 32 characters of a-z, 0-9, - and _")
    return lane


def check_digest(digest: str) -> str:
    """Return a SHA-256. Raises ValueError unless it is 64 hex digits."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError("files and idempotency keys go by a SHA-256, 64 hex digits")
    return digest


def new_mail_id(lane: str, ms: int, randomness: bytes, place: int = 0) -> str:
    """Make an id, `<lane>-<ulid>`.

    `ms`: now, in ms since the epoch. `randomness`: 10 octets. `place`: the mail's place among those made together, with
    the same time and randomness, which stay in that order. Raises ValueError if one of them is out of range.
    """
    if len(randomness) != _RANDOM_BITS // 8 or not 0 <= ms < 1 << _TIME_BITS or place < 0:
        raise ValueError("an id needs 10 octets of randomness, a time of 48 bits and a place from 0 on")
    low = (int.from_bytes(randomness, "big") + place) % (1 << _RANDOM_BITS)
    octets = (ms << _RANDOM_BITS | low).to_bytes(_OCTETS, "big")
    ulid = base64.b32hexencode(octets)[-_LETTERS:].translate(_TO_CROCKFORD).decode("ascii")
    return f"{check_lane(lane)}-{ulid}"


def lane_of(mail_id: str) -> str:
    """Tell the lane of a mail. Raises ValueError if this is no mail's id."""
    return _split(mail_id)[0]


def made_at(mail_id: str) -> int:
    """Tell when an id was made, in ms since the epoch. Raises ValueError if this is no mail's id."""
    letters = _PADDING + _split(mail_id)[1].encode("ascii")
    return int.from_bytes(base64.b32hexdecode(letters.translate(_FROM_CROCKFORD)), "big") >> _RANDOM_BITS


def _split(mail_id: str) -> tuple[str, str]:
    found = _MAIL_ID.fullmatch(mail_id)
    if not found:
        raise ValueError("this is no id of a mail")
    return found[1], found[2]


@dataclass(frozen=True, slots=True)
class LaneKeys:
    """The keys of one lane. `prefix` keeps deployments that share a server apart. Raises ValueError for bad names."""

    prefix: str
    lane: str

    def __post_init__(self) -> None:
        """Refuse names that would move the hash tag or end the key early."""
        check_lane(self.lane)
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError("a prefix is 1 to 32 characters of A-Z, a-z, 0-9, _ . : and -")

    @property
    def every(self) -> tuple[str, ...]:
        """The lane's own keys, in the order in which every script takes them."""
        return (self.ready, self.due, self.claims, self.dead, self.in_doubt, self.bell, self.pause, self.counts)

    @property
    def ready(self) -> str:
        """Sorted set: mails in line, by rank and time."""
        return self._named("ready")

    @property
    def due(self) -> str:
        """Sorted set: scheduled and deferred mails, by the ms when they are looked at again."""
        return self._named("due")

    @property
    def claims(self) -> str:
        """Sorted set: mails being sent, by the ms when the lease is over."""
        return self._named("claims")

    def parked(self, state: str) -> str:
        """Sorted set: mails that ended so, unless they were sent, by the ms when; or those that are unreadable now."""
        return self._named(state)

    @property
    def dead(self) -> str:
        """Sorted set: mails given up, by the ms when."""
        return self._named("dead")

    @property
    def in_doubt(self) -> str:
        """Sorted set: mails that a person must judge, by the ms when they were parked."""
        return self._named("in_doubt")

    @property
    def bell(self) -> str:
        """String with a TTL: a bell is outstanding."""
        return self._named("bell")

    @property
    def pause(self) -> str:
        """Hash: until when the lane is left alone, after how many failures, and why."""
        return self._named("pause")

    @property
    def counts(self) -> str:
        """Hash: counters, by mail."""
        return self._named("counts")

    @property
    def waiter(self) -> str:
        """String that expires: who waits, for all others, until mails may be sent."""
        return self._named("waiter")

    @property
    def turns(self) -> str:
        """Hash: how far each rank of the line has come, and each of its tenants."""
        return self._named("turns")

    @property
    def recalled(self) -> str:
        """Hash: for each relay that a person opened or held, since which change of its breaker leave counts."""
        return self._named("recalled")

    def record(self, mail_id: str) -> str:
        """Hash: all about one mail. Raises ValueError if the mail is not of this lane."""
        return self._named(f"m:{self._own(mail_id)}")

    def ended(self, mail_id: str) -> str:
        """Channel: the mail's final state, when it comes. Raises ValueError if the mail is not of this lane."""
        return self._named(f"ended:{self._own(mail_id)}")

    @property
    def untold(self) -> str:
        """Sorted set: ended mails whose callbacks are still to be called, by the ms when they are looked at next."""
        return self._named("untold")

    @property
    def telling(self) -> str:
        """String with a TTL: somebody was asked to call them."""
        return self._named("telling")

    def file(self, name: str) -> str:
        """Hash: a file that mails share. Raises ValueError if it is no name of a file."""
        return self._named(f"b:{check_digest(name)}")

    @property
    def suppressed(self) -> tuple[str, str]:
        """Hash and sorted set: addresses that this lane does not try again, and until when."""
        return self._named("suppressed"), self._named("suppressed-till")

    def idempotency(self, digest: str) -> str:
        """String with a TTL: the id of the mail accepted with this key. Raises ValueError if it is no digest."""
        return self._named(f"key:{check_digest(digest)}")

    def _named(self, name: str) -> str:
        return f"{self.prefix}:{{{self.lane}}}:{name}"

    def _own(self, mail_id: str) -> str:
        if lane_of(mail_id) != self.lane:
            raise ValueError("this mail belongs to another lane")
        return mail_id


def strays_of(prefix: str) -> tuple[str, str]:
    """Hash and sorted set: messages on our queues that are not ours, and when they were put aside."""
    return f"{prefix}:{{@strays}}:messages", f"{prefix}:{{@strays}}:order"


def suppressed_everywhere(prefix: str) -> tuple[str, str]:
    """As `LaneKeys.suppressed`, for all lanes. No lane is named with an @."""
    return f"{prefix}:{{@suppressed}}:suppressed", f"{prefix}:{{@suppressed}}:suppressed-till"
