import contextlib
import json
import re
import smtplib
import socket
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailworker.dev.mailbox import MAX_MESSAGE_BYTES, Mailbox, read_mail, read_mails
from mailworker.dev.supervisor import Command, Stage, Supervisor

Alive = Callable[[int], bool]
Eventually = Callable[..., None]

BODY = b"Message-ID: <1@example.com>\r\nSubject: hello\r\n\r\n.dot\r\nbye\r\n"


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    with Mailbox(tmp_path / "mails") as running:
        yield running


@pytest.fixture
def client(mailbox: Mailbox) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(*mailbox.address, timeout=20) as connection:
        connection.ehlo()
        yield connection


def test_a_mail_is_stored_as_it_came_with_its_envelope(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.sendmail("ann@example.com", ["bob@example.com", "cy@example.com"], BODY)
    [mail] = read_mails(mailbox.folder)
    assert mail.content == BODY
    assert (mail.sender, mail.recipients) == ("ann@example.com", ("bob@example.com", "cy@example.com"))


def test_a_file_name_is_timestamp_and_recipient_in_safe_characters(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.sendmail("ann@example.com", ["../../bo|b$x@example.com"], BODY)
    [path] = mailbox.folder.iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z-\d{5}-[A-Za-z0-9._+-]+\.eml", path.name)
    assert "_bo_b_x_example.com" in path.name


def test_mail_to_refuse_is_refused_for_good(client: smtplib.SMTP) -> None:
    client.mail("ann@example.com")
    for address in ("refuse@example.com", "bob+refuse@example.com", "Refuse@example.com"):
        code, text = client.rcpt(address)
        assert (code, text[:5]) == (550, b"5.1.1")


def test_mail_to_later_is_put_off_once_per_sender_and_recipient(client: smtplib.SMTP) -> None:
    client.mail("ann@example.com")
    codes = [client.rcpt(address)[0] for address in ("later@a.example", "x+later@a.example") * 2]
    assert codes == [451, 451, 250, 250]
    client.rset()
    client.mail("other@example.com")
    assert client.rcpt("later@a.example")[0] == 451


def test_a_name_that_only_contains_the_words_is_an_ordinary_one(client: smtplib.SMTP) -> None:
    client.mail("ann@example.com")
    for address in ("refused@a.example", "later.bob@a.example", "refuse+bob@a.example", "bob@refuse"):
        assert client.rcpt(address)[0] == 250


def test_the_others_of_a_mail_get_it_when_one_is_refused(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    refused = client.sendmail("ann@example.com", ["bob@example.com", "refuse@example.com"], BODY)
    assert list(refused) == ["refuse@example.com"]
    [mail] = read_mails(mailbox.folder)
    assert mail.recipients == ("bob@example.com",)


def test_the_null_reverse_path_is_taken(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    client.sendmail("", ["bob@example.com"], BODY)
    [mail] = read_mails(mailbox.folder)
    assert mail.sender == ""


def test_a_message_that_itself_begins_with_envelope_lines_is_not_mixed_up(
    mailbox: Mailbox, client: smtplib.SMTP
) -> None:
    forged = b"X-RcptTo: mallory@example.com\r\nX-MailFrom: mallory@example.com\r\n" + BODY
    client.sendmail("ann@example.com", ["bob@example.com"], forged)
    [mail] = read_mails(mailbox.folder)
    assert (mail.recipients, mail.content) == (("bob@example.com",), forged)


def test_a_file_of_somebody_else_is_an_error(tmp_path: Path) -> None:
    other = tmp_path / "other.eml"
    other.write_bytes(BODY)
    with pytest.raises(ValueError, match="not written by a mailbox"):
        read_mail(other)


def test_the_server_offers_what_it_can_do(client: smtplib.SMTP) -> None:
    assert {"pipelining", "8bitmime", "smtputf8", "size", "enhancedstatuscodes"} <= set(client.esmtp_features)
    assert int(client.esmtp_features["size"]) == MAX_MESSAGE_BYTES


def test_addresses_and_headers_in_utf8_are_taken(mailbox: Mailbox, client: smtplib.SMTP) -> None:
    content = "Subject: grüße\r\n\r\n漢字\r\n".encode()
    client.sendmail("änn@example.com", ["bjørn@example.com"], content, ["SMTPUTF8", "BODY=8BITMIME"])
    [mail] = read_mails(mailbox.folder)
    assert (mail.sender, mail.recipients, mail.content) == ("änn@example.com", ("bjørn@example.com",), content)
    assert mail.path.name.isascii()


def test_a_mail_that_says_it_is_too_big_is_refused_at_once(client: smtplib.SMTP) -> None:
    assert client.mail("ann@example.com", [f"SIZE={MAX_MESSAGE_BYTES + 1}"])[0] == 552


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_pipelined_commands_are_answered_in_order_however_they_are_cut(mailbox: Mailbox, cuts: list[int]) -> None:
    commands = (
        b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<refuse@example.com>\r\nRCPT TO:<b@example.com>\r\n"
        b"NOOP\r\nRSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<refuse@example.com>\r\nDATA\r\nQUIT\r\n"
    )
    with socket.create_connection(mailbox.address, timeout=20) as link, link.makefile("rb") as replies:
        place = 0
        for cut in cuts:
            link.sendall(commands[place : place + cut])
            place += cut
        link.sendall(commands[place:])
        codes = [line[:3] for line in replies if line[3:4] == b" "]
    assert codes == [b"220", b"250", b"250", b"550", b"250", b"250", b"250", b"250", b"550", b"503", b"221"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.text(string.printable.replace("\r", "").replace("\n", "") + "é漢", max_size=60), max_size=8))
def test_what_was_sent_is_what_is_read(mailbox: Mailbox, lines: list[str]) -> None:
    content = "".join(line + "\r\n" for line in lines).encode()
    before = {mail.path for mail in read_mails(mailbox.folder)}
    with smtplib.SMTP(*mailbox.address, timeout=20) as client:
        client.sendmail("ann@example.com", "bob@example.com", content, ["BODY=8BITMIME"])
    [mail] = [mail for mail in read_mails(mailbox.folder) if mail.path not in before]
    # smtplib ends a message that has no line end with one.
    assert mail.content == (content or b"\r\n")


def test_a_mail_cut_off_before_its_end_leaves_no_file(mailbox: Mailbox) -> None:
    with socket.create_connection(mailbox.address, timeout=20) as link, link.makefile("rb") as replies:
        for command in (b"HELO x", b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>", b"DATA"):
            link.sendall(command + b"\r\n")
        assert [replies.readline()[:3] for _ in range(5)] == [b"220", b"250", b"250", b"250", b"354"]
        link.sendall(BODY)
    mailbox.stop()
    assert list(mailbox.folder.iterdir()) == []


def test_stopping_closes_open_connections_and_frees_the_port(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    mailbox.start()
    host, port = mailbox.address
    with socket.create_connection((host, port), timeout=20) as link, link.makefile("rb") as replies:
        assert replies.readline().startswith(b"220")
        mailbox.stop()
        with contextlib.suppress(ConnectionResetError):
            assert replies.readline() == b""
    mailbox.stop()
    with Mailbox(tmp_path, host, port) as again:
        assert again.address == (host, port)


def test_a_taken_port_is_an_error_at_the_start(mailbox: Mailbox, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        Mailbox(tmp_path, *mailbox.address).start()


def test_as_a_process_it_tells_its_address_and_ends_on_sigterm(
    tmp_path: Path, alive: Alive, eventually: Eventually
) -> None:
    ready = tmp_path / "ready.json"
    argv = [sys.executable, "-m", "mailworker.dev.mailbox", "--folder", str(tmp_path / "mails"), "--ready", str(ready)]
    with Supervisor(tmp_path / "log") as supervisor:
        child = supervisor.start(Command("mailbox", argv, Stage.MAILBOX))
        eventually(ready.exists)
        told = json.loads(ready.read_text())
        with smtplib.SMTP(told["host"], told["port"], timeout=20) as client:
            client.sendmail("ann@example.com", ["bob@example.com"], BODY)
        supervisor.stop(child)
        assert child.process.returncode == 0
    assert [mail.content for mail in read_mails(tmp_path / "mails")] == [BODY]
