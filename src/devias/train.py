"""`python -m devias.train` is `devias train`."""

from devias.cli.train import main

if __name__ == "__main__":
    main()
