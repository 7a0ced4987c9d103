"""`python -m devias.export` is `devias export`."""

from devias.cli.export import main

if __name__ == "__main__":
    main()
