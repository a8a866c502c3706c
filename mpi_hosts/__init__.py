"""Host files of published clusters, and the program that writes such files."""
