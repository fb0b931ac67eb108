"""What people use today for the same work, at the settings that suit them best."""
