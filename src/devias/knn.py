"""`python -m devias.knn` is `devias knn`."""

from devias.cli.knn import main

if __name__ == "__main__":
    main()
