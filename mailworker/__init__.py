"""The outgoing-mail queue that survives kill -9."""
