"""Files that are read while they are sent: the same mail as from memory, or none."""

import copy
import email.policy
import os
import pickle
import re
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport.envelope import StreamedContent
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import Attachment, Email, EmailBuilder, FileAttachment, pack, render, transfer
from smtp_transport.message.transfer import BASE64_BLOCK, base64_lines, base64_size

SIZES = [0, 1, 56, 57, 58, 114, BASE64_BLOCK - 1, BASE64_BLOCK, BASE64_BLOCK + 1, 3 * BASE64_BLOCK]


def an_email(*files: Attachment, **fields: Any) -> Email:
    return Email(
        from_="a@example.com",
        to="b@example.com",
        message_id="m@example.com",
        date=datetime(2026, 1, 1, tzinfo=UTC),
        attachments=files,
        **fields,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "report.pdf"
    path.write_bytes(os.urandom(1000))
    return path


def spoil(path: Path, how: str) -> None:
    if how == "vanished":
        path.unlink()
    elif how == "grown":
        path.write_bytes(path.read_bytes() + b"x")
    elif how == "shrunk":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        seen = path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(seen + 1, seen + 1))


every_way = pytest.mark.parametrize("how", ["vanished", "grown", "shrunk", "rewritten"])


@pytest.mark.parametrize("size", SIZES)
def test_a_streamed_file_makes_the_same_message_as_one_from_memory(path: Path, size: int) -> None:
    path.write_bytes(os.urandom(size))
    streamed = render(an_email(FileAttachment.from_path(path), text_body="t"), eight_bit=True)
    whole = render(an_email(Attachment.from_file(path), text_body="t"), eight_bit=True)
    assert isinstance(streamed, StreamedContent)
    assert streamed.data == whole.data
    assert streamed.size == len(whole.data)
    assert (streamed.eight_bit, streamed.utf8_headers) == (whole.eight_bit, whole.utf8_headers)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 400))
def test_the_size_in_base64_is_known_beforehand(octets: int) -> None:
    assert base64_size(octets) == len(base64_lines(bytes(octets)))


def test_a_file_that_a_message_part_needs_whole_is_read_whole(path: Path) -> None:
    path.write_bytes(b"Subject: a\r\n\r\nb\r\n")
    email = an_email(FileAttachment.from_path(path, "message/rfc822"))
    assert (
        render(email, eight_bit=True).data
        == render(an_email(Attachment("report.pdf", "message/rfc822", path.read_bytes())), eight_bit=True).data
    )


messages = st.lists(
    st.sampled_from([b"a", b"=_", b"From: x", b"\r\n", b"\n", b"\r", b".", b"x" * 500, b"\0", b"\xc3\xbc"])
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=messages, piece=st.integers(1, 40), eight_bit=st.booleans())
@example(data=b"x" * 998, piece=7, eight_bit=True)
@example(data=b"x" * 999, piece=7, eight_bit=True)
@example(data=b"a\r", piece=2, eight_bit=True)
@example(data=b"\r\n\xc3\xbc", piece=2, eight_bit=True)
def test_a_large_attached_message_is_the_same_message_as_a_small_one(
    path: Path, *, data: bytes, piece: int, eight_bit: bool
) -> None:
    path.write_bytes(data)
    whole = render(an_email(FileAttachment.from_path(path, "message/rfc822"), text_body="t"), eight_bit=eight_bit)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transfer, "LARGE", 0)
        patched.setattr(transfer, "PIECE", piece)
        large = render(an_email(FileAttachment.from_path(path, "message/rfc822"), text_body="t"), eight_bit=eight_bit)
        assert isinstance(large, StreamedContent)
        assert (large.data, large.size) == (whole.data, len(whole.data))


def test_no_boundary_stands_in_a_large_attached_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = render(an_email(Attachment("a.txt", "text/plain", b"x"), text_body="t"), eight_bit=True).data
    path.write_bytes(inner)
    monkeypatch.setattr(transfer, "LARGE", 0)
    monkeypatch.setattr(transfer, "PIECE", 10)
    outer = render(an_email(FileAttachment.from_path(path, "message/rfc822"), text_body="t"), eight_bit=True).data
    parts = list(message_from_bytes(outer, policy=email.policy.default).iter_attachments())
    assert [part.get_content_type() for part in parts] == ["message/rfc822"]
    assert outer.count(re.findall(rb'boundary="(.*?)"', inner)[0]) == inner.count(
        re.findall(rb'boundary="(.*?)"', inner)[0]
    )


