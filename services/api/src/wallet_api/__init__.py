"""The HTTP door: strict JSON in, exact money, problem+json out."""
