"""Ways to look at a network and its training; nothing that trains imports them."""