@pytest.mark.parametrize("content_type", ["application/pdf", "message/rfc822"])
def test_a_pipe_in_the_place_of_a_file_is_refused_without_waiting_for_its_writer(path: Path, content_type: str) -> None:
    email = an_email(FileAttachment.from_path(path, content_type))
    blocks = email.attachments[0].blocks(10)  # type: ignore[attr-defined]
    path.unlink()
    os.mkfifo(path)
    for read in (lambda: render(email, eight_bit=True), lambda: list(blocks)):
        with pytest.raises(MessageError):
            read()


@pytest.mark.parametrize("content_type", ["application/pdf", "message/rfc822"])
@every_way
def test_a_file_that_is_not_what_it_was_is_no_part_of_a_mail(path: Path, how: str, content_type: str) -> None:
    email = an_email(FileAttachment.from_path(path, content_type))
    spoil(path, how)
    with pytest.raises(MessageError) as caught:
        render(email, eight_bit=True)
    assert caught.value.kind is ErrorKind.ATTACHMENT_ERROR
    assert str(path) not in str(caught.value)


@every_way
@pytest.mark.parametrize("size", [1, BASE64_BLOCK, 2 * BASE64_BLOCK, 2 * BASE64_BLOCK + 1])
def test_a_file_that_changes_while_it_is_sent_never_ends_well(path: Path, how: str, size: int) -> None:
    path.write_bytes(bytes(size))
    content = render(an_email(FileAttachment.from_path(path)), eight_bit=True)
    chunks = content.chunks()
    next(chunks)
    spoil(path, how)
    with pytest.raises(MessageError) as caught:
        list(chunks)
    assert caught.value.kind is ErrorKind.ATTACHMENT_ERROR


def test_what_changes_between_two_blocks_is_noticed_before_the_last(path: Path) -> None:
    path.write_bytes(bytes(200))
    blocks = FileAttachment.from_path(path).blocks(100)
    next(blocks)
    path.write_bytes(bytes(201))
    with pytest.raises(MessageError):
        next(blocks)


@pytest.mark.parametrize("what", ["missing.pdf", "."])
def test_what_is_no_file_cannot_be_attached(tmp_path: Path, what: str) -> None:
    with pytest.raises(MessageError) as caught:
        FileAttachment.from_path(tmp_path / what, "application/pdf")
    assert caught.value.kind is ErrorKind.ATTACHMENT_ERROR


def test_a_fifo_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MessageError):
        FileAttachment.from_path(tmp_path / "pipe")


def test_names_and_types_are_checked_as_for_any_attachment(path: Path) -> None:
    assert FileAttachment.from_path(path).content_type == "application/pdf"
    assert FileAttachment.from_path(path, content_id="<c>").content_id == "c"
    with pytest.raises(ValidationError):
        FileAttachment.from_path(path, "text/plain\r\nX: y")


def test_a_file_may_be_sent_under_another_name_and_so_of_its_type(path: Path) -> None:
    given_ = {"filename": "Bilanz Köln.csv"}
    builder = EmailBuilder().from_("a@example.com").to("b@example.com")
    built = builder.attach_file(path, **given_).attach_streamed(path, **given_).build().attachments
    for file in (FileAttachment.from_path(path, **given_), Attachment.from_file(path, **given_), *built):
        assert (file.filename, file.content_type, file.data) == ("Bilanz Köln.csv", "text/csv", path.read_bytes())
    for bad in ("", "a\nb"):
        with pytest.raises(ValidationError, match="filename"):
            FileAttachment.from_path(path, filename=bad)


def test_data_from_outside_cannot_name_a_file(path: Path) -> None:
    """NF-SEC-04."""
    for foreign in ({"path": str(path)}, {"filename": "a", "content_type": "a/b", "path": str(path)}):
        with pytest.raises(ValidationError):
            an_email(foreign)


def test_a_file_survives_pickle_and_copy_as_itself(path: Path) -> None:
    file = FileAttachment.from_path(path)
    for other in (pickle.loads(pickle.dumps(file)), copy.copy(file), copy.deepcopy(file)):  # noqa: S301 - our own
        assert other == file
        assert hash(other) == hash(file)
    assert file != Attachment.from_file(path)
    assert path.name not in repr(file)


def test_whoever_keeps_the_email_keeps_the_file_itself(path: Path) -> None:
    email = EmailBuilder().from_("a@example.com").to("b@example.com").attach_streamed(path).build()
    data = path.read_bytes()
    assert pack(email)["attachments"] == [["report.pdf", "application/pdf", data, None]]
    assert Email.from_dict(email.to_dict()).attachments[0].data == data
