"""Which providers and models there are, as the host discovers them or the author lists them.

Rules:
1. A catalog is asked once per activation, and its answer is kept with the run.
2. Without discovery, or when it fails or takes too long, the author's own lists are the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from abstractruntime._json import JsonObject, JsonValue
from abstractruntime.nodes._coerce import filled, whole_or
from abstractruntime.nodes.base import (
    Element,
    Example,
    Pin,
    Scope,
    ValueNode,
    register,
)
from abstractruntime.nodes.keys import TEXT, TEXTS, WHOLE, older, settings

_COMPAT = (
    "Q54: what was discovered is kept with the run. Effects 13: without discovery the allowed names are "
    "the answer, instead of nothing. Without declared pins the node is pure."
)
_Found = TypeVar("_Found")


class _CatalogNode(ValueNode):
    family = "catalogs"
    draws = True
    compat = _COMPAT


@register
class ProviderCatalog(_CatalogNode):
    type = "provider_catalog"
    doc = "Gives the providers that are available, only the allowed ones where such are named."
    inputs = (Pin("allowed_providers", "array", doc="names, in any case"),)
    outputs = (Pin("providers", "array"),)
    examples = (
        Example(
            {"allowed_providers": ["Local"]},
            output={"providers": ["local"]},
            around={"models": {"local": ["small"], "cloud": ["large"]}},
        ),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        return {"providers": _providers(scope, _names(inputs.get("allowed_providers")))}


@register
class ProviderModels(_CatalogNode):
    type = "provider_models"
    doc = (
        "Gives the models of one provider, only the allowed ones where such are named; an allowed name may "
        "be `model` or `provider/model`. Without a provider there are none."
    )
    inputs = (
        Pin("provider", "provider"),
        Pin("allowed_models", "array", doc="names, with or without the provider"),
    )
    outputs = (Pin("provider", "provider"), Pin("models", "array"))
    data_schema = settings(
        "providerModelsConfig", provider=TEXT, allowedModels=TEXTS, allowed_models=older(TEXTS)
    )
    examples = (
        Example(
            {"provider": "local", "allowed_models": ["small"]},
            output={"provider": "local", "models": ["small"]},
            around={"models": {"local": ["small", "large"]}},
        ),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        config = element.config("providerModelsConfig")
        provider = filled(inputs.get("provider")) or filled(config.get("provider"))
        if not provider:
            return {"provider": "", "models": []}
        allowed = (
            _names(inputs.get("allowed_models"))
            or _names(config.get("allowedModels"))
            or _names(config.get("allowed_models"))
        )
        return {"provider": provider, "models": _models(scope, provider, allowed)}


@register
class ModelCatalog(_CatalogNode):
    type = "model_catalog"
    doc = (
        "Gives all allowed models of all allowed providers, and one of them by its place; a place out of "
        "range gives the first. Newer flows use provider_models."
    )
    inputs = (
        Pin("allowed_providers", "array"),
        Pin("allowed_models", "array", doc="names, with or without the provider"),
        Pin("index", "number", doc="place of the chosen model, from 0"),
    )
    outputs = (
        Pin("providers", "array"),
        Pin("models", "array", doc="`provider/model`"),
        Pin("pair", "object", doc="the chosen one: provider, model and id"),
        Pin("provider", "provider"),
        Pin("model", "model"),
    )
    data_schema = settings(
        "modelCatalogConfig", allowedProviders=TEXTS, allowedModels=TEXTS, index=WHOLE
    )
    examples = (
        Example(
            {"index": 1},
            output={
                "providers": ["local", "cloud"],
                "models": ["local/small", "cloud/large"],
                "pair": {"provider": "cloud", "model": "large", "id": "cloud/large"},
                "provider": "cloud",
                "model": "large",
            },
            around={"models": {"local": ["small"], "cloud": ["large"]}},
        ),
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        config = element.config("modelCatalogConfig")
        wanted = _names(inputs.get("allowed_providers")) or _names(config.get("allowedProviders"))
        allowed = _names(inputs.get("allowed_models")) or _names(config.get("allowedModels"))
        providers = _providers(scope, wanted) or _prefixes(allowed)
        pairs = [
            {"provider": provider, "model": model, "id": f"{provider}/{model}"}
            for provider in providers
            for model in _models(scope, provider, _of_provider(allowed, provider, providers))
            if not allowed or _of_provider(allowed, provider, providers)
        ]
        place = whole_or(inputs.get("index", config.get("index")), 0) or 0
        chosen = pairs[place if 0 <= place < len(pairs) else 0] if pairs else None
        return {
            "providers": providers,
            "models": [pair["id"] for pair in pairs],
            "pair": chosen,
            "provider": chosen["provider"] if chosen else "",
            "model": chosen["model"] if chosen else "",
        }


def _providers(scope: Scope, allowed: list[str]) -> list[str]:
    catalog = scope.catalog
    found = _asked(catalog.providers) if catalog else None
    if found is None:
        return allowed
    wanted = {name.lower() for name in allowed}
    return [name for name in found if not wanted or name.lower() in wanted]


def _models(scope: Scope, provider: str, allowed: list[str]) -> list[str]:
    catalog = scope.catalog
    found = _asked(lambda: catalog.models(provider)) if catalog else None
    prefix = f"{provider}/"
    if found is None:
        return list(dict.fromkeys(name.removeprefix(prefix) for name in allowed))
    wanted = {*allowed}
    return [name for name in found if not wanted or name in wanted or prefix + name in wanted]


def _asked(ask: Callable[[], _Found]) -> _Found | None:
    """Give what the host discovered; None when it could not."""
    try:
        return ask()
    except (OSError, LookupError, ValueError, RuntimeError):
        # The author's list is the answer then; a catalog never fails a run.
        return None


def _of_provider(allowed: list[str], provider: str, providers: list[str]) -> list[str]:
    """Give the allowed models that may belong to a provider: its own, and those that name none."""
    others = tuple(f"{name}/" for name in providers if name != provider)
    return [name for name in allowed if not name.startswith(others)]


def _prefixes(allowed: list[str]) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[0] for name in allowed if "/" in name))


def _names(value: JsonValue) -> list[str]:
    names = (filled(item) for item in value) if isinstance(value, list) else ()
    return list(dict.fromkeys(name for name in names if name))
