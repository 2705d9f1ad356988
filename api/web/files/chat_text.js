// A chat as people paste it: JSON, lines with roles, or a plain text.

const ROLES = ["system", "user", "assistant"];
const LINE = /^\s*(system|user|assistant|human|ai|bot)\s*:\s?/i;
const ALSO = { human: "user", ai: "assistant", bot: "assistant" };

/** What was pasted: {messages} or {text}, as the API takes it. Raises Error with what to change. */
export function readChat(pasted) {
  const given = pasted.trim();
  if (given === "") throw new Error("There is nothing to explain yet. Paste a chat, or take one of the examples.");
  if (/^[[{]\s*["{\]}]/.test(given)) return { messages: fromJson(given) };
  return LINE.test(given) ? { messages: fromLines(given) } : { text: given };
}

/** The chat as lines with roles. */
export const writeChat = (messages) => messages.map(({ role, content }) => `${role}: ${content}`).join("\n\n");

function fromJson(given) {
  let read;
  try {
    read = JSON.parse(given);
  } catch (error) {
    throw new Error(`This looks like JSON, and is none: ${error.message}`);
  }
  const messages = Array.isArray(read) ? read : read.messages;
  if (!Array.isArray(messages) || messages.length === 0) throw new Error('This JSON has no messages. Give a list of {"role": …, "content": …}, or an object with such a list as "messages".');
  return messages.map(message);
}

function message({ role, content }, at) {
  const text = Array.isArray(content) ? content.map((part) => part.text ?? "").join("") : content;
  if (typeof role !== "string" || typeof text !== "string") throw new Error(`Message ${at + 1} needs a "role" and a "content" that are texts.`);
  return { role, content: text };
}

function fromLines(given) {
  const messages = [];
  for (const line of given.split("\n")) {
    const found = LINE.exec(line);
    if (found === null) messages.at(-1).content += `\n${line}`;
    else messages.push({ role: roleOf(found[1].toLowerCase()), content: line.slice(found[0].length) });
  }
  return messages.map(({ role, content }) => ({ role, content: content.trim() }));
}

const roleOf = (name) => (ROLES.includes(name) ? name : ALSO[name]);
