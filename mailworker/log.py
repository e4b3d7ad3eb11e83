"""The logger. What it is told holds no whole address: `smtp_transport.observation` masks them."""

import logging

logger = logging.getLogger("mailworker")
