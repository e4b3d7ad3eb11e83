"""Files and images that travel with an email.

Law: data is bytes, and no repr shows it. Text given for data is base64, because JSON has no bytes. A file that is read
while it is sent is the file that was attached, or an error: never another, never a part of it.
"""

import binascii
import mimetypes
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ModelWrapValidatorHandler, StrictStr, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs, PydanticCustomError

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.fields import silently
from smtp_transport.message import rules

_UNKNOWN_TYPE = "application/octet-stream"
_COMPRESSED_TYPES = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def _read_data(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError:  # binascii.Error, and text that is not ASCII
            raise PydanticCustomError(
                "base64", "is text but not base64 (RFC 4648 section 4); give bytes, or encode them"
            ) from None
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def _made(value: Any, names: Sequence[str]) -> Any:
    """Name positional arguments, and refuse text for data: base64 is how JSON carries bytes, not how a program does."""
    if isinstance(value, ArgsKwargs):
        told = dict(zip(names, value.args, strict=False)) | (value.kwargs or {})
        if isinstance(told.get("data"), str):
            raise PydanticCustomError("text_data", "data: is text; give bytes, as in text.encode()")
    return rules.named(value, names)


_CONFIG = ConfigDict(extra="forbid", hide_input_in_errors=True)
FileName = Annotated[StrictStr, AfterValidator(rules.file_name)]
MediaType = Annotated[StrictStr, AfterValidator(rules.media_type)]
ContentId = Annotated[StrictStr, AfterValidator(rules.content_id)]
Data = Annotated[bytes, BeforeValidator(_read_data)]


@dataclass(frozen=True, slots=True, repr=False, config=_CONFIG)
class Attachment:
    """A file: its name for the reader, its media type, its bytes, and a Content-ID if the HTML refers to it.

    Raises pydantic.ValidationError naming the field. Sent as RFC 2183 `attachment`.
    """

    filename: FileName
    content_type: MediaType
    data: Data
    content_id: ContentId | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _name_fields(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        return silently(validate, _made(value, ("filename", "content_type", "data", "content_id")))

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], content_type: str | None = None, *, filename: str | None = None
    ) -> "Attachment":
        """Read a file whole; unless given, its name is that of the path without folders, its type is guessed from it.

        Raises MessageError(ATTACHMENT_ERROR), caused by the OSError, if the file cannot be read.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise _unreadable(error) from error
        name = Path(path).name if filename is None else filename
        return cls(name, content_type or guess_type(name), data)

    def __repr__(self) -> str:
        return f"<Attachment {self.content_type}, {len(self.data)} bytes>"


class FileAttachment(Attachment):
    """A file that is read while it is sent, in blocks, so that it is never in memory whole.

    Its size and time of change are noted now. Wherever it is read and they are others, or it is gone, a
    MessageError(ATTACHMENT_ERROR) is raised, and the mail is not sent. `data` reads all of it. Only for the program's
    own use: an email that comes in as a dict cannot name files.
    """

    __slots__ = ("changed_ns", "path", "size")
    path: Path
    size: int
    changed_ns: int

    @classmethod
    def from_path(
        cls,
        path: str | os.PathLike[str],
        content_type: str | None = None,
        content_id: str | None = None,
        *,
        filename: str | None = None,
    ) -> Self:
        """Note a file; unless given, its name is that of the path without folders, and its type is guessed from it.

        Raises MessageError(ATTACHMENT_ERROR) if there is no such file, pydantic.ValidationError for a wrong field.
        """
        path = Path(path).absolute()
        name = path.name if filename is None else filename
        checked = Attachment(name, content_type or guess_type(name), b"", content_id)
        try:
            facts = path.stat()
        except OSError as error:
            raise _unreadable(error) from error
        if not stat.S_ISREG(facts.st_mode):
            raise MessageError("what is to be attached is no regular file", ErrorKind.ATTACHMENT_ERROR)
        values = (checked.filename, checked.content_type, checked.content_id, path, facts.st_size, facts.st_mtime_ns)
        return cls._restored(*values)

    @classmethod
    def _restored(cls, *values: Any) -> Self:
        made = object.__new__(cls)
        for name, value in zip(_FILE_FIELDS, values, strict=True):
            object.__setattr__(made, name, value)
        return made

    @property
    def data(self) -> bytes:
        """The whole file, read now."""
        return b"".join(self.blocks(1 << 20))

    def check(self) -> None:
        """Raise MessageError if the file is not the one that was attached."""
        try:
            self._compare(self.path.stat())
        except OSError as error:
            raise _unreadable(error) from error

    def blocks(self, octets: int) -> Iterator[bytes]:
        """Read the file in blocks of so many octets; only the last may be shorter."""
        try:
            with open(self.path, "rb", opener=_open_at_once) as file:  # Path.open takes none
                self._compare(os.fstat(file.fileno()))
                left = self.size
                while left:
                    block = file.read(min(octets, left))
                    left -= len(block)
                    # Looked at before the last block is given: whoever has that has the file as it was.
                    if not left or len(block) < octets:
                        self._compare(os.fstat(file.fileno()), missing=left)
                    yield block
        except OSError as error:
            raise _unreadable(error) from error

    def _compare(self, facts: os.stat_result, missing: int = 0) -> None:
        if missing or (facts.st_size, facts.st_mtime_ns) != (self.size, self.changed_ns):
            raise MessageError("the file was changed after it was attached", ErrorKind.ATTACHMENT_ERROR)

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _FILE_FIELDS)

    def __reduce__(self) -> tuple[Any, ...]:
        return FileAttachment._restored, self._values()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileAttachment) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return f"<FileAttachment {self.content_type}, {self.size} bytes>"


def _open_at_once(path: str, flags: int) -> int:
    """Open, and wait for nobody: a pipe that came into the file's place would have no writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


_FILE_FIELDS = ("filename", "content_type", "content_id", "path", "size", "changed_ns")


def _unreadable(error: OSError) -> MessageError:
    reason = error.strerror or type(error).__name__
    return MessageError(f"cannot read the file to attach: {reason}", ErrorKind.ATTACHMENT_ERROR)


@dataclass(frozen=True, slots=True, repr=False, config=_CONFIG)
class InlineImage:
    """An image that the HTML body shows by its Content-ID (RFC 2392).

    Raises pydantic.ValidationError naming the field.
    """

    content_id: ContentId
    content_type: MediaType
    data: Data

    @model_validator(mode="wrap")
    @classmethod
    def _name_fields(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        return silently(validate, _made(value, ("content_id", "content_type", "data")))

    def cid_reference(self) -> str:
        """The URL for the `src` of an `img` element."""
        return "cid:" + quote(self.content_id, safe="@!$&'*+=~")

    def __repr__(self) -> str:
        return f"<InlineImage {self.content_type}, {len(self.data)} bytes>"


def guess_type(filename: str) -> str:
    """Guess the media type from a file name's ending; `application/octet-stream` if nothing is known."""
    kind, compression = mimetypes.guess_type(filename)
    if compression:
        return _COMPRESSED_TYPES.get(compression, _UNKNOWN_TYPE)
    return kind or _UNKNOWN_TYPE
