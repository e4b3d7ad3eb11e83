"""What a person needs on one machine: an embedded server, a mailbox, and the processes around them."""
