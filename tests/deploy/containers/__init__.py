"""The image and the Compose file, run for real: `make test-deploy`."""
