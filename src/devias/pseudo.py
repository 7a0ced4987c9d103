"""`python -m devias.pseudo` is `devias labels`."""

from devias.cli.labels import main

if __name__ == "__main__":
    main()
