"""A Dovecot of our own, which keeps what it is given by LMTP. Its folders are new, and its port high."""

import os
import pwd
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.standing import Found, free_ports, missing, program
from tests.servers.standing import running as run

FULL = "full@example.org"
"""Whose mailbox has no room for a mail of some length, which is told when the mail is whole."""
KEPT = ("a@example.org", "b@example.org", "c@example.org")
_OWNER = "nobody"

CONFIGURATION = """
base_dir = {root}/base
state_dir = {root}/state
log_path = {root}/log
protocols = lmtp
ssl = no
listen = 127.0.0.1
default_login_user = {owner}
default_internal_user = {owner}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{root}/mail/%u
mailbox_list_index = yes
mail_plugins = quota
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
lmtp_rcpt_check_quota = no
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {plain}
  }}
  unix_listener {root}/lmtp {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
userdb {{
  driver = passwd-file
  args = {root}/users
  default_fields = uid={owner} gid={group} home={root}/home/%u
}}
passdb {{
  driver = passwd-file
  args = {root}/users
}}
"""


@dataclass
class Dovecot:
    root: Path
    doors: Mapping[str, int]
    name: str = "dovecot"

    @property
    def socket(self) -> Path:
        return self.root / "lmtp"

    def kept(self) -> Collection[Found]:
        return [_read(path) for path in (self.root / "mail").glob("*/new/*")]


def _read(path: Path) -> Found:
    seconds, moment = path.name.split(".")[:2]
    microseconds = moment.partition("P")[0].removeprefix("M")
    return Found((int(seconds), int(microseconds)), (path.parts[-3],), path.read_bytes())


@contextmanager
def running() -> Iterator[Dovecot]:
    """Run one until the block ends. Its master starts as root only, so that it can give rights away."""
    dovecot = program("dovecot")
    if not Path("/usr/lib/dovecot/lmtp").exists():
        missing("Dovecot has no LMTP here; .ci/servers installs it")
    if os.geteuid() != 0:
        missing("Dovecot is started as root")
    owner = pwd.getpwnam(_OWNER)
    # A socket's path has a hundred characters at most.
    with tempfile.TemporaryDirectory(prefix="dovecot-", dir="/tmp") as folder:
        root = Path(folder)
        root.chmod(0o755)
        for name in ("base", "state", "mail", "home"):
            (root / name).mkdir()
        for name in ("mail", "home"):
            os.chown(root / name, owner.pw_uid, owner.pw_gid)
        fields = "{PLAIN}none::::::"
        users = [f"{name}:{fields}" for name in KEPT] + [f"{FULL}:{fields}userdb_quota_rule=*:bytes=1000"]
        (root / "users").write_text("\n".join(users) + "\n")
        (port,) = free_ports(1)
        told = {"root": root, "owner": _OWNER, "group": "nogroup", "plain": port}
        (root / "dovecot.conf").write_text(CONFIGURATION.format(**told))
        env = {"PATH": os.environ.get("PATH", "")}
        with run([dovecot, "-c", str(root / "dovecot.conf"), "-F"], [port], root / "start.log", env):
            yield Dovecot(root, {"plain": port})
