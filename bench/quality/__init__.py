"""What restored pictures gain, and what they must not lose."""
