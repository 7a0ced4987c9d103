"""`python -m devias.evaluate` is `devias evaluate`."""

from devias.cli.evaluate import main

if __name__ == "__main__":
    main()
