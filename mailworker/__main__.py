"""`python -m mailworker`: the command line."""

from mailworker.cli import main

if __name__ == "__main__":
    main()
