"""Location that is proven: what measured round trips to landmarks exclude, and what they leave."""
