"""The showing room: figures from plain arrays and tables. Imports nothing of the package but `config`."""
