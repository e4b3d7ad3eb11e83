"""The message: what an author writes, checked when it is made, and the bytes that it becomes.

The rooms, each importing only from below:

    builder · packing · encoder
    render
    email · mime
    headers · transfer
    address · attachment
    encoded_words · rules

Law: nothing here meets the wire, and there is no clock, chance or socket. Message-ID and Date come from the caller.
"""

from smtp_transport.message.address import Address
from smtp_transport.message.attachment import Attachment, InlineImage
from smtp_transport.message.builder import EmailBuilder
from smtp_transport.message.email import (
    MAX_ATTACHMENTS,
    MAX_RECIPIENTS,
    Email,
    Priority,
    envelope_of,
    make_message_id,
)
from smtp_transport.message.encoder import MimeEncoder
from smtp_transport.message.packing import pack, unpack
from smtp_transport.message.render import render
from smtp_transport.message.transfer import TransferEncoding

__all__ = [
    "MAX_ATTACHMENTS",
    "MAX_RECIPIENTS",
    "Address",
    "Attachment",
    "Email",
    "EmailBuilder",
    "InlineImage",
    "MimeEncoder",
    "Priority",
    "TransferEncoding",
    "envelope_of",
    "make_message_id",
    "pack",
    "render",
    "unpack",
]
