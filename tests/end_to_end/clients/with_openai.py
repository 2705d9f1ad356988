"""Steering with OpenAI's own client: what it does not know travels in ``extra_body``."""

import json
import sys

from openai import BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="none")
asked = {"model": "demo", "messages": [{"role": "user", "content": sys.argv[2]}], "max_tokens": 24, "temperature": 0}
steer = {"features": {"weather": 0.8}}
tool = {
    "type": "function",
    "function": {"name": "forecast", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}

plain = client.chat.completions.create(**asked)
steered = client.chat.completions.create(**asked, extra_body=steer)

pieces, told, usage = [], None, None
for chunk in client.chat.completions.create(
    **asked, stream=True, stream_options={"include_usage": True}, extra_body=steer
):
    pieces += [choice.delta.content or "" for choice in chunk.choices]
    told = getattr(chunk, "featurehub", told)
    usage = chunk.usage or usage

with client.chat.completions.stream(**asked, stop=["."], extra_body=steer) as events:
    final = events.get_final_completion()

several = client.chat.completions.create(**asked | {"temperature": 1}, n=3, seed=7, extra_body=steer)
sure = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2, extra_body=steer)
stopped = client.chat.completions.create(**asked, stop=["."], extra_body=steer)
words = {"structured_outputs": {"choice": ["the", "a"]}}
formed = client.chat.completions.create(**asked, extra_body=steer | words)
tools = client.chat.completions.create(**asked, tools=[tool], tool_choice="auto", extra_body=steer)
prompt = {"model": "demo", "prompt": ["the", "a"], "max_tokens": 8, "temperature": 0}
completions = client.completions.create(**prompt, extra_body=steer)
response = client.responses.create(
    model="demo", input=sys.argv[2], max_output_tokens=24, temperature=0, extra_body=steer
)

errors = []
for features in ({"wether": 0.5}, {"weather": 7}):
    try:
        client.chat.completions.create(**asked, extra_body={"features": features})
    except (BadRequestError, NotFoundError) as error:
        errors.append(error.status_code)

say = {
    "plain": plain.choices[0].message.content,
    "steered": steered.choices[0].message.content,
    "applied": [edit["id"] for edit in steered.featurehub["applied"]],
    "streamed": "".join(pieces),
    "streamed_applied": [edit["id"] for edit in told["applied"]],
    "tokens": usage.completion_tokens,
    "final": final.choices[0].message.content,
    "several": [choice.message.content for choice in several.choices],
    "logprob": sure.choices[0].logprobs.content[0].logprob,
    "stopped": stopped.choices[0].message.content,
    "formed": formed.choices[0].message.content,
    "tools": tools.choices[0].message.content,
    "completions": [choice.text for choice in completions.choices],
    "response": response.output_text,
    "errors": errors,
}
json.dump(say, sys.stdout)
