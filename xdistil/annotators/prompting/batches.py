"""Requests and results of batch APIs, a JSON object a line.

| format | a request | a result |
|---|---|---|
| openai | custom_id, method, url, body | custom_id, response (status_code, body), error |
| anthropic | custom_id, params | custom_id, result (type, message or error) |
| plain | id, prompt, text | id, answer |

The results say by themselves which format they have.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from xdistil.errors import show

FORMATS = ("openai", "anthropic", "plain")
MOST_REQUESTS = {"openai": 50_000, "anthropic": 100_000}  # in a batch
MOST_MEGABYTES = {"openai": 200, "anthropic": 256}
URL = "/v1/chat/completions"
MAX_TOKENS = 2048  # of an answer, where the API wants a number and none is given

REFUSED, FAILED, EXPIRED, CANCELED = "refused", "failed", "expired", "canceled"
EMPTY, MISSING, UNREADABLE = "empty", "missing", "unreadable"


class Sampling(NamedTuple):
    """How a model is asked."""

    model: str
    temperature: float | None  # None: as the API has it
    max_tokens: int | None


class Result(NamedTuple):
    """What came back for a request."""

    identifier: str
    said: Any  # the answer: a text, or JSON that the model's own program has read
    lost: str = ""  # why there is no answer; "": there is one
    note: str = ""  # more about it, for an example
    is_cut: bool = False  # the model stopped at the most tokens it was allowed


def make_request(
    form: str, identifier: str, instructions: str, question: str, piece: str, sampling: Sampling
) -> dict[str, Any]:
    """One line of a file of requests.

    Args:
        instructions: the part of the prompt that all texts share.
        question: the part with the text.
        piece: the text alone.
    """
    if form == "plain":
        return {"id": identifier, "prompt": f"{instructions}\n\n{question}", "text": piece}
    model, temperature, max_tokens = sampling
    chosen = {} if temperature is None else {"temperature": temperature}
    asked = {"role": "user", "content": question}
    if form == "anthropic":
        params = {
            "model": model,
            "max_tokens": max_tokens or MAX_TOKENS,
            **chosen,
            "system": instructions,
            "messages": [asked],
        }
        return {"custom_id": identifier, "params": params}
    if max_tokens:
        chosen["max_completion_tokens"] = max_tokens
    messages = [{"role": "system", "content": instructions}, asked]
    body = {"model": model, "messages": messages, **chosen}
    return {"custom_id": identifier, "method": "POST", "url": URL, "body": body}


def read_result(row: Mapping[str, Any]) -> Result:
    """What a line of results says.

    Raises:
        ValueError: the line has none of the formats.
    """
    if "custom_id" in row:
        name = _read_name(row, "custom_id")
        if isinstance(row.get("result"), dict):
            return _read_anthropic(name, row["result"])
        if "response" in row or "error" in row:
            return _read_openai(name, row.get("response"), row.get("error"))
    elif "id" in row and "answer" in row:
        said = row["answer"]
        lost = EMPTY if said is None or (isinstance(said, str) and not said.strip()) else ""
        return Result(_read_name(row, "id"), said, lost)
    raise ValueError(
        "this line is no result: it needs custom_id and response or result, as the batch APIs "
        "write them, or id and answer"
    )


def _read_name(row: Mapping[str, Any], field: str) -> str:
    if not isinstance(row[field], str):
        raise ValueError(f"{field} {show(row[field])} is not a text")
    return row[field]


def _read_openai(name: str, response: Any, error: Any) -> Result:
    if error:
        code = error.get("code") if isinstance(error, dict) else ""
        return Result(name, None, EXPIRED if code == "batch_expired" else FAILED, _tell(error))
    if not isinstance(response, dict):
        return Result(name, None, MISSING)
    body = response.get("body", response)  # some servers leave out what is around it
    status = response.get("status_code", 200)
    if not isinstance(body, dict) or status != 200:
        error = body.get("error") if isinstance(body, dict) else body
        return Result(name, None, FAILED, _tell(error) or f"status {show(status)}")
    if isinstance(body.get("output"), list):  # of /v1/responses
        messages = [each for each in body["output"] if isinstance(each, dict)]
        parts = [part for each in messages for part in _list_parts(each.get("content"))]
        is_cut = body.get("status") == "incomplete"
        return _join(name, parts, "", is_cut)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return Result(name, None, FAILED, _tell(body.get("error")))
    message = choice.get("message")
    message = message if isinstance(message, dict) else {"content": choice.get("text")}
    reason = choice.get("finish_reason")
    refusal = message.get("refusal") or ("content filter" if reason == "content_filter" else "")
    return _join(name, _list_parts(message.get("content")), refusal, reason == "length")


def _read_anthropic(name: str, result: Mapping[str, Any]) -> Result:
    kind, message = result.get("type"), result.get("message")
    if kind in (EXPIRED, CANCELED):
        return Result(name, None, str(kind))
    if kind != "succeeded" or not isinstance(message, dict):
        return Result(name, None, FAILED, _tell(result.get("error")))
    reason = message.get("stop_reason")
    refusal = "stop_reason refusal" if reason == "refusal" else ""
    return _join(name, _list_parts(message.get("content")), refusal, reason == "max_tokens")


def _list_parts(content: Any) -> list[dict[str, Any]]:
    """The parts of a message's content, which may be a text alone."""
    if isinstance(content, str):
        return [{"text": content}]
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict)]


def _join(name: str, parts: list[dict[str, Any]], refusal: Any, is_cut: bool) -> Result:
    # What a model thinks before it answers has no field "text".
    refusal = refusal or next((part["refusal"] for part in parts if part.get("refusal")), "")
    if refusal:
        return Result(name, None, REFUSED, show(refusal))
    said = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return Result(name, said, "" if said.strip() else EMPTY, "", is_cut)


def _tell(error: Any) -> str:
    """The message of an error, which some APIs wrap in others."""
    for _ in range(3):
        if isinstance(error, dict):
            error = error.get("message") or error.get("error") or error.get("code")
    return show(error) if error else ""
