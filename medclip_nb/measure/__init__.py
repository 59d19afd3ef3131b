"""The measuring room: embeddings in, figures with chance level and interval out."""
