"""The server's side of SCRAM, from the formulas of RFC 5802 section 3: it keeps no password, as a real one."""

import base64
import hashlib
import hmac
from collections.abc import Generator
from dataclasses import dataclass


@dataclass
class ScramServer:
    """Knows one user. `binding`: what it sees of its own TLS connection, (kind, data), if it can bind to that."""

    digest: str
    user: bytes
    password: bytes
    binding: tuple[bytes, bytes] | None = None
    salt: bytes = b"0123456789abcdef"
    iterations: int = 4096

    def __post_init__(self) -> None:
        salted = hashlib.pbkdf2_hmac(self.digest, self.password, self.salt, self.iterations)
        self.stored = hashlib.new(self.digest, hmac.digest(salted, b"Client Key", self.digest)).digest()
        self.server_key = hmac.digest(salted, b"Server Key", self.digest)

    def talk(self, first: bytes, *, plus: bool) -> Generator[bytes, bytes, str]:
        """Yield challenges, be sent answers, and return an error, or "" if the user is who he says."""
        flag, _, bare = first.split(b",", 2)
        if plus and (self.binding is None or flag != b"p=" + self.binding[0]):
            return "unsupported-channel-binding-type"
        if flag == b"y" and self.binding is not None:
            return "server-does-support-channel-binding"
        fields = dict(part.split(b"=", 1) for part in bare.split(b","))
        nonce = fields[b"r"] + b"+server"
        server_first = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(self.salt), self.iterations)
        final = yield server_first
        without_proof, _, proof = final.rpartition(b",p=")
        bound = self.binding[1] if plus and self.binding else b""
        if without_proof != b"c=" + base64.b64encode(flag + b",," + bound) + b",r=" + nonce:
            return "channel-bindings-dont-match"
        conversation = b",".join((bare, server_first, without_proof))
        signature = hmac.digest(self.stored, conversation, self.digest)
        client_key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if fields[b"n"] != self.user or hashlib.new(self.digest, client_key).digest() != self.stored:
            return "invalid-proof"
        answer = yield b"v=" + base64.b64encode(hmac.digest(self.server_key, conversation, self.digest))
        assert answer == b""
        return ""
