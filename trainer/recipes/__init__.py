"""One file per recipe; the file name is the recipe's name."""
