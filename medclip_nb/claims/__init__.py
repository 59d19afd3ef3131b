"""Studies over several seeds: what is said about a method, and whether the papers' claims hold."""
