"""What models have in common: how strict and how silent they are, and how a host or a time is written.

Law: what was refused stands in no error, be it in its text, its `errors()`, its `json()` or its pickle. The name of the
field, the reason and the cure do.
"""

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, ValidationError, core_schema

T = TypeVar("T")

DAY = 86_400.0

_LAX_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # names in container networks hold underscores
_SCOPE = re.compile(r"[A-Za-z0-9._~-]+")  # the name of an interface, or its number (RFC 4007 section 11)
_HOST = re.compile(rf"(?=.{{1,254}}\Z){_LAX_LABEL}(?:\.{_LAX_LABEL})*\.?")

Seconds = Annotated[float, Field(gt=0, le=DAY, allow_inf_nan=False)]


def silently(validate: Callable[[Any], T], value: Any, known: Iterable[str] = ()) -> T:
    """Validate; a `ValidationError` that comes of it tells all but the input. `known`: the names of fields."""
    try:
        return validate(value)
    except ValidationError as error:
        raise without_input(error, known) from None


def without_input(error: ValidationError, known: Iterable[str] = ()) -> ValidationError:
    """Give the same error without any value that was refused."""
    told = [_without_input(one, known) for one in error.errors(include_input=False)]
    return ValidationError.from_exception_data(error.title, told, hide_input=True)


def _without_input(told: ErrorDetails, known: Iterable[str]) -> InitErrorDetails:
    context = told.get("ctx")
    if "url" not in told:  # no kind of pydantic's own
        return {"type": PydanticCustomError(told["type"], told["msg"], context), "loc": told["loc"], "input": None}
    if told["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(told["loc"][-1]), known, n=1)
        reason = "there is no such field" + (f"; did you mean {near[0]}?" if near else "")
        return {
            "type": PydanticCustomError("extra_forbidden", "{reason}", {"reason": reason}),
            "loc": told["loc"],
            "input": None,
        }
    silent: InitErrorDetails = {"type": told["type"], "loc": told["loc"], "input": None}
    return silent | {"ctx": context} if context else silent


class Silent:
    """Mixed into a model, before `BaseModel`: no error of its validation holds an input."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def checked(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
            return silently(validate, value, getattr(source, "model_fields", ()))

        # Around the whole model: a model_validator could have others around it.
        return core_schema.no_info_wrap_validator_function(checked, handler(source))


class Frozen(Silent, BaseModel):
    """Immutable, closed to unknown names, checked when it is copied with changes too."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed; unlike pydantic's own, it checks them. Raises ValidationError."""
        if not update:
            return super().model_copy(deep=deep)
        return type(self).model_validate({name: getattr(self, name) for name in self.model_fields_set} | dict(update))

    def __setattr__(self, name: str, value: Any) -> None:
        # pydantic's own refusal would hold the value.
        reason = PydanticCustomError("frozen_instance", "is frozen; make another with model_copy")
        told: InitErrorDetails = {"type": reason, "loc": (name,), "input": None}
        raise ValidationError.from_exception_data(type(self).__name__, [told], hide_input=True)


def one_or_many(value: Any) -> Any:
    """Let one stand where several may: a tuple of it."""
    return (value,) if isinstance(value, str | Path) else value


def checked_host(host: str) -> str:
    """Give a host name or an IP address in ASCII and without brackets, or raise ValueError."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if is_ip(bare):
        return bare
    if "://" in bare or re.search(r":\d+$", bare):
        raise ValueError("give the bare host name or IP address; the port and the TLS mode have fields of their own")
    if not bare.isascii():
        import idna  # noqa: PLC0415 - 10 ms that only internationalized names should pay

        try:
            bare = idna.encode(bare, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError("this is not a host name (IDNA 2008); check its spelling") from None
    if not _HOST.fullmatch(bare):
        raise ValueError("give a host name such as smtp.example.com or an IP address")
    return bare


def is_ip(text: str) -> bool:
    """Whether this is an IP address, of version 4 or 6, without brackets."""
    address, scoped, scope = text.partition("%")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return False
    # `ipaddress` would take anything for a scope.
    return not scoped or (version == 6 and _SCOPE.fullmatch(scope) is not None)
