"""What a newcomer does with OpenAI's own SDK. Ends with the number of requests that it made.

    openai_sdk.py GATEWAY KEY MODEL COMPLETION_MODEL
"""

import sys

import openai

gateway, key, model, completing = sys.argv[1:]
client = openai.OpenAI(base_url=f"{gateway}/v1", api_key=key, max_retries=0)
requests = 0
question = [{"role": "user", "content": "Say something."}]

# Models: only what the key may use.
names = {item.id for item in client.models.list()}
assert {model, "mock/fast", "mock/slow", "mock/embed"} <= names, names

# A whole answer.
answer = client.chat.completions.create(model=model, messages=question)
requests += 1
assert answer.choices[0].message.content, answer
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
assert answer.choices[0].finish_reason == "stop", answer

# The headers that say who answered.
raw = client.chat.completions.with_raw_response.create(model="mock/fast", messages=question)
requests += 1
assert raw.headers["x-sluice-target"] == "mock/fast", raw.headers
assert int(raw.headers["x-sluice-position"]) > 0
assert raw.headers["x-request-id"]

# A stream, with usage at its end.
text, usage = "", None
stream = client.chat.completions.create(
    model="mock/fast", messages=question, stream=True, stream_options={"include_usage": True}
)
requests += 1
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        text += chunk.choices[0].delta.content
    if chunk.usage:
        usage = chunk.usage
assert text == raw.parse().choices[0].message.content, text
assert usage and usage.completion_tokens == raw.parse().usage.completion_tokens, usage

# Embeddings: the SDK asks for base64 by itself.
embedded = client.embeddings.create(model="mock/embed", input=["one", "two"])
requests += 1
assert len(embedded.data) == 2 and len(embedded.data[0].embedding) > 8
assert embedded.usage.prompt_tokens > 0

# Completions of a text, whole and streamed.
completion = client.completions.create(model=completing, prompt="Once upon a time")
requests += 1
assert completion.choices[0].text and completion.usage.completion_tokens > 0, completion
text, usage = "", None
stream = client.completions.create(
    model=completing, prompt="Once upon a time", stream=True, stream_options={"include_usage": True}
)
requests += 1
for chunk in stream:
    text += chunk.choices[0].text if chunk.choices else ""
    usage = chunk.usage or usage
assert text == completion.choices[0].text, text
assert usage == completion.usage, usage

# Errors are the SDK's own.
for raises, call in [
    (openai.NotFoundError, lambda: client.chat.completions.create(model="no/such", messages=question)),
    (openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages="?")),
    (openai.BadRequestError, lambda: client.completions.create(model="mock/embed", prompt="?")),
    (openai.RateLimitError, lambda: client.completions.create(
        model=completing, prompt="?", extra_headers={"x-mock-script": "error=429"})),
]:
    try:
        call()
    except raises as error:
        assert error.body["message"], error
    else:
        raise AssertionError(f"{raises.__name__} was expected")
try:
    openai.OpenAI(base_url=f"{gateway}/v1", api_key="sk-sluice-wrong", max_retries=0).models.list()
except openai.AuthenticationError as error:
    assert error.request_id, error
else:
    raise AssertionError("a wrong key was let in")

print(requests)
