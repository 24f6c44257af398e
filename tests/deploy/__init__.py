"""What stands under deploy/, tried with the programs that will read it."""
