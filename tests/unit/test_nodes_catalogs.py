from __future__ import annotations

import threading

import pytest
from flow_builder import START, Host, end, flow, node
from node_scope import FakeScope, element

from abstractruntime.llm.catalog import TimedCatalog
from abstractruntime.nodes.registry import node_types
from abstractruntime.visualflow_compiler import Services


class Known:
    """Two providers; counts how often it is asked."""

    asked = 0

    def providers(self):
        self.asked += 1
        return ["Ollama", "openai"]

    def models(self, provider):
        self.asked += 1
        return {"Ollama": ["a", "b"], "openai": ["c"]}[provider]


class Broken:
    def providers(self):
        raise ConnectionError("down")

    def models(self, provider):
        raise LookupError(provider)


def evaluate(kind, inputs, catalog=None, **data):
    scope = FakeScope()
    scope.catalog = catalog
    return node_types()[kind].evaluate(element(kind, **data), inputs, scope)


@pytest.mark.parametrize(
    ("allowed", "found", "listed"),
    [
        (None, ["Ollama", "openai"], []),
        ([" OPENAI ", "x"], ["openai"], ["OPENAI", "x"]),
        ("openai", ["Ollama", "openai"], []),
    ],
)
def test_providers(allowed, found, listed):
    inputs = {"allowed_providers": allowed}

    assert evaluate("provider_catalog", inputs, Known()) == {"providers": found}
    for catalog in (None, Broken()):
        assert evaluate("provider_catalog", inputs, catalog) == {"providers": listed}


@pytest.mark.parametrize(
    ("inputs", "config", "found", "listed"),
    [
        ({}, {}, ("", []), ("", [])),
        ({"provider": " Ollama "}, {}, ("Ollama", ["a", "b"]), ("Ollama", [])),
        ({}, {"provider": "Ollama", "allowedModels": ["b"]}, ("Ollama", ["b"]), ("Ollama", ["b"])),
        (
            {"allowed_models": ["Ollama/a", "org/m"]},
            {"provider": "Ollama", "allowed_models": ["b"]},
            ("Ollama", ["a"]),
            ("Ollama", ["a", "org/m"]),
        ),
        ({"provider": "gone"}, {"allowedModels": ["m"]}, ("gone", ["m"]), ("gone", ["m"])),
    ],
)
def test_models(inputs, config, found, listed):
    for catalog, (provider, models) in ((Known(), found), (None, listed), (Broken(), listed)):
        record = evaluate("provider_models", inputs, catalog, providerModelsConfig=config)
        assert record == {"provider": provider, "models": models}


@pytest.mark.parametrize(
    ("inputs", "config", "models", "chosen"),
    [
        ({}, {}, ["Ollama/a", "Ollama/b", "openai/c"], "Ollama/a"),
        ({"index": "2"}, {"index": 1}, ["Ollama/a", "Ollama/b", "openai/c"], "openai/c"),
        ({"index": 9}, {}, ["Ollama/a", "Ollama/b", "openai/c"], "Ollama/a"),
        ({"index": -1}, {"allowedProviders": ["openai"]}, ["openai/c"], "openai/c"),
        ({"allowed_models": ["Ollama/b", "c"]}, {}, ["Ollama/b", "openai/c"], "Ollama/b"),
        ({"allowed_models": ["none"]}, {}, [], None),
    ],
)
def test_model_catalog(inputs, config, models, chosen):
    record = evaluate("model_catalog", inputs, Known(), modelCatalogConfig=config)

    assert record["models"] == models
    assert (record["pair"] or {}).get("id") == chosen
    assert bool(record["provider"]) is bool(chosen)


def test_model_catalog_without_discovery_gives_the_allowed_pairs():
    config = {"allowedProviders": ["p", "q"], "allowedModels": ["p/m", "q/n"], "index": 1}

    record = evaluate("model_catalog", {}, modelCatalogConfig=config)

    assert record["models"] == ["p/m", "q/n"]
    assert record["pair"] == {"provider": "q", "model": "n", "id": "q/n"}


@pytest.mark.parametrize("rebuild", [False, True], ids=["live", "rebuilt"])
def test_discovery_is_kept_with_the_run(rebuild):
    catalog = Known()
    names = node("c", "provider_catalog", "", "providers")
    keep = node("v", "set_var", "exec-in name value", "exec-out", pinDefaults={"name": "x"})
    document = flow(
        START, names, keep, end("p"), edges="s > v; v > e; c.providers > v.value; c.providers > e.p"
    )

    host = Host(document, services=Services(catalog=catalog), rebuild=rebuild).go()

    assert host.output["p"] == ["Ollama", "openai"]
    assert catalog.asked == 1


def test_a_slow_catalog_is_given_up_on():
    released = threading.Event()

    class Slow:
        def providers(self):
            released.wait(60)
            return []

        def models(self, provider):
            return [provider]

    catalog = TimedCatalog(Slow(), timeout_s=0.01)
    try:
        with pytest.raises(TimeoutError):
            catalog.providers()
        assert evaluate("provider_catalog", {"allowed_providers": ["a"]}, catalog) == {
            "providers": ["a"]
        }
    finally:
        released.set()
    assert TimedCatalog(Slow()).models("m") == ["m"]
    with pytest.raises(LookupError):
        TimedCatalog(Broken()).models("m")
