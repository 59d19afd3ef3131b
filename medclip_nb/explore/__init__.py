"""Own data: recipes and seeds over one dataset, and one page that compares them."""
