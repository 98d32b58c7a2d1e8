"""Run the command line as ``python -m epilstm``."""

from epilstm.cli import main

if __name__ == "__main__":
    main()
