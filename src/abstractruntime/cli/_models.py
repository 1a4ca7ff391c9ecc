"""Who answers model calls, as the configuration says it.

A key is bound to the endpoint that it was given for: that of `llm.base_url` is in the variable
`llm.api_key_env`, and OPENAI_API_KEY is for the endpoint of OPENAI_BASE_URL, or OpenAI's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from abstractruntime._near import close_names
from abstractruntime.core.models import EffectType
from abstractruntime.core.policy import DefaultEffectPolicy
from abstractruntime.errors import Refused, UsageError

if TYPE_CHECKING:
    from abstractruntime.cli._config import Config
    from abstractruntime.cli._session import Session
    from abstractruntime.llm.endpoint import Endpoint, Price
    from abstractruntime.llm.port import LLMClient

_OWN_KEY: Final = "ART_LLM_API_KEY"
_OPENAI_HOST: Final = "api.openai.com"
_OPENAI_KEY: Final = "OPENAI_API_KEY"
_OPENAI_URL: Final = "OPENAI_BASE_URL"
_PROVIDER_KEYS: Final = ("base_url", "api_key_env", "model", "timeout", "tools", "prices")
HINT: Final = (
    "name an endpoint: ART_LLM_BASE_URL=URL, or llm.base_url in your config.yaml;"
    " or answer from a file: --llm-stub FILE"
)


def has_model(config: Config) -> bool:
    """Say whether somebody answers model calls."""
    return any(config.get(name) for name in ("llm.script", "llm.base_url", "llm.providers"))


def model_client(
    session: Session, on_text: Callable[[str], None] | None = None
) -> LLMClient | None:
    """Give the client of models; None where nobody answers.

    Raises:
        UsageError: the configuration is incomplete or wrong.
        Refused: a library is missing.
    """
    config = session.config
    script = config.get("llm.script")
    if script is not None:
        from abstractruntime.testing.stub_llm import StubLLM

        return StubLLM.from_file(script)
    if config.get("llm.handler") is not None:
        raise UsageError(
            "llm.handler is 'stub', but llm.script names no file of answers",
            hint="set llm.script in your config.yaml, or pass --llm-stub FILE",
            argument="llm.script",
        )
    if not has_model(config):
        return None
    _require_library()
    from abstractruntime.llm.endpoint import EndpointClient

    model = config.get("llm.model")
    if config.get("llm.force_model") and not model:
        raise UsageError(
            "llm.force_model is on, but llm.model names no model",
            hint="set llm.model, or ART_LLM_MODEL",
            argument="llm.force_model",
        )
    return EndpointClient(
        _default_endpoint(session),
        providers=_providers(session),
        force_model=model if config.get("llm.force_model") else None,
        on_text=on_text,
    )


def _require_library() -> None:
    """Refuse to ask endpoints without the library that does.

    Raises:
        Refused: it is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("openai") is None:
        raise Refused(
            "endpoints of models are asked with the library 'openai', which is not installed",
            hint="pip install 'abstractruntime[llm]'",
        )


def effect_policy(config: Config) -> DefaultEffectPolicy:
    """Give how often effects are tried, and what becomes of one in doubt."""
    is_scripted = config.get("llm.script") is not None
    # A script that says a call fails means that; asking again would take its next answer.
    attempts = 1 if is_scripted and config.values["llm.attempts"].origin == "default" else 0
    attempts = attempts or max(1, int(config.get("llm.attempts")))
    return DefaultEffectPolicy(
        effect_max_attempts={EffectType.LLM_CALL.value: attempts},
        on_unknown=config.get("on_unknown"),
    )


def _default_endpoint(session: Session) -> Endpoint | None:
    from abstractruntime.llm.endpoint import Endpoint

    config = session.config
    url = config.get("llm.base_url")
    if not url:
        return None
    _require_url(url, "llm.base_url")
    return Endpoint(
        url,
        session.environ.get(config.get("llm.api_key_env") or _OWN_KEY) or _openai_key(session, url),
        model=config.get("llm.model"),
        timeout_s=_timeout(config.get("llm.timeout")),
    )


def _openai_key(session: Session, url: str) -> str | None:
    """Give the key that other tools know, where it is for this endpoint."""
    common = session.environ.get(_OPENAI_URL)
    is_meant = url == common if common else urlsplit(url).hostname == _OPENAI_HOST
    return session.environ.get(_OPENAI_KEY) if is_meant else None


def _providers(session: Session) -> dict[str, Endpoint]:
    given = session.config.get("llm.providers") or {}
    return {
        name: _provider(session, f"llm.providers.{name}", entry) for name, entry in given.items()
    }


def _provider(session: Session, place: str, entry: Any) -> Endpoint:
    from abstractruntime.llm.endpoint import Endpoint

    config = session.config
    entry = _checked(place, entry, _PROVIDER_KEYS)
    _require_url(entry.get("base_url"), f"{place}.base_url")
    variable = _text_of(entry, place, "api_key_env")
    tools = entry.get("tools", "native")
    if tools not in ("native", "words"):
        raise _wrong(f"{place}.tools", tools, "native or words")
    timeout = entry.get("timeout", config.get("llm.timeout"))
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or timeout < 0:
        raise _wrong(f"{place}.timeout", timeout, "a number of seconds")
    return Endpoint(
        entry["base_url"],
        session.environ.get(variable) if variable else None,
        model=_text_of(entry, place, "model") or config.get("llm.model"),
        timeout_s=_timeout(timeout),
        takes_tools=tools == "native",
        prices={
            name: _price(f"{place}.prices.{name}", price)
            for name, price in _checked(f"{place}.prices", entry.get("prices", {})).items()
        },
    )


def _price(place: str, entry: Any) -> Price:
    from abstractruntime.llm.endpoint import Price

    entry = _checked(place, entry, ("input", "output", "currency"))
    numbers = [entry.get(name) for name in ("input", "output")]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and n >= 0 for n in numbers):
        raise _wrong(place, entry, "input and output, each a price of a million tokens")
    return Price(float(numbers[0]), float(numbers[1]), _text_of(entry, place, "currency") or "USD")


def _checked(place: str, entry: Any, known: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise _wrong(place, entry, "a mapping")
    for name in entry if known else ():
        if name not in known:
            near = close_names(str(name), known, n=1)
            raise UsageError(
                f"unknown key {name!r} in {place}",
                hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}",
                argument=place,
            )
    return entry


def _text_of(entry: Mapping[str, Any], place: str, name: str) -> str | None:
    value = entry.get(name)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise _wrong(f"{place}.{name}", value, "text")


def _require_url(url: Any, place: str) -> None:
    """Refuse what is no address of an endpoint.

    Raises:
        UsageError: it is no URL of http or https, or holds a password, which would be recorded.
    """
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        host = parts.hostname if parts else None
    except ValueError:
        parts = host = None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise _wrong(place, url, "a URL such as http://127.0.0.1:1234/v1")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{place} holds a user name or a password, and runs record the URL",
            hint="put the key into the environment: ART_LLM_API_KEY",
            argument=place,
        )


def _timeout(seconds: float) -> float | None:
    """Give the limit of one request; 0 is none."""
    return float(seconds) or None


def _wrong(place: str, value: Any, wanted: str) -> UsageError:
    return UsageError(f"{place} is {value!r}, expected {wanted}", argument=place)
