"""The conversation of a run as it enters prompts and child runs."""

from __future__ import annotations

from abstractruntime._json import JsonObject, JsonValue, isolate, mapping

CHARS_PER_TOKEN = 4


def inherit_context(child: JsonObject, parent: JsonObject) -> None:
    """Give a child run's variables the parent's messages, if the parent has any.

    Order: the child's system messages, the parent's, the parent's other messages, the
    child's other messages; a message id counts once. Attachments come along when the
    child has none.
    """
    source = mapping(parent.get("context"))
    inherited = _messages(source)
    if not inherited:
        return
    context = dict(mapping(child.get("context")))
    own = _messages(context)
    merged = [
        *(m for m in own if is_system(m)),
        *(m for m in inherited if is_system(m)),
        *(m for m in inherited if not is_system(m)),
        *(m for m in own if not is_system(m)),
    ]
    context["messages"] = isolate(unique_messages(merged))
    if source.get("attachments") and not context.get("attachments"):
        context["attachments"] = isolate(source["attachments"])
    child["context"] = context


def active_messages(variables: JsonObject) -> list[JsonObject]:
    """Give a copy of the run's messages: system first, then the others within the run's limit."""
    messages = _messages(mapping(variables.get("context")))
    others = [m for m in messages if not is_system(m)]
    limit = mapping(variables.get("_limits")).get("max_history_messages")
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        others = others[len(others) - min(limit, len(others)) :]
    copied: list[JsonObject] = isolate([*(m for m in messages if is_system(m)), *others])
    return copied


def with_prompt(messages: list[JsonObject], system: str, prompt: str) -> list[JsonObject]:
    """Insert `system` behind the leading system messages and append `prompt` as the user."""
    lead = next((i for i, m in enumerate(messages) if not is_system(m)), len(messages))
    added = [{"role": "system", "content": system}] if system else []
    closing = [{"role": "user", "content": prompt}] if prompt else []
    return [*messages[:lead], *added, *messages[lead:], *closing]


def trim(messages: list[JsonObject], max_tokens: int | None) -> list[JsonObject]:
    """Drop the oldest messages beyond a token budget; system messages and the last one stay."""
    if not max_tokens or max_tokens <= 0:
        return messages
    excess = sum(_tokens(m) for m in messages) - max_tokens
    last = next((i for i in reversed(range(len(messages))) if not is_system(messages[i])), -1)
    kept = []
    for index, message in enumerate(messages):
        if excess > 0 and index != last and not is_system(message):
            excess -= _tokens(message)
            continue
        kept.append(message)
    return kept


def is_system(message: JsonValue) -> bool:
    return isinstance(message, dict) and message.get("role") == "system"


def _tokens(message: JsonObject) -> int:
    return max(1, len(str(message.get("content") or "")) // CHARS_PER_TOKEN)


def _messages(context: JsonObject) -> list[JsonObject]:
    messages = context.get("messages")
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []


def unique_messages(messages: list[JsonObject]) -> list[JsonObject]:
    """Drop messages whose id came before; messages without an id stay."""
    seen: set[str] = set()
    kept = []
    for message in messages:
        message_id = mapping(message.get("metadata")).get("message_id")
        if isinstance(message_id, str) and message_id:
            if message_id in seen:
                continue
            seen.add(message_id)
        kept.append(message)
    return kept
