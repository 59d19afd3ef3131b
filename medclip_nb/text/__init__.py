"""What reports say: sections, findings, organ texts, phrase dictionary, prompts and similarity."""
