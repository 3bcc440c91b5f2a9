"""What answers: a model in this process (transformers, vllm), a server (openai), or a file (replay)."""
