"""An Exim of our own, which only queues, so that its spool tells what it took. It needs neither rights nor a setup."""

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.servers.standing import (
    LARGE,
    LATER,
    PASSWORD,
    REFUSED,
    SMALL,
    UNPACKED,
    USER,
    Found,
    free_ports,
    program,
)
from tests.servers.standing import running as run

CONFIGURATION = """
primary_hostname = exim.test
spool_directory = {root}/spool
log_file_path = {root}/spool/%slog
pid_file_path = {root}/spool/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {plain} : {secure} : {small}
queue_only = true
never_users =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
message_size_limit = ${{if ={{$received_port}}{{{small}}} {{{limit}}}{{{large}}}}}
tls_advertise_hosts = *
tls_certificate = {root}/tls.pem
tls_privatekey = {root}/tls.pem
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}}}
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
acl_smtp_rcpt = recipient
acl_smtp_data = accept
acl_smtp_mail = accept

begin acl
recipient:
  deny recipients = {refused}
       message = 550 5.1.1 nobody here
  defer recipients = {later}
        message = 450 4.2.1 full for now
  deny condition = ${{if ={{$received_port}}{{{secure}}}}}
       !authenticated = *
       message = 550 5.7.1 authenticate first
  accept

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and {{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


@dataclass
class Exim:
    root: Path
    doors: Mapping[str, int]
    name: str = "exim"

    def kept(self) -> Collection[Found]:
        # The file of headers is renamed into place last, when the mail is whole.
        return [_read(path) for path in (self.root / "spool" / "input").glob("*-H")]


def _read(path: Path) -> Found:
    """Read a mail of the spool; its form stands in Exim's specification, chapter 56."""
    envelope, _, headers = path.read_bytes().partition(b"\n\n")
    # The number of recipients stands alone on a line, and they follow it to the end.
    lines = envelope.decode().splitlines()
    last = max(number for number, line in enumerate(lines) if line.isdigit())
    body = path.with_name(path.name.removesuffix("H") + "D").read_bytes().partition(b"\n")[2]
    seconds, process, fraction = path.name.removesuffix("-H").split("-")
    return Found((seconds, fraction, process), tuple(lines[last + 1 :]), _headers(headers) + b"\n" + body)


def _headers(spooled: bytes) -> bytes:
    """Undo the numbers in front: length, then a letter or a blank, `*` for a header that counts as deleted."""
    told = b""
    while spooled.strip():
        length = int(spooled[:3])
        kind, text, spooled = spooled[3:4], spooled[5 : 5 + length], spooled[5 + length :]
        told += text if kind != b"*" else b""
    return told


@contextmanager
def running(ca: trustme.CA) -> Iterator[Exim]:
    """Run one until the block ends, as a user that exists for its process alone if the machine has none for it."""
    exim = program("exim4")
    with tempfile.TemporaryDirectory(prefix="exim-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        doors = dict(zip(("plain", "secure", "small"), free_ports(3), strict=True))
        told = {"root": root, "large": LARGE, "limit": SMALL, "refused": REFUSED, "later": LATER}
        told |= {"user": USER, "password": PASSWORD} | doors
        (root / "exim.conf").write_text(CONFIGURATION.format(**told))
        (root / "spool").mkdir()
        ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(root / "tls.pem"))
        env = {"PATH": os.environ.get("PATH", "")} | _as_somebody(root)
        with run([exim, "-C", str(root / "exim.conf"), "-bdf"], doors.values(), root / "spool" / "start.log", env):
            yield Exim(root, doors)


def _as_somebody(root: Path) -> dict[str, str]:
    """Debian's Exim insists on its own user, which only an installation makes: it is shown one."""
    owner = os.geteuid() or 65_534
    for path in (root / "spool", root / "tls.pem"):
        os.chown(path, owner, -1)
    (root / "passwd").write_text(f"root:x:0:0::/:/bin/sh\nDebian-exim:x:{owner}:{owner}::/:/bin/false\n")
    (root / "group").write_text(f"root:x:0:\nDebian-exim:x:{owner}:\n")
    libraries = [str(path) for path in (UNPACKED / "usr" / "lib").glob("*-linux-gnu*")]
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "LD_PRELOAD": "libnss_wrapper.so",
        "NSS_WRAPPER_PASSWD": str(root / "passwd"),
        "NSS_WRAPPER_GROUP": str(root / "group"),
    }
