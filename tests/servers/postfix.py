"""A Postfix of our own: its folders are new, its ports high, and the machine's own Postfix does not know of it."""

import os
import pwd
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.servers.standing import LARGE, LATER, PASSWORD, REFUSED, SMALL, USER, Found, free_ports, missing, program
from tests.servers.standing import running as run

MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log/mail.log
maillog_file_prefixes = {root}/log
myhostname = postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions =
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{{refused} = 550 5.1.1 nobody here}}, {{{later} = 450 4.2.1 full for now}} }}
    permit_mynetworks, reject
message_size_limit = {large}
virtual_mailbox_limit = 0
# It holds back senders who are quicker than its disk, which would be counted as our slowness.
in_flow_delay = 0
# Its ids sort by time, to the microsecond.
enable_long_queue_ids = yes
virtual_mailbox_domains = example.org
virtual_mailbox_base = {root}
virtual_mailbox_maps = static:mail/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_tls_chain_files = {root}/tls.pem
# Debian looks for `sasl` beside this file, others where they are told.
smtpd_sasl_type = cyrus

cyrus_sasl_config_path = {root}/etc/sasl
smtpd_sasl_local_domain = postfix.test
"""

SECURE = """
127.0.0.1:{secure} inet n - n - - smtpd
    -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes -o smtpd_sasl_auth_enable=yes
    -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
"""

MASTER = """
127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{small} inet n - n - - smtpd
    -o message_size_limit={limit}
127.0.0.1:{mute} inet n - n - - smtpd
    -o message_size_limit={limit} -o smtpd_discard_ehlo_keywords=size
anvil unix - - n - 1 anvil
bounce unix - - n - 0 bounce
cleanup unix n - n - 0 cleanup
defer unix - - n - 0 bounce
error unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
qmgr unix n - n 300 1 qmgr
retry unix - - n - - error
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
virtual unix - n n - - virtual
"""

# What it made itself, such as a notification, came "with" nothing.
_QUEUE_ID = re.compile(r"\(Postfix\)(?: with \S+)?\s+id (\w+)")
_TIME = 10
"""Characters of a long queue id that tell seconds and microseconds; they sort as ASCII does."""

SASL = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {root}/etc/sasl/sasldb2
mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256
"""


@dataclass
class Postfix:
    root: Path
    doors: Mapping[str, int]
    name: str = "postfix"

    def kept(self) -> Collection[Found]:
        return [_read(path) for path in (self.root / "mail" / "new").glob("*")]


def _read(path: Path) -> Found:
    content = path.read_bytes()
    trace = content.split(b"\n\n", 1)[0].decode("utf-8", "replace")
    queue_id = _QUEUE_ID.findall(trace)[0]
    recipient = trace.split("X-Original-To: ", 1)[1].splitlines()[0]
    return Found((queue_id[:_TIME], recipient), (recipient,), content)


@contextmanager
def running(ca: trustme.CA, *, with_users: bool = True) -> Iterator[Postfix]:
    """Run one until the block ends. Its master starts as root only, so that it can give rights away.

    Without users there is no door `secure`, and Postfix is all that is needed.
    """
    postfix = program("postfix")
    saslpasswd = program("saslpasswd2") if with_users else None
    if os.geteuid() != 0:
        missing("Postfix starts as root only")
    owner = pwd.getpwnam("postfix")
    with tempfile.TemporaryDirectory(prefix="postfix-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        doors = dict(zip(("plain", "secure", "small", "mute"), free_ports(4), strict=True))
        if not with_users:
            del doors["secure"]
        _furnish(root, doors, owner, ca)
        if saslpasswd is not None:
            add = [saslpasswd, "-p", "-c", "-f", str(root / "etc" / "sasl" / "sasldb2"), "-u", "postfix.test", USER]
            subprocess.run(add, input=PASSWORD, text=True, check=True)
            os.chown(root / "etc" / "sasl" / "sasldb2", owner.pw_uid, owner.pw_gid)
        env = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
        log = root / "log" / "start.log"
        with run([postfix, "-c", str(root / "etc"), "start-fg"], doors.values(), log, env):
            yield Postfix(root, doors)
            subprocess.run([postfix, "-c", str(root / "etc"), "stop"], env=env, capture_output=True, check=False)


def _furnish(root: Path, doors: Mapping[str, int], owner: pwd.struct_passwd, ca: trustme.CA) -> None:
    for name in ("etc", "queue", "data", "log", "mail", "etc/sasl"):
        (root / name).mkdir(mode=0o755)
    for name in ("data", "mail"):
        os.chown(root / name, owner.pw_uid, owner.pw_gid)
    told = {"root": root, "uid": owner.pw_uid, "gid": owner.pw_gid, "large": LARGE, "limit": SMALL}
    told |= {"refused": REFUSED, "later": LATER} | doors
    (root / "etc" / "main.cf").write_text(MAIN.format(**told))
    secure = SECURE.format(**told) if "secure" in doors else ""
    (root / "etc" / "master.cf").write_text(secure + MASTER.format(**told))
    (root / "etc" / "sasl" / "smtpd.conf").write_text(SASL.format(**told))
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(root / "tls.pem"))
