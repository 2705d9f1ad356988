"""Steering with LiteLLM: what it does not know travels in ``extra_body``.

It keeps of an answer what it knows; which edits were applied is in the response's headers.
"""

import json
import os
import sys

# Else it asks the network for a list of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

# Else it prints advice where a request is refused.
litellm.suppress_debug_info = True

prompt = {"messages": [{"role": "user", "content": sys.argv[2]}], "max_tokens": 24, "temperature": 0}
asked = {"model": "openai/demo", "api_base": sys.argv[1], "api_key": "none", **prompt}
steer = {"features": {"weather": 0.8}}
tool = {
    "type": "function",
    "function": {"name": "forecast", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}


def applied(answer) -> list[str]:
    return answer._hidden_params["additional_headers"]["llm_provider-x-featurehub-applied"].split(",")


plain = litellm.completion(**asked)
steered = litellm.completion(**asked, extra_body=steer)
stream = litellm.completion(**asked, stream=True, stream_options={"include_usage": True}, extra_body=steer)
streamed = litellm.stream_chunk_builder(list(stream))
several = litellm.completion(**asked | {"temperature": 1}, n=3, seed=7, extra_body=steer)
sure = litellm.completion(**asked, logprobs=True, top_logprobs=2, extra_body=steer)
stopped = litellm.completion(**asked, stop=["."], extra_body=steer)
words = {"structured_outputs": {"choice": ["the", "a"]}}
formed = litellm.completion(**asked, extra_body=steer | words)
tools = litellm.completion(**asked, tools=[tool], tool_choice="auto", extra_body=steer)
response = litellm.responses(
    model="openai/demo", api_base=sys.argv[1], api_key="none", input=sys.argv[2], max_output_tokens=24, temperature=0,
    extra_body=steer,
)  # fmt: skip

errors = []
for features in ({"wether": 0.5}, {"weather": 7}):
    try:
        litellm.completion(**asked, extra_body={"features": features})
    except (litellm.BadRequestError, litellm.NotFoundError) as error:
        errors.append(error.status_code)

say = {
    "plain": plain.choices[0].message.content,
    "steered": steered.choices[0].message.content,
    "applied": applied(steered),
    "streamed": streamed.choices[0].message.content,
    "streamed_applied": applied(stream),
    "tokens": streamed.usage.completion_tokens,
    "several": [choice.message.content for choice in several.choices],
    "logprob": sure.choices[0].logprobs.content[0].logprob,
    "stopped": stopped.choices[0].message.content,
    "formed": formed.choices[0].message.content,
    "tools": tools.choices[0].message.content,
    "response": response.output[0].content[0].text,
    "errors": errors,
}
json.dump(say, sys.stdout)
