"""Host files and launchers."""
