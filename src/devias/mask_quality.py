"""`python -m devias.mask_quality` is `devias masks`."""

from devias.cli.masks import main

if __name__ == "__main__":
    main()
