"""What turns the array into an accelerator: memories, addresses, requantization, jobs, buses."""
