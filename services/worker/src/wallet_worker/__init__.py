"""The event door: events out to the broker, events in to statistics and fraud verdicts."""
