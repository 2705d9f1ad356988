"""`featurehub demo …`: a tour of the product on a real chat model, and one on the model with planted concepts.

commands      the commands
serving       what `featurehub serve --demo` and `--planted` serve, and a server as a child process
smollm2       the SAE of SmolLM2 that ships, unpacked at first use
tour          the guided run of `featurehub demo run`, on SmolLM2
retraining    its last step: the SAE on a retrained SmolLM2
asking        questions to a server, and what its answers say of themselves
shown         which names and prompts the tour shows, from shown.toml
planted       builds the SAE of the planted model
planted_tour  the guided run of `featurehub demo planted`
"""
