"""The only reader of replies (RFC 5321 section 4.2): bytes in, in any cut, complete replies out.

Law: whatever the bytes are, and however they are cut, the outcome is the same replies and then, at the same place, the
same `ProtocolError`. Nothing grows without bound.
"""

import re
from collections.abc import Sequence
from typing import Final, cast

from smtp_transport.errors import ErrorKind, ProtocolError
from smtp_transport.protocol import grammar
from smtp_transport.reply import Reply

_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)")
# Text of replies ends up in logs and on terminals: no escape sequence, no NUL, no stray carriage return.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

# Bytes that tell which other protocol answers, for an error that tells the cure.
_STRANGERS: Final = (
    (b"\x16\x03", "the server speaks TLS here: this port may want implicit TLS"),
    (b"\x15\x03", "the server speaks TLS here: this port may want implicit TLS"),
    (b"HTTP/", "the server speaks HTTP"),
    (b"SSH-", "the server speaks SSH"),
    (b"* OK", "the server speaks IMAP"),
    (b"+OK", "the server speaks POP3"),
)


_KNOWN: Final = 64
"""Lines that a reader knows by heart: a server says the same few again and again."""
_KNOWN_LINE: Final = 128
_KNOWN_GROUP: Final = 512
"""Octets of a line that is kept, and of replies that come together."""


class ReplyReader:
    """Collects bytes until replies are complete."""

    __slots__ = ("_code", "_failure", "_groups", "_known", "_rest", "_texts", "idle")

    def __init__(self) -> None:
        self._rest = b""
        self._code = 0
        self._texts: list[str] = []
        self._known: dict[bytes, Reply] = {}
        self._groups: dict[bytes, Sequence[Reply]] = {}
        self._failure: ProtocolError | None = None
        # A field, because it is asked for several times with every reply.
        self.idle = True
        """Whether nothing is half-read. If this is False when TLS is to begin, somebody injected plaintext."""

    @property
    def failed(self) -> bool:
        """Whether the next `feed` will raise, whatever it is fed."""
        return self._failure is not None

    def feed(self, data: bytes) -> list[Reply]:
        """Give the replies that these bytes complete.

        Raises `ProtocolError` with kind INVALID_RESPONSE for what is no reply, for a line or a reply that is too long,
        and for lines with differing codes. Replies before the fault are given first; then every call raises.
        """
        if self._failure:
            raise self._failure
        *lines, self._rest = (self._rest + data).split(b"\n")
        replies = []
        try:
            for line in lines:
                reply = None if self._texts else self._known.get(line)
                if reply is None:
                    reply = self._take(line)
                if reply is not None:
                    replies.append(reply)
            _check_length(self._rest)
        except ProtocolError as failure:
            self._failure = failure
            if not replies:
                raise
        finally:
            self.idle = not self._rest and not self._texts and self._failure is None
        return replies

    def agreed(self, data: bytes, count: int, *, asks: bool = False) -> Sequence[Reply] | None:
        """Give the replies if these bytes are so many of one line each, all 2xx; with `asks` 354 stands last.

        Otherwise None, and nothing was taken. What `feed` gives for these bytes is the same.
        """
        if not self.idle:
            return None
        if count == 1:
            known = self._groups.get(data)
            if known is not None:
                return known if (known[0].code == 354) is asks else None
        elif asks:
            # Only the verdict, which stands first, is another each time.
            first, _, rest = data.partition(b"\n")
            ending = self._groups.get(rest)
            if ending is not None and len(ending) == count - 1 and ending[-1].code == 354:
                verdict = self._known.get(first) or self._alone(first)
                return [verdict, *ending] if verdict is not None and verdict.code < 300 else None
        return self._agreed(data, count, asks=asks)

    def _agreed(self, data: bytes, count: int, *, asks: bool) -> Sequence[Reply] | None:
        lines = data.split(b"\n")
        if lines.pop() or len(lines) != count or data.count(b"\n2") + data.startswith(b"2") != count - asks:
            return None
        found = list(map(self._known.get, lines))
        if not all(found):
            found = [self._known.get(line) or self._alone(line) for line in lines]
            if not all(found):
                return None
        replies = cast("list[Reply]", found)
        if asks and replies[-1].code != 354:
            return None
        if count == 1:
            self._remember(data, replies)
        elif asks:
            self._remember(data.partition(b"\n")[2], replies[1:])
        return replies

    def _alone(self, line: bytes) -> Reply | None:
        """Give the reply that this line is by itself; None if it is none, or would begin a longer one (250-)."""
        try:
            return None if line[3:4] == b"-" else self._take(line)
        except ProtocolError:
            return None

    def _remember(self, octets: bytes, replies: Sequence[Reply]) -> None:
        if len(octets) > _KNOWN_GROUP:
            return
        if len(self._groups) == _KNOWN:
            self._groups.clear()
        self._groups[octets] = replies

    def _take(self, line: bytes) -> Reply | None:
        _check_length(line)
        # A bare LF ends a line as well: it cannot be mistaken for anything else here.
        found = _LINE.fullmatch(line.removesuffix(b"\r"))
        if found is None:
            raise _invalid(_what_speaks(line))
        digits, mark, text = found.groups()
        code = int(digits)
        if self._texts and code != self._code:
            raise _invalid("the lines of one reply have different codes")
        if len(self._texts) >= grammar.MAX_REPLY_LINES:
            raise _invalid(f"a reply has more than {grammar.MAX_REPLY_LINES} lines")
        self._code = code
        self._texts.append(_UNPRINTABLE.sub("\ufffd", (text or b"").decode(errors="replace")))
        if mark == b"-":
            return None
        texts, self._texts = self._texts, []
        reply = _reply(code, texts)
        if len(texts) == 1 and len(line) <= _KNOWN_LINE:
            if len(self._known) == _KNOWN:
                self._known.clear()
            self._known[line] = reply
        return reply


def _reply(code: int, texts: list[str]) -> Reply:
    """Cut the enhanced code off (RFC 2034 section 4: on every line, and of the class of the code)."""
    found = _ENHANCED.match(texts[0])
    if found is None or int(found[1][0]) != code // 100:
        return Reply(code, None, tuple(texts))
    enhanced = found[1]
    return Reply(code, enhanced, tuple(_without(enhanced, text) for text in texts))


def _without(enhanced: str, text: str) -> str:
    found = _ENHANCED.match(text)
    return text[found.end() :] if found and found[1] == enhanced else text


def _check_length(line: bytes) -> None:
    if len(line) > grammar.MAX_REPLY_LINE:
        raise _invalid(f"a reply has a line of more than {grammar.MAX_REPLY_LINE} octets")


def _what_speaks(line: bytes) -> str:
    return next((told for start, told in _STRANGERS if line.startswith(start)), "the server sent what is no SMTP reply")


def _invalid(what: str) -> ProtocolError:
    return ProtocolError(what, ErrorKind.INVALID_RESPONSE)
