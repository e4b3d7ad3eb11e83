"""Encryption of what mails say, before Redis sees it (AES-256-GCM, NIST SP 800-38D).

A sealed blob: b"MW", version (1 byte), length of the key id (1), the key id, a nonce (12), the ciphertext with its tag.
The header, the mail's id and the field's name are authenticated: a blob cannot be moved to another mail or field.
Version 0 is not encrypted: what a ring without keys writes. Old keys go on reading after a new one writes.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"MW"
_CLEAR, _AES_GCM = 0, 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
# Half of a SHA-256: two of a billion addresses share a name with a probability of about 1 in 10^21.
_NAME_BYTES = 16
# So much of a blob tells which key sealed it.
HEAD_BYTES = 4 + 64


class SealError(Exception):
    """A blob cannot be opened. `is_key_missing` tells a wrong or missing key from a blob that never was one."""

    def __init__(self, message: str, is_key_missing: bool = False) -> None:  # noqa: FBT001, FBT002 - positional for pickle
        """Keep both in args: pickle builds the error again from them."""
        super().__init__(message, is_key_missing)
        self.is_key_missing = is_key_missing

    def __str__(self) -> str:
        return str(self.args[0])


class KeyRing:
    """Keys by id; the first one writes. `KeyRing.parse(["2026a:base64…"])`, or `KeyRing()` to write unencrypted."""

    def __init__(self, keys: Iterable[tuple[str, bytes]] = ()) -> None:
        self._ciphers: dict[str, AESGCM] = {}
        self._namer: hmac.HMAC | None = None
        self._address_namers: list[hmac.HMAC] = []
        for key_id, key in keys:
            if not (key_id.isascii() and key_id.isprintable() and 0 < len(key_id) <= 64):
                raise ValueError("a sealing key's id must be 1 to 64 printable ASCII characters")
            if len(key) != _KEY_BYTES:
                raise ValueError(f"sealing key {key_id!r} must be {_KEY_BYTES} bytes, not {len(key)}")
            if key_id in self._ciphers:
                raise ValueError(f"sealing key {key_id!r} is there twice")
            self._ciphers[key_id] = AESGCM(key)
            naming = hmac.digest(key, b"mailworker: the names of addresses", "sha256")
            self._address_namers.append(hmac.new(naming, digestmod="sha256"))
            if len(self._ciphers) == 1:
                # A key of its own for names, so that no key serves two purposes.
                naming = hmac.digest(key, b"mailworker: the names of files", "sha256")
                self._namer = hmac.new(naming, digestmod="sha256")
        self._writer = next(iter(self._ciphers), None)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "KeyRing":
        """Read `id:base64` texts. Raises ValueError that names the id, never the key."""
        keys = []
        for text in texts:
            key_id, colon, encoded = text.partition(":")
            if not colon:
                raise ValueError("a sealing key must look like id:base64-of-32-bytes")
            try:
                keys.append((key_id, base64.b64decode(encoded, validate=True)))
            except binascii.Error:
                raise ValueError(f"sealing key {key_id!r} is not valid base64") from None
        return cls(keys)

    @property
    def writer(self) -> str:
        """The id of the key that writes; "" if none does."""
        return self._writer or ""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the writing one first."""
        return tuple(self._ciphers)

    def name(self, data: bytes) -> str:
        """Name content by what it is, in 64 hex digits; under a key the name tells nothing to those who lack it."""
        if self._namer is None:
            return hashlib.sha256(data).hexdigest()
        namer = self._namer.copy()
        namer.update(data)
        return namer.hexdigest()

    def address_names(self, address: bytes, salt: bytes) -> tuple[bytes, ...]:
        """Name an address under each key, the writing one first, and last as a ring without keys does.

        That last name is a plain SHA-256 behind the salt: whoever guesses the address can tell that it is meant.
        """
        names = []
        for namer in self._address_namers:
            copy = namer.copy()
            copy.update(address)
            names.append(copy.digest()[:_NAME_BYTES])
        return (*names, hashlib.sha256(salt + b"\0" + address).digest()[:_NAME_BYTES])

    def seal(self, data: bytes, mail_id: str, field: str) -> bytes:
        """Encrypt `data` for one field of one mail."""
        if self._writer is None:
            return _MAGIC + bytes((_CLEAR,)) + data
        key_id = self._writer.encode("ascii")
        header = _MAGIC + bytes((_AES_GCM, len(key_id))) + key_id
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + self._ciphers[self._writer].encrypt(nonce, data, _bound_to(header, mail_id, field))

    def open(self, blob: bytes, mail_id: str, field: str) -> bytes:
        """Decrypt. Raises SealError."""
        version = blob[2] if len(blob) > 2 and blob.startswith(_MAGIC) else None
        if version == _CLEAR:
            return blob[3:]
        if version != _AES_GCM or len(blob) < 4:
            raise SealError("not a sealed blob of a version known here")
        end = 4 + blob[3]
        key_id = blob[4:end].decode("ascii", "replace")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SealError(f"sealed with key {key_id!r}, which is not among the keys configured here", True)
        try:
            nonce, sealed = blob[end : end + _NONCE_BYTES], blob[end + _NONCE_BYTES :]
            return cipher.decrypt(nonce, sealed, _bound_to(blob[:end], mail_id, field))
        except (InvalidTag, ValueError):
            raise SealError(
                f"key {key_id!r} does not open it: another key under the same id, or damage", True
            ) from None


def new_key(key_id: str) -> str:
    """Make a key, as the settings take it. Raises ValueError for an id that cannot be one."""
    if not key_id.strip() == key_id or set(key_id) & {":", ","}:
        raise ValueError("a sealing key's id holds no colon, no comma and no blank at its ends")
    text = f"{key_id}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"
    KeyRing.parse([text])
    return text


def sealed_by(head: bytes) -> str | None:
    """Tell from the first HEAD_BYTES of a blob which key sealed it: its id, "" for none, None if this is no blob."""
    version = head[2] if len(head) > 2 and head.startswith(_MAGIC) else None
    if version == _CLEAR:
        return ""
    return head[4 : 4 + head[3]].decode("ascii", "replace") if version == _AES_GCM and len(head) > 3 else None


def _bound_to(header: bytes, mail_id: str, field: str) -> bytes:
    return b"\0".join((header, mail_id.encode(), field.encode()))
