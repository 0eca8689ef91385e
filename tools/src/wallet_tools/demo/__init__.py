"""The short story that shows the whole service at work."""
