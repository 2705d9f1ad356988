"""Steering with LangChain: what its model for OpenAI does not know travels in ``extra_body``.

It keeps of an answer what it knows; which edits were applied is in the response's headers.
"""

import json
import sys

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import BadRequestError, NotFoundError

prompt = [HumanMessage(sys.argv[2])]
model = ChatOpenAI(
    base_url=sys.argv[1], api_key="none", model="demo", max_tokens=24, temperature=0, include_response_headers=True
)
steer = {"features": {"weather": 0.8}}
rainy = model.bind(extra_body=steer)


@tool
def forecast(place: str) -> str:
    """The weather to come."""
    return f"rain over {place}"


def applied(headers: dict[str, str]) -> list[str]:
    return headers["x-featurehub-applied"].split(",")


plain, steered = model.invoke(prompt), rainy.invoke(prompt)
whole = None
for chunk in rainy.stream(prompt, stream_usage=True):
    whole = chunk if whole is None else whole + chunk

# What is bound does not reach ``generate``; what the model is made with does.
drawn = ChatOpenAI(
    base_url=sys.argv[1], api_key="none", model="demo", max_tokens=24, n=3, seed=7, temperature=1, extra_body=steer
)
[several] = drawn.generate([prompt]).generations
sure = model.bind(extra_body=steer, logprobs=True, top_logprobs=2).invoke(prompt)
stopped = rainy.invoke(prompt, stop=["."])
formed = model.bind(extra_body=steer | {"structured_outputs": {"choice": ["the", "a"]}}).invoke(prompt)
tools = model.bind_tools([forecast], tool_choice="auto").bind(extra_body=steer).invoke(prompt)
respond = ChatOpenAI(
    base_url=sys.argv[1], api_key="none", model="demo", max_tokens=24, temperature=0, use_responses_api=True
)

errors = []
for features in ({"wether": 0.5}, {"weather": 7}):
    try:
        model.bind(extra_body={"features": features}).invoke(prompt)
    except (BadRequestError, NotFoundError) as error:
        errors.append(error.status_code)

say = {
    "plain": plain.content,
    "steered": steered.content,
    "applied": applied(steered.response_metadata["headers"]),
    "streamed": whole.content,
    "streamed_applied": applied(whole.response_metadata["headers"]),
    "tokens": whole.usage_metadata["output_tokens"],
    "several": [each.message.content for each in several],
    "logprob": sure.response_metadata["logprobs"]["content"][0]["logprob"],
    "stopped": stopped.content,
    "formed": formed.content,
    "tools": tools.content,
    "response": respond.bind(extra_body=steer).invoke(prompt).text,
    "errors": errors,
}
json.dump(say, sys.stdout)
