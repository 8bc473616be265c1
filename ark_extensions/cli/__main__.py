"""`python -m ark_extensions.cli`: what `make up` and ``DIR/bin/ark`` run."""

from ark_extensions.cli.root import main

main(prog_name="ark")
