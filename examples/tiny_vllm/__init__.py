"""The scripts of docs/usage/try-vllm.md."""
