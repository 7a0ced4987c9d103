"""`python -m devias` is `devias`."""

from devias.cli import main

if __name__ == "__main__":
    main()
