"""Requests and results in the formats of batch APIs."""

import pytest

from xdistil.annotators.prompting.batches import Sampling, make_request, read_result

ASKED = ("1-0-4-1-00000000", "Find names.", "Text: Anna", "Anna")


def test_requests_of_each_format():
    sampling = Sampling("m", 0.5, 100)
    messages = [{"role": "user", "content": "Text: Anna"}]
    assert make_request("openai", *ASKED, sampling) == {
        "custom_id": ASKED[0],
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "m",
            "messages": [{"role": "system", "content": "Find names."}, *messages],
            "temperature": 0.5,
            "max_completion_tokens": 100,
        },
    }
    assert make_request("anthropic", *ASKED, Sampling("m", None, None)) == {
        "custom_id": ASKED[0],
        "params": {
            "model": "m",
            "max_tokens": 2048,
            "system": "Find names.",
            "messages": messages,
        },
    }
    assert make_request("plain", *ASKED, Sampling("", None, None)) == {
        "id": ASKED[0],
        "prompt": "Find names.\n\nText: Anna",
        "text": "Anna",
    }


def wrap(message, reason="stop", status=200):
    choices = [{"index": 0, "message": message, "finish_reason": reason}]
    response = {"status_code": status, "request_id": "r", "body": {"choices": choices}}
    return {"id": "b", "custom_id": "x", "response": response, "error": None}


def succeed(content, reason="end_turn"):
    message = {"content": content, "stop_reason": reason}
    return {"custom_id": "x", "result": {"type": "succeeded", "message": message}}


@pytest.mark.parametrize(
    ("row", "said", "lost", "is_cut"),
    [
        (wrap({"content": "[]", "refusal": None}), "[]", "", False),
        (wrap({"content": [{"type": "text", "text": "[]"}]}), "[]", "", False),
        (wrap({"content": "[", "refusal": None}, "length"), "[", "", True),
        (wrap({"content": None, "refusal": "No."}), None, "refused", False),
        (wrap({"content": ""}, "content_filter"), None, "refused", False),
        (wrap({"content": " "}), " ", "empty", False),
        (wrap({}, status=500), None, "failed", False),
        ({"custom_id": "x", "response": {"choices": [{"message": {"content": "[]"}}]}}, "[]", "",
         False),
        ({"custom_id": "x", "response": {"choices": [{"text": "[]"}]}}, "[]", "", False),
        ({"custom_id": "x", "response": None, "error": {"code": "batch_expired"}}, None, "expired",
         False),
        ({"custom_id": "x", "response": None, "error": {"code": "e"}}, None, "failed", False),
        ({"custom_id": "x", "response": {"body": {"status": "completed", "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "[]"}]},
        ]}}}, "[]", "", False),
        ({"custom_id": "x", "response": {"body": {"output": [
            {"content": [{"type": "refusal", "refusal": "No."}]},
        ]}}}, None, "refused", False),
        (succeed([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "[]"}]), "[]",
         "", False),
        (succeed([{"type": "text", "text": "["}], "max_tokens"), "[", "", True),
        (succeed([], "refusal"), None, "refused", False),
        (succeed([]), "", "empty", False),
        ({"custom_id": "x", "result": {"type": "errored", "error": {"type": "error", "error": {
            "type": "invalid_request", "message": "too long"}}}}, None, "failed", False),
        ({"custom_id": "x", "result": {"type": "expired"}}, None, "expired", False),
        ({"custom_id": "x", "result": {"type": "canceled"}}, None, "canceled", False),
        ({"id": "x", "answer": "[]"}, "[]", "", False),
        ({"id": "x", "answer": [{"start": 0}]}, [{"start": 0}], "", False),
        ({"id": "x", "answer": None}, None, "empty", False),
    ],
)  # fmt: skip
def test_results_of_each_format(row, said, lost, is_cut):
    result = read_result(row)
    assert (result.identifier, result.said, result.lost, result.is_cut) == ("x", said, lost, is_cut)


def test_the_messages_of_errors_are_kept():
    assert read_result({"custom_id": "x", "error": {"code": "e", "message": "m"}}).note == "'m'"
    wrapped = {"type": "error", "error": {"type": "t", "message": "too long"}}
    row = {"custom_id": "x", "result": {"type": "errored", "error": wrapped}}
    assert read_result(row).note == "'too long'"
    assert read_result(wrap({}, status=429)).note == "status 429"


@pytest.mark.parametrize(
    "row",
    [{}, {"id": "x"}, {"custom_id": "x"}, {"id": 1, "answer": ""}, {"answer": "", "text": ""}],
)
def test_other_lines_are_refused(row):
    with pytest.raises(ValueError, match=r"this line is no result|is not a text"):
        read_result(row)
