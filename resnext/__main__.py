"""`python -m resnext`: the `resnext` command without installing the package."""

from resnext.cli import main

if __name__ == "__main__":
    main("python -m resnext")
