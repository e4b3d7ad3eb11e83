"""What a large file costs the sender: time, never memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from smtp_transport import Email, ErrorKind, FileAttachment, MessageError, Phase, SmtpError
from smtp_transport.testing import FaultServer, behaved
from tests.wire.sink import Sink

SENDER = """
import sys
from pathlib import Path
from smtp_transport import Attachment, DkimSigner, Email, FileAttachment, SmtpClient, SmtpConfig
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

host, port, path, signed, what = sys.argv[1:]
signer = DkimSigner("example.com", "sel", Ed25519PrivateKey.generate()) if signed == "signed" else None
config = SmtpConfig(host=host, port=int(port), tls="none", local_hostname="t.test", max_message_size=50_000_000)


def kilobytes(name):
    # Not getrusage(): its peak is that of the process that started this one, if that was higher.
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))


with SmtpClient(config, signer=signer) as client:
    client.send(Email(from_="a@example.com", to="b@example.org", text_body="warm"))
    fields = {
        "file": lambda: {"attachments": [FileAttachment.from_path(path)]},
        "message": lambda: {"attachments": [FileAttachment.from_path(path, "message/rfc822")]},
        "bytes": lambda: {"attachments": [Attachment.from_file(path)]},
        "text": lambda: {"text_body": "Grüße aus Köln, mit schönen Wünschen\\n" * 600_000},
    }[what]()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far, proc(5)
    before = kilobytes("VmRSS")
    client.send(Email(from_="a@example.com", to="b@example.org", **fields))
    print(kilobytes("VmHWM") - before)
"""


@pytest.mark.parametrize(
    ("what", "signed", "most"),
    [
        ("file", "signed", 40_000),
        ("file", "unsigned", 40_000),
        ("message", "unsigned", 40_000),
        ("bytes", "unsigned", 40_000),
        # As octets, and once more while its line ends are made CRLF.
        ("text", "unsigned", 80_000),
    ],
)
def test_a_mail_of_25_mb_is_never_in_memory_encoded(tmp_path: Path, what: str, signed: str, most: int) -> None:
    path = tmp_path / "film.bin"
    path.write_bytes((b"a line" * 10 + b"\n") * 430_000 if what == "message" else bytes(range(256)) * (25 * 4096))
    with FaultServer(behaved("PIPELINING")) as server:
        command = [sys.executable, "-c", SENDER, server.host, str(server.port), str(path), signed, what]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert ran.returncode == 0, ran.stderr
        kilobytes = int(ran.stdout)
        taken = server.conversations[0].contents[1]
    assert kilobytes < most, f"{kilobytes} KB more than before"
    assert len(taken) > 26_214_400


def test_a_file_that_is_gone_costs_one_mail_and_no_link(client_for, tmp_path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 1000)
    with FaultServer(behaved("PIPELINING")) as server:
        emails = [
            Email(from_="a@example.com", to="b@example.org", text_body="1"),
            Email(from_="a@example.com", to="b@example.org", attachments=FileAttachment.from_path(path)),
            Email(from_="a@example.com", to="b@example.org", text_body="3"),
        ]
        path.unlink()
        first, second, third = client_for(server).send_batch(emails).results
        assert len(server.conversations) == 1
    assert not isinstance(first, SmtpError)
    assert not isinstance(third, SmtpError)
    assert isinstance(second, MessageError)
    assert (second.kind, second.phase) == (ErrorKind.ATTACHMENT_ERROR, Phase.MAIL)


def test_a_file_that_changes_on_its_way_is_never_committed(client_for, tmp_path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(5_000_000))
    with Sink() as sink:
        client = client_for(sink)
        email = Email(from_="a@example.com", to="b@example.org", attachments=FileAttachment.from_path(path))
        original = FileAttachment.blocks

        def blocks(self, octets):
            for number, block in enumerate(original(self, octets)):
                if number == 1:
                    path.write_bytes(bytes(4_000_000))
                yield block

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(FileAttachment, "blocks", blocks)
            with pytest.raises(MessageError) as caught:
                client.send(email)
    assert sink.taken == []
    assert (caught.value.kind, caught.value.phase) == (ErrorKind.ATTACHMENT_ERROR, Phase.BODY)
