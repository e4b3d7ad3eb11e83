"""The message: what an author writes, checked when it is made, and the bytes that it becomes.

The rooms, each importing only from below:

    transactions
    builder · packing · encoder
    render · raw
    reencoding
    email · mime · header_block
    cache
    headers · transfer
    calendar · unsubscribe · mailbox_list
    address · attachment
    encoded_words · rules

Law: nothing here meets the wire, and there is no clock, chance or socket. Message-ID and Date come from the caller.
"""

from smtp_transport.message.address import Address
from smtp_transport.message.attachment import Attachment, FileAttachment, InlineImage
from smtp_transport.message.builder import EmailBuilder
from smtp_transport.message.cache import EncodedFiles
from smtp_transport.message.calendar import Calendar
from smtp_transport.message.email import (
    MAX_ATTACHMENTS,
    MAX_RECIPIENTS,
    AutoSubmitted,
    Email,
    Priority,
    envelope_of,
    make_message_id,
)
from smtp_transport.message.encoder import MimeEncoder
from smtp_transport.message.packing import pack, pack_raw, unpack, unpack_raw
from smtp_transport.message.raw import RawEmail
from smtp_transport.message.render import render
from smtp_transport.message.transactions import AnyMessage, transaction_of
from smtp_transport.message.transfer import TransferEncoding
from smtp_transport.message.unsubscribe import Unsubscribe

__all__ = [
    "MAX_ATTACHMENTS",
    "MAX_RECIPIENTS",
    "Address",
    "AnyMessage",
    "Attachment",
    "AutoSubmitted",
    "Calendar",
    "Email",
    "EmailBuilder",
    "EncodedFiles",
    "FileAttachment",
    "InlineImage",
    "MimeEncoder",
    "Priority",
    "RawEmail",
    "TransferEncoding",
    "Unsubscribe",
    "envelope_of",
    "make_message_id",
    "pack",
    "pack_raw",
    "render",
    "transaction_of",
    "unpack",
    "unpack_raw",
]
