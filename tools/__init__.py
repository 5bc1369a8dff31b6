"""What the project makes of itself: parts of its documents."""
