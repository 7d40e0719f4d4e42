"""What a newcomer does with Anthropic's own SDK. Ends with the number of requests that it made and that went well.

    anthropic_sdk.py GATEWAY KEY MODEL OPENAI_MODEL
"""

import sys

import anthropic

gateway, key, model, openai_model = sys.argv[1:]
client = anthropic.Anthropic(base_url=gateway, api_key=key, max_retries=0)
requests = 0
question = dict(max_tokens=64, messages=[{"role": "user", "content": "Say something."}])


def scripted(script):
    return {"x-mock-script": script}


# Models: only those that can be asked over this API.
names = {item.id for item in client.models.list()}
assert model in names and openai_model not in names, names
assert client.models.retrieve(model).display_name == model

# A whole answer, and what it used.
answer = client.messages.create(model=model, **question, extra_headers=scripted("cached=200,cache_write=30"))
requests += 1
assert answer.content[0].text and answer.stop_reason == "end_turn", answer
assert answer.usage.cache_read_input_tokens == 200, answer.usage
assert answer.usage.cache_creation_input_tokens == 30, answer.usage
assert answer._request_id, answer

# The headers that say who answered; a bearer is as good as `x-api-key`.
bearer = anthropic.Anthropic(base_url=gateway, auth_token=key, max_retries=0)
raw = bearer.messages.with_raw_response.create(model=model, **question)
requests += 1
assert raw.headers["x-sluice-target"] == model, raw.headers
assert raw.parse().content[0].text == answer.content[0].text

# A stream, event by event, and as the SDK adds it up.
kinds = []
for event in client.messages.create(model=model, stream=True, **question):
    kinds.append(event.type)
requests += 1
assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
with client.messages.stream(model=model, **question) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
requests += 1
assert text == answer.content[0].text, text
assert final.usage.output_tokens == answer.usage.output_tokens, final.usage

# The beta of the API, which the SDK asks for in the query and in a header.
beta = client.beta.messages.create(model=model, betas=["mock-2026-01-01"], **question)
requests += 1
assert beta.content[0].text == text

# Counting costs nothing.
counted = client.messages.count_tokens(model=model, messages=question["messages"])
requests += 1
assert counted.input_tokens == answer.usage.input_tokens, counted

# Errors are the SDK's own: the gateway's, and the provider's, which pass.
for raises, call in [
    (anthropic.NotFoundError, lambda: client.messages.create(model="no/such", **question)),
    (anthropic.BadRequestError, lambda: client.messages.create(model=openai_model, **question)),
    (anthropic.BadRequestError, lambda: client.messages.create(model=model, max_tokens=1, messages=[])),
    (anthropic.RateLimitError, lambda: client.messages.create(model=model, **question, extra_headers=scripted("error=429"))),
    (anthropic.InternalServerError, lambda: client.messages.create(model=model, **question, extra_headers=scripted("error=529"))),
]:
    try:
        call()
    except raises as error:
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body
        assert error.request_id, error
    else:
        raise AssertionError(f"{raises.__name__} was expected")
try:
    anthropic.Anthropic(base_url=gateway, api_key="sk-sluice-wrong", max_retries=0).models.list()
except anthropic.AuthenticationError as error:
    assert error.type == "authentication_error" and error.request_id, error
else:
    raise AssertionError("a wrong key was let in")

# So are those within a stream: told by the provider, and told by the gateway when the provider breaks off.
for script in ["fail_after=5", "cut_after=5"]:
    try:
        for event in client.messages.create(model=model, stream=True, **question, extra_headers=scripted(script)):
            pass
    except anthropic.APIStatusError as error:
        assert error.type == "api_error", error
    else:
        raise AssertionError(f"{script}: an error was expected")

print(requests)
