"""The pure domain: what a wallet is, what may be asked of it, and what follows."""
