"""The text room: what a report says, and how texts are turned into prompts."""
