"""Model files in and out: YAML, safetensors, images. Nothing in a file is ever evaluated."""
