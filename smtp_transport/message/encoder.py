"""The specification's MimeEncoder: a view on the functions of this package, with no state and no chance of its own."""

from smtp_transport.message import rules, transfer
from smtp_transport.message.email import Email, make_message_id
from smtp_transport.message.encoded_words import encode_words, is_plain
from smtp_transport.message.mime import boundaries
from smtp_transport.message.render import render
from smtp_transport.message.transfer import TransferEncoding


class MimeEncoder:
    """Encodes an email, or a piece of one. What must be unique is made from a token that the caller gives."""

    def encode(self, email: Email, *, eight_bit: bool = False) -> bytes:
        """Return the message of a stamped email. Raises MessageError(INVALID_HEADER) if it is not stamped."""
        return render(email, eight_bit=eight_bit).data

    def encode_header(self, value: str) -> str:
        """Return text as an unfolded header has it: unchanged if plain ASCII, else in encoded-words (RFC 2047).

        Raises ValueError for what no header may hold, as line ends.
        """
        return value if is_plain(rules.line(value)) else " ".join(encode_words(value))

    def encode_body(self, body: bytes, encoding: TransferEncoding) -> bytes:
        """Return the body in a transfer encoding. Text comes with CRLF line ends (RFC 2045 section 6)."""
        return transfer.encode(body, encoding)

    def generate_boundary(self, token: str) -> str:
        """Return the first boundary that `token` yields (RFC 2046 section 5.1.1)."""
        return next(boundaries(token, ()))

    def generate_message_id(self, token: str, domain: str) -> str:
        """Return `<token@domain>` (RFC 5322 section 3.6.4). Raises ValueError."""
        return make_message_id(token, domain)
