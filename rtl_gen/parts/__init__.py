"""What blocks are built of: arithmetic, loops, memories, popcounts, streams."""
