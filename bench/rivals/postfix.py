"""A Postfix as the queue: it takes mails by SMTP, keeps them in files, and relays them to the sink."""

import contextlib
import os
import pwd
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import OCTETS, RECIPIENT, SENDER, a_content
from bench.processes import cpu_seconds, running
from bench.producer import offered
from bench.stand import Queue, UnavailableError, free_port

MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = /dev/stdout
maillog_file_prefixes = /dev/stdout
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:{sink}
disable_dns_lookups = yes
# It holds back senders who are quicker than its disk, which would be counted as its slowness.
in_flow_delay = 0
"""

MASTER = """
127.0.0.1:{door} inet n - n - - smtpd
anvil unix - - n - 1 anvil
bounce unix - - n - 0 bounce
cleanup unix n - n - 0 cleanup
defer unix - - n - 0 bounce
error unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
retry unix - - n - - error
rewrite unix - - n - - trivial-rewrite
scache unix - - n - 1 scache
smtp unix - - n - - smtp
tlsmgr unix - - n 1000? 1 tlsmgr
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
"""
_MANAGER = "qmgr unix n - n 300 1 qmgr\n"
_SESSIONS = 8
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Running:
    """Held, it has no queue manager: mails stay where they come in."""

    root: Path
    master: int
    door: int

    def hold(self) -> None:
        """Take the queue manager away."""
        self._manage("")

    def go(self) -> None:
        """Give the queue manager back."""
        self._manage(_MANAGER)

    def fill(self, mails: int) -> None:
        """Hand over mails by several sessions."""
        told = ["-s", _SESSIONS, "-m", mails, "-l", OCTETS, "-f", SENDER, "-t", RECIPIENT, f"127.0.0.1:{self.door}"]
        subprocess.run([_program("smtp-source"), *map(str, told)], check=True)

    def offer(self, rate: int, seconds: int) -> float:
        """Hand over mails over one session."""
        content = a_content().data
        with smtplib.SMTP("127.0.0.1", self.door, "bench.test") as client:

            def send(enqueued: str) -> None:
                client.sendmail(SENDER, [RECIPIENT], b"X-Enq: %s\r\n%s" % (enqueued.encode(), content))

            return float(offered(send, rate, seconds)["late_ms"])

    def cpu(self) -> float:
        """All of its processes."""
        return cpu_seconds(self.master)

    def _manage(self, manager: str) -> None:
        (self.root / "etc" / "master.cf").write_text(MASTER.format(door=self.door) + manager)
        _control(self.root, "reload")


@contextlib.contextmanager
def opened(port: int, folder: Path) -> Iterator[Queue]:
    """Run one. Its master starts as root only, so that it can give rights away; its folder is one that others enter."""
    program = _program("postfix")
    if os.geteuid() != 0:
        raise UnavailableError("Postfix starts as root only")
    with tempfile.TemporaryDirectory(prefix="postfix-") as place:
        root, door = Path(place), free_port()
        root.chmod(0o755)
        for name in ("etc", "queue", "data"):
            (root / name).mkdir(mode=0o755)
        os.chown(root / "data", pwd.getpwnam("postfix").pw_uid, -1)
        (root / "etc" / "main.cf").write_text(MAIN.format(root=root, sink=port))
        (root / "etc" / "master.cf").write_text(MASTER.format(door=door) + _MANAGER)
        command = [program, "-c", str(root / "etc"), "start-fg"]
        try:
            with running(command, folder / "postfix.log", {"PATH": _PATH}, b"daemon started") as master:
                yield Running(root, master, door)
        finally:
            _control(root, "stop")


def _control(root: Path, what: str) -> None:
    command = [_program("postfix"), "-c", str(root / "etc"), what]
    subprocess.run(command, env={"PATH": _PATH}, capture_output=True, check=False)


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise UnavailableError(f"{name} is not installed (Debian: apt install postfix)")
    return found
