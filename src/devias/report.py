"""`python -m devias.report` is `devias report`."""

from devias.cli.report import main

if __name__ == "__main__":
    main()
