"""What tests of flows and of the framework itself lean on: doubles and real servers."""
