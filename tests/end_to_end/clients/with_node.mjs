// Steering with OpenAI's client for Node: further keys of a request's body are sent as they are.
import OpenAI from "openai";

const [url, prompt] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: "none" });
const asked = { model: "demo", messages: [{ role: "user", content: prompt }], max_tokens: 24, temperature: 0 };
const steer = { features: { weather: 0.8 } };
const tool = {
  type: "function",
  function: { name: "forecast", parameters: { type: "object", properties: { place: { type: "string" } } } },
};
const create = (more) => client.chat.completions.create({ ...asked, ...more });
const text = (answer) => answer.choices[0].message.content;

const plain = await create({});
const steered = await create(steer);

let streamed = "", told, usage;
for await (const chunk of await create({ ...steer, stream: true, stream_options: { include_usage: true } })) {
  for (const choice of chunk.choices) streamed += choice.delta.content ?? "";
  told = chunk.featurehub ?? told;
  usage = chunk.usage ?? usage;
}
const final = await client.chat.completions.stream({ ...asked, stop: ["."], ...steer }).finalChatCompletion();

const several = await create({ ...steer, temperature: 1, n: 3, seed: 7 });
const sure = await create({ ...steer, logprobs: true, top_logprobs: 2 });
const stopped = await create({ ...steer, stop: ["."] });
const formed = await create({ ...steer, structured_outputs: { choice: ["the", "a"] } });
const tools = await create({ ...steer, tools: [tool], tool_choice: "auto" });
const completions = await client.completions.create({
  model: "demo", prompt: ["the", "a"], max_tokens: 8, temperature: 0, ...steer,
});
const response = await client.responses.create({
  model: "demo", input: prompt, max_output_tokens: 24, temperature: 0, ...steer,
});

const errors = [];
for (const features of [{ wether: 0.5 }, { weather: 7 }]) {
  try {
    await create({ features });
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    errors.push(error.status);
  }
}

console.log(JSON.stringify({
  plain: text(plain),
  steered: text(steered),
  applied: steered.featurehub.applied.map((edit) => edit.id),
  streamed,
  streamed_applied: told.applied.map((edit) => edit.id),
  tokens: usage.completion_tokens,
  final: text(final),
  several: several.choices.map((choice) => choice.message.content),
  logprob: sure.choices[0].logprobs.content[0].logprob,
  stopped: text(stopped),
  formed: text(formed),
  tools: text(tools),
  completions: completions.choices.map((choice) => choice.text),
  response: response.output_text,
  errors,
}));
