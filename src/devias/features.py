"""`python -m devias.features` is `devias features`."""

from devias.cli.features import main

if __name__ == "__main__":
    main()
