"""`python -m quantummq` is the same as `quantummq`."""

from quantummq.cli import main

if __name__ == "__main__":
    main()
