"""A power cut, played: a shim that records what is done to files, and what a cut leaves of them."""
