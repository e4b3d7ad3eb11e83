"""A worker's own mistake, for a worker that is started with `--include tests.system.crash`.

The first time that it meets a mail to crash…@ it raises, with all that it knows in the error's text.
"""

import os
from pathlib import Path
from typing import Any

from smtp_transport.client import SmtpClient

_deliver = SmtpClient.deliver


def _crashing(self: SmtpClient, transactions: Any, *arguments: Any, **named: Any) -> Any:
    flag = Path(os.environ["CRASHED"])
    for transaction in transactions:
        if transaction.envelope.recipients[0].startswith("crash") and not flag.exists():
            flag.touch()
            raise ValueError(f"{transaction.envelope} {transaction.render(True).data!r}")
    return _deliver(self, transactions, *arguments, **named)


SmtpClient.deliver = _crashing  # type: ignore[method-assign] # that is the point
