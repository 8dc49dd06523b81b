"""``python -m tadshrink``."""

from tadshrink.cli.app import main

main()
