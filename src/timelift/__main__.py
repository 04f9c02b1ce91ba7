"""`python -m timelift`, and so `torchrun -m timelift train ...`."""

from timelift.cli.main import main

if __name__ == "__main__":
    main()
