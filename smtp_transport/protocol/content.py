"""The content of a mail in the form that DATA wants: CRLF line ends, dots doubled (RFC 5321 section 4.5.2).

Law: a bare CR or LF is repaired before dots are doubled, never after: the other order lets a lone dot be smuggled in.
Only whole-buffer operations, so that 25 MB cost milliseconds.
"""


def canonical(data: bytes) -> bytes:
    r"""Make every line end CRLF, the last line's too: a bare CR and a bare LF are each a line end.

    Data that already is so comes back as it is, not copied.
    """
    line_ends = data.count(b"\r\n")
    if data.count(b"\n") != line_ends or data.count(b"\r") != line_ends:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return data if not data or data.endswith(b"\r\n") else data + b"\r\n"


def dot_stuffed(data: bytes) -> bytes:
    """Double the dot that begins a line of canonical data; what follows may be the final dot."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed
