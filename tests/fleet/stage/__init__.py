"""A fleet on one machine: real workers without Celery, a real Redis, and relays that write down what they see."""
