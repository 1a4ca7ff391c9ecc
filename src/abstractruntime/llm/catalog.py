"""Discovery of providers and models with a time cap."""

from __future__ import annotations

import threading
from collections.abc import Callable

from abstractruntime.nodes.services import Catalog

_TIMEOUT_S = 10.0


__all__ = ["Catalog", "TimedCatalog"]


class TimedCatalog:
    """A catalog that gives up on a slow one.

    Each question runs in a thread of its own; one that comes back too late is forgotten.
    """

    def __init__(self, catalog: Catalog, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._catalog, self._timeout_s = catalog, timeout_s

    def providers(self) -> list[str]:
        """Give the providers.

        Raises:
            TimeoutError: the catalog did not answer in time.
        """
        return self._within(self._catalog.providers)

    def models(self, provider: str) -> list[str]:
        """Give the models of a provider.

        Raises:
            TimeoutError: the catalog did not answer in time.
        """
        return self._within(lambda: self._catalog.models(provider))

    def _within(self, ask: Callable[[], list[str]]) -> list[str]:
        answers: list[list[str]] = []
        errors: list[BaseException] = []

        def answer() -> None:
            try:
                answers.append([str(name) for name in ask()])
            # A thread has nobody to raise to; the caller raises it.
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                errors.append(error)

        thread = threading.Thread(target=answer, name="catalog", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        if errors:
            raise errors[0]
        if not answers:
            raise TimeoutError(f"the catalog did not answer within {self._timeout_s:g} s")
        return answers[0]
