"""`python -m ebbtide`."""

from ebbtide.commands.app import main

if __name__ == "__main__":
    main()
