"""`python -m ebbtide`."""

from ebbtide.cli import main

if __name__ == "__main__":
    main()
