"""The grader inside training and evaluation frameworks: a file each. Each imports its framework only where it is used."""
