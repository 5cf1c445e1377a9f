"""What a chip's entries mean, in words."""
