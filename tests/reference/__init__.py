"""A second implementation of the foundation, written from the contract alone: it shares no code with the tool that it tests."""
