"""Prompts that ask for nothing in particular, for measurements that are given none."""

__all__ = ["PROMPTS"]

PROMPTS = (
    "Tell me about something that you saw.", "What should I do this weekend?", "Describe your favorite place.",
    "How was your day?",
    "Write a few sentences about anything.", "What is worth learning?", "Tell me about a person you admire.",
    "What happened yesterday?", "What is a good piece of advice?", "What do you like to talk about?",
    "Describe a normal morning.",
    "What makes a good friend?", "Tell me a story.", "What is happening in the world?", "How do I begin?",
    "Explain something that you know well.", "What would you change?", "Describe what is in front of you.",
    "What should everybody know?", "Say something about the future.", "What did you read lately?",
    "How do people spend their time?", "Tell me what you think.", "Write a short letter.",
    "What is your plan for today?", "Describe a room.", "What do you remember best?", "Tell me a fact.",
    "What is easy to forget?", "Why do people travel?", "Describe something small.", "What did you hear this morning?",
    "Say a few words to a stranger.", "What takes a long time?", "What is a good question?", "Describe a street.",
    "What happens next?", "Tell me about something useful.", "What do you wish for?", "How does a week go by?",
)  # fmt: skip
