"""Files and images that travel with an email.

Law: data is bytes, and no repr shows it. Text given for data is base64, because JSON has no bytes.
"""

import binascii
import mimetypes
import os
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, ConfigDict, ModelWrapValidatorHandler, StrictStr, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

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
        return silently(validate, rules.named(value, ("filename", "content_type", "data", "content_id")))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], content_type: str | None = None) -> "Attachment":
        """Read a file whole; its name is kept without folders, its type is guessed from it unless given.

        Raises MessageError(ATTACHMENT_ERROR), caused by the OSError, if the file cannot be read.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise MessageError(f"cannot read the file to attach: {reason}", ErrorKind.ATTACHMENT_ERROR) from error
        name = Path(path).name
        return cls(name, content_type or guess_type(name), data)

    def __repr__(self) -> str:
        return f"<Attachment {self.content_type}, {len(self.data)} bytes>"


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
        return silently(validate, rules.named(value, ("content_id", "content_type", "data")))

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
