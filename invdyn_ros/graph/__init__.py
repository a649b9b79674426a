"""Which nodes make up a launch, their arguments, and starting them as processes."""
