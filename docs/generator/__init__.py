"""Makers of the generated reference pages: each module turns one source into one page."""
