"""What goes wrong around a job on a subscription, at random moments: `make faults`."""
