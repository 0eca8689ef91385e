"""What every service process needs before it does its own work."""
