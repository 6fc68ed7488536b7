"""`python -m gdlab`."""

from gdlab.cli.entry import main

main()
