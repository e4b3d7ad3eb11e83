"""The modes of the wire, as fields of a configuration that insist on one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

WAYS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"lockstep": {"pipelining": False}, "pipelined": {"pipelining": True}}
)
