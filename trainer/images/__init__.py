"""Image files: find them, decode them, cut and colour them."""
