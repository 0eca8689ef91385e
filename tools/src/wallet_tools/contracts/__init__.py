"""This package is where the contracts with other services are written: schemas, AsyncAPI."""
